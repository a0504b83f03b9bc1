"""Measuring a generator: figures, tables, and what is left out."""

import shutil

import numpy as np
import pytest
from PIL import Image

from minisrgan.errors import ImageError
from minisrgan.imaging.files import read_photo
from minisrgan.imaging.metrics import Score, grid, score
from minisrgan.imaging.transparency import over_white
from minisrgan.studies.evaluate import (
    Quality,
    evaluate,
    header,
    judge,
    mean_quality,
    perceptual_distance,
    row,
    rulers,
    say_rulers,
    st_lpips_distance,
)
from minisrgan.tensor import Tensor
from minisrgan.training import photos
from minisrgan.upscaling.trial import try_photo
from minisrgan.weights import st_lpips
from minisrgan.weights.generators import load_generator, write_arrays


def test_the_table_has_a_row_a_photo_and_then_the_mean(generator_file, photo_folder, by):
    g, lines = load_generator(generator_file), []
    means = evaluate(g, photo_folder, "numpy", by, say=lines.append)
    qualities = []
    for name in ("a.png", "b.png", "c.png"):
        trial = try_photo(g, read_photo(photo_folder / name)[0], "numpy")
        qualities.append([judge(image, trial.hr, 4, by) for image in (trial.bicubic, trial.sr)])
        assert qualities[-1][1].score == score(trial.sr, trial.hr, 4)
    rows = [line.split() for line in "\n".join(lines).splitlines()]
    table = [words for words in rows if words[0].endswith(".png")]
    assert [words[0] for words in table] == ["a.png", "b.png", "c.png"]
    for words, (bicubic, model) in zip(table, qualities):
        printed = [float(word) for word in words[1:]]
        assert printed == pytest.approx([*bicubic.figures(), *model.figures()], abs=0.0051)
        assert printed[3] == pytest.approx(bicubic.distances["random"], abs=6e-6)
    for mean, kind in zip(means, zip(*qualities)):
        np.testing.assert_allclose(mean.figures(), np.mean([q.figures() for q in kind], axis=0), rtol=1e-12)
    (mean,) = [words for words in rows if words[:2] == ["mean", "of"]]
    wanted = [figure for mean in means for figure in mean.figures()]
    assert mean[2] == "3" and [float(word) for word in mean[3:]] == pytest.approx(wanted, abs=0.0051)


def test_columns_stand_under_their_names(smooth_photo, by):
    one = judge(smooth_photo(40, 40), smooth_photo(40, 40, seed=1), 4, by)
    line = row("a name as long as its column allows", one, mean_quality([one, one]), width=36)
    assert len(line) == 36 + 2 * 36 and line[35] == " "
    assert {len(each) for each in header(by, "bicubic", "model", width=36).splitlines()} == {len(line)}


def test_the_perceptual_distance_is_the_mean_over_tiles(monkeypatch, smooth_photo, by):
    a, b = smooth_photo(60, 44), smooth_photo(60, 44, seed=1)
    vgg = by["random"].args[0]
    features = (vgg(Tensor(x[None].astype(np.float32) / 127.5 - 1)).data.astype(float) for x in (a, b))
    whole = np.mean(np.subtract(*features) ** 2)
    assert perceptual_distance(vgg, a, b, "numpy") == pytest.approx(whole, rel=1e-5)
    assert perceptual_distance(vgg, a, a, "numpy") == 0
    monkeypatch.setattr("minisrgan.studies.evaluate.TILE", 30)  # two by two tiles, all of them 30×22
    tiles = [perceptual_distance(vgg, a[y : y + 30, x : x + 22], b[y : y + 30, x : x + 22], "numpy")
             for y in (0, 30) for x in (0, 22)]  # fmt: skip
    assert perceptual_distance(vgg, a, b, "numpy") == pytest.approx(np.mean(tiles), rel=1e-6)
    assert np.mean(tiles) == pytest.approx(whole, rel=0.2)


def test_photos_too_small_to_measure_are_left_out_and_counted(generator_file, photo_folder, tmp_path, smooth_photo, by):
    g, lines = load_generator(generator_file), []
    for side in (1, 12):
        Image.fromarray(smooth_photo(side, side)).save(tmp_path / f"small{side}.png")
    with pytest.raises(ImageError, match="none of the 2 photos here can be measured, such as: .* too small") as caught:
        evaluate(g, tmp_path, "numpy", by, say=lambda line: None)
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)
    shutil.copy(photo_folder / "b.png", tmp_path)
    means = evaluate(g, tmp_path, "numpy", by, say=lines.append)
    assert [line.split()[1:4] for line in lines if line.startswith("small")] == [
        ["left", "out:", "an"],  # image of 1 x 1 pixels
        ["left", "out:", "12"],  # x 12 pixels
    ]
    assert "2 of 3 photos left out" in lines and any(line.startswith("mean of 1") for line in lines)
    assert [mean.score for mean in means] == [
        score(*pair, 4) for pair in pairs_of(try_photo(g, read_photo(tmp_path / "b.png")[0], "numpy"))
    ]


def test_what_cannot_be_measured_is_left_out_named_and_counted(
    generator_file, photo_folder, smooth_photo, tmp_path, by
):
    """A flat photo is enlarged without error, and its infinite PSNR would make the mean infinite."""
    Image.new("RGB", (40, 40), (128, 128, 128)).save(tmp_path / "flat.png")
    (tmp_path / "cut.png").write_bytes((photo_folder / "a.png").read_bytes()[:300])
    (tmp_path / "notes.txt").touch()
    frames = [Image.fromarray(smooth_photo(40, 40, seed=i)) for i in range(2)]
    frames[0].save(tmp_path / "two.tif", save_all=True, append_images=frames[1:])
    long = "the same long beginning of a name "
    for name in (f"{long}1.png", f"{long}2.png", "deep/er/x.png", "x.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(photo_folder / "b.png", tmp_path / name)
    lines = []
    means = evaluate(load_generator(generator_file), tmp_path, "numpy", by, say=lines.append)
    assert all(np.isfinite(mean.figures()).all() for mean in means)
    starts = [line.split("  ")[0] for line in lines[1:]]
    assert starts[:9] == [
        "cut.png",
        "deep/er/x.png",
        "flat.png",
        f"{long}1.png",
        f"{long}2.png",
        "two.tif",
        "x.png",
        "mean of 5",
        "2 of 7 photos left out",
    ]
    assert "cannot be read" in lines[1] and "infinite" in lines[3]
    assert "only the first picture is taken from files with several: two.tif" in lines
    assert any("left out 2 others" in line and "(.safetensors, .txt)" in line for line in lines)


def test_y_of_a_photo_is_what_its_file_says(generator_file, smooth_photo, tmp_path, by):
    grey = Image.fromarray(smooth_photo(40, 40)).convert("L")
    found = {}
    for mode in ("L", "RGB"):
        (tmp_path / mode).mkdir()
        grey.convert(mode).save(tmp_path / mode / "x.png")
        found[mode], _ = evaluate(load_generator(generator_file), tmp_path / mode, "numpy", by)
    assert found["L"].score.psnr_rgb == found["RGB"].score.psnr_rgb
    assert found["RGB"].score.psnr_y - found["L"].score.psnr_y == pytest.approx(20 * np.log10(255 / 219), abs=0.05)


def test_transparent_photos_are_measured_and_learned_from_on_white(generator_file, smooth_photo, tmp_path, by):
    rgb, alpha = smooth_photo(40, 40), np.tile(np.linspace(0, 255, 40).astype(np.uint8), (40, 1))
    means = []
    for name, image in {"a": np.dstack([rgb, alpha]), "b": over_white(rgb, alpha)}.items():
        (tmp_path / name).mkdir()
        Image.fromarray(image).save(tmp_path / name / "x.png")
        means.append(evaluate(load_generator(generator_file), tmp_path / name, "numpy", by, say=lambda line: None))
    assert means[0] == means[1]
    np.testing.assert_array_equal(photos.named(tmp_path / "a" / "x.png")[1], over_white(rgb, alpha))


def pairs_of(trial):
    return [(trial.bicubic, trial.hr), (trial.sr, trial.hr)]


def test_a_folder_that_is_not_there_is_told_before_the_table(generator_file, tmp_path):
    with pytest.raises(ImageError, match="no such folder"):
        evaluate(load_generator(generator_file), tmp_path / "none", "numpy", {}, say=lambda line: pytest.fail(line))


def test_st_lpips_is_measured_where_it_was_fetched(monkeypatch, tmp_path, smooth_photo):
    monkeypatch.setenv("MINISRGAN_CACHE", str(tmp_path))
    lines, image, hr = [], smooth_photo(64, 64), smooth_photo(64, 64, seed=1)
    without = rulers("numpy")
    say_rulers(without, lines.append)
    assert list(without) == ["grid", "vgg-small"] and "vgg fetch --st-lpips" in lines[-1]
    rng = np.random.default_rng(0)
    arrays = {name: rng.random(shape, np.float32) / 100 for name, shape in st_lpips.expected_shapes().items()}
    write_arrays(st_lpips.fetched(), arrays, kind=st_lpips.KIND)
    measured_by = rulers("numpy")
    quality = judge(image, hr, 4, measured_by)
    pair = (Tensor(each[None].astype(np.float32) / 127.5 - 1) for each in (image, hr))
    assert quality.distances["ST-LPIPS"] == pytest.approx(st_lpips.STLPIPS(arrays, "numpy").distance(*pair), rel=1e-4)
    assert quality.distances["grid"] == grid(image)
    assert len(header(measured_by, "x").splitlines()[1]) == len(row("photo", quality))


def test_the_mean_is_of_what_was_measured():
    score = Score(30.0, 29.0, 0.9)
    mean = mean_quality([Quality(score, {"grid": x, "none": np.nan}) for x in (1.0, np.nan, 2.0)])
    assert mean.distances["grid"] == 1.5 and np.isnan(mean.distances["none"]) and mean.score == score


def test_a_large_photo_is_measured_in_tiles(monkeypatch):
    rng = np.random.default_rng(0)
    image, hr = rng.integers(0, 256, (2, 70, 30, 3), dtype=np.uint8)
    monkeypatch.setattr("minisrgan.studies.evaluate.WHOLE", 40)
    arrays = {name: rng.random(shape, np.float32) / 100 for name, shape in st_lpips.expected_shapes().items()}
    network = st_lpips.STLPIPS(arrays, "numpy")
    halves = [network.distance(*(Tensor(each[None, part].astype(np.float32) / 127.5 - 1) for each in (image, hr)))
              for part in (slice(35), slice(35, None))]  # fmt: skip
    assert st_lpips_distance(network, image, hr) == pytest.approx(np.mean(halves), rel=1e-5)
