"""Measuring a generator: figures, tables, and what is left out."""

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from minisrgan.cli import main as cli
from minisrgan.errors import ConfigError, ImageError
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
from minisrgan.studies.evaluated import Evaluated, say_published
from minisrgan.studies.published import SETS, TABLE, published
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


# ---- Files, and what is published -------------------------------------------------------------------------


@pytest.fixture
def evaluated(generator_file, photo_folder, tmp_path, by):
    """What an evaluation has collected, and its means; its images are saved."""
    found = Evaluated(tmp_path / "saved")
    folder = tmp_path / "photos" / "<script>"
    shutil.copytree(photo_folder, folder)
    Image.new("RGB", (40, 40), (128, 128, 128)).save(folder / "flat.png")  # which is left out
    g = load_generator(generator_file)
    rulers = by | {"grid": lambda image, hr: grid(image)}  # which is NaN: the photos are too small for it
    return (
        found,
        evaluate(g, folder.parent, "numpy", rulers, say=lambda line: None, keep=found.keep, take=found),
        g,
        folder,
    )


def test_csv_and_json_have_the_figures_of_each_photo(evaluated, tmp_path):
    found, means, *_ = evaluated
    found.write_csv(tmp_path / "a.csv")
    found.write_json(tmp_path / "a.json", means, scale=4)
    with open(tmp_path / "a.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    told = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert [(each["photo"], each["version"]) for each in rows] == [
        (f"<script>/{name}.png", version) for name in "abc" for version in ("bicubic", "model")
    ]
    for each in rows:
        quality, of_json = found.rows[each["photo"]][each["version"]], told["photos"][each["photo"]][each["version"]]
        assert float(each["psnr_y"]) == of_json["psnr_y"] == quality.score.psnr_y
        assert float(each["random"]) == of_json["random"] == quality.distances["random"]
        assert each["grid"] == "" and of_json["grid"] is None
    assert told["left_out"] == found.left_out
    assert told["scale"] == 4 and told["mean"]["model"]["ssim_y"] == means[1].score.ssim_y


def test_the_images_are_saved_as_they_were_measured(evaluated):
    found, means, g, folder = evaluated
    trial = try_photo(g, read_photo(folder / "b.png")[0], "numpy")
    for version, image in {"bicubic": trial.bicubic, "model": trial.sr, "HR": trial.hr}.items():
        np.testing.assert_array_equal(read_photo(found.save / version / "<script>" / "b.png")[0], image)
    text = found.write_page("title", "subtitle", means).read_text(encoding="utf-8")
    assert f"mean of 3</th><td>bicubic</td><td>{means[0].score.psnr_y:.2f}</td>" in text
    assert text.count("<img") == 9 and text.count("<script>") == 1 and text.count("flat.png") == 1
    assert "flat.png</th><td>enlarged without any error" in text and [*found.left_out] == ["<script>/flat.png"]
    assert f"{found.rows['<script>/b.png']['model'].score.psnr_y:.2f} dB" in text
    assert found.path_of("a.jpg", "HR") != found.path_of("a.png", "HR")
    with pytest.raises(ConfigError, match="is there already"):
        Evaluated(found.save)


def test_of_a_large_photo_the_page_shows_a_detail(monkeypatch, evaluated):
    found, *_ = evaluated
    monkeypatch.setattr("minisrgan.studies.evaluated.WHOLE", 30)
    monkeypatch.setattr("minisrgan.studies.evaluated.DETAIL", 24)
    item = found.item("<script>/a.png")
    assert {image.shape for image in item.images.values()} == {(24, 24, 3)} and "<img" in item.note


def test_published_figures_are_for_their_own_set_and_scale(tmp_path):
    assert {name for name, _ in SETS.values()} >= {name for each in TABLE for name in each.psnr}
    for folder, (name, n) in SETS.items():
        said, found = published(tmp_path / folder.upper(), n, 4)
        assert said == name and found and all(name in each.psnr and each.source for each in found)
        assert published(tmp_path / folder, n - 1, 4)[1] == [] == published(tmp_path / folder, n, 2)[1]
    assert published(tmp_path / "mine", 5, 4)[1] == [] and "Set5 with 5 photos" in published(tmp_path / "mine", 5, 4)[0]
    assert {each.method: each.psnr["Set5"] for each in TABLE}["bicubic"] == 28.42  # what evaluate measures too


def test_published_figures_stand_beside_the_measured_in_order(tmp_path):
    lines, quality = [], Quality(Score(30.0, 29.0, 0.9), {})
    say_published(tmp_path / "Set5", 5, 4, {"model": quality}, lines.append)
    figures = [float(line.split()[0]) for line in lines[1:]]
    assert figures == sorted(figures) and len(figures) == len(TABLE) + 1
    assert "   30.00  model, measured here" in lines
    lines.clear()
    say_published(tmp_path / "mine", 5, 4, {}, lines.append)
    assert len(lines) == 1 and "at hand for folders named" in lines[0]


def test_the_command_writes_all_that_it_is_asked_for(monkeypatch, generator_file, photo_folder, tmp_path, by, capfd):
    monkeypatch.setenv("MINISRGAN_DEVICE", "numpy")
    monkeypatch.setattr("minisrgan.studies.evaluate.rulers", lambda *_: by)
    names = {name: tmp_path / name for name in ("a.csv", "a.json", "saved")}
    words = ["evaluate", photo_folder, "--weights", generator_file, "--published", "--csv", names["a.csv"]]
    assert cli.main([str(word) for word in [*words, "--json", names["a.json"], "--save", names["saved"]]]) == 0
    out = capfd.readouterr().out
    assert "published figures are at hand for folders named" in out and str(names["saved"] / "report.html") in out
    assert names["a.csv"].read_text().count("\n") == 7 and len(json.loads(names["a.json"].read_text())["photos"]) == 3
    assert cli.main([str(word) for word in [*words, "--save", names["saved"]]]) == 2
    (line,) = [line for line in capfd.readouterr().err.splitlines() if not line.startswith("device ")]
    assert "is there already: name a new folder" in line
    assert cli.main([str(word) for word in [*words, "--json", names["a.json"]]]) == 0  # they are renewed


def test_the_command_replaces_and_mixes_up_no_files_of_others(generator_file, photo_folder, tmp_path, capfd):
    words = ["evaluate", photo_folder, "--weights", generator_file, "--device", "numpy"]

    def refused(*more):
        try:
            status = cli.main([str(word) for word in [*words, *more]])
        except SystemExit as stopped:
            status = stopped.code
        assert status == 2
        return capfd.readouterr().err.splitlines()[-1]

    for end in ("csv", "json"):
        mine = tmp_path / f"mine.{end}"
        mine.write_text("mine")
        assert "minisrgan did not make it" in refused(f"--{end}", mine) and mine.read_text() == "mine"
        assert f"name ending in .{end}" in refused(f"--{end}", "-")
        assert f"name ending in .{end}" in refused(f"--{end}", next(photo_folder.iterdir()))
    assert "would count as photos" in refused("--save", photo_folder / "within" / "it")
    assert not (photo_folder / "within").exists()
