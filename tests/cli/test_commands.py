"""What the commands are made of: choosing photos, measuring, drawing, the demonstration."""

import math
import shutil
import warnings
from functools import partial

import numpy as np
import pytest
from PIL import Image

from minisrgan.cli.main import main
from minisrgan.errors import ConfigError, ImageError
from minisrgan.files import free_name
from minisrgan.imaging.files import read_photo
from minisrgan.imaging.metrics import Score, grid, score
from minisrgan.imaging.patches import Crop, PhotoSet
from minisrgan.imaging.resize import downsample, shrink, upsample
from minisrgan.imaging.transparency import over_white
from minisrgan.losses import ADVERSARIAL
from minisrgan.models.discriminator import DiscriminatorConfig
from minisrgan.models.vgg import VGG, VGGConfig, VGGFeatures
from minisrgan.names import STAGES
from minisrgan.studies import demo, sweep
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
from minisrgan.studies.losses import LOGITS, along, draw_losses, sides
from minisrgan.tensor import Tensor
from minisrgan.training import loop as train
from minisrgan.training import photos, report
from minisrgan.training.run import COLUMNS, Run
from minisrgan.training.trainer import Trainer
from minisrgan.upscaling.trial import try_photo
from minisrgan.upscaling.upscale import upscale
from minisrgan.weights import st_lpips
from minisrgan.weights.generators import load_generator, save_generator, write_arrays

# photos


def test_the_packaged_photos_are_photos_and_none_is_both():
    training, held_out, small = photos.training_photos()
    names = [name for name, _ in training]
    assert len(names) == 9 and [name for name, _ in held_out] == ["chelsea.png", "coffee.png"] and small == []
    assert not set(names) & {name for name, _ in held_out}
    for _, rgb in training + held_out:
        assert min(rgb.shape[:2]) >= 96


def test_every_tenth_photo_that_is_large_enough_is_held_out(tmp_path, smooth_photo):
    for i in range(23):
        Image.fromarray(smooth_photo(8, 8 if i in (0, 10) else 9, seed=i)).save(tmp_path / f"{i:02}.png")
    (tmp_path / "notes.txt").write_text("no photo")
    training, held_out, small = photos.training_photos(tmp_path, least=8)
    assert [name for name, _ in held_out] == ["00.png", "10.png", "20.png"] and small == []
    Image.fromarray(smooth_photo(7, 99)).save(tmp_path / "00.png")
    training, held_out, small = photos.training_photos(tmp_path, least=8)
    assert [name for name, _ in held_out] == ["01.png", "11.png", "21.png"] and small == ["00.png"]
    assert len(training) == 19 and not {name for name, _ in training} & {name for name, _ in held_out}
    np.testing.assert_array_equal(held_out[0][1], read_photo(tmp_path / "01.png")[0])


def test_a_single_photo_is_too_few_to_train_and_to_measure(tmp_path, smooth_photo):
    Image.fromarray(smooth_photo(9, 9)).save(tmp_path / "one.png")
    with pytest.raises(ImageError, match="1 of 1 photos .* needs two"):
        photos.training_photos(tmp_path, 8)
    Image.fromarray(smooth_photo(7, 9)).save(tmp_path / "small.png")
    with pytest.raises(ImageError, match="1 of 2 photos here have at least 8 x 8 .* needs two"):
        photos.training_photos(tmp_path, 8)


def test_a_package_without_its_photos_gets_one_line():
    with pytest.raises(ImageError, match="mona_lisa.*--data"):
        photos.packaged({"skimage": "mona_lisa.png"})


@pytest.mark.parametrize("size", [(300, 700), (256, 256), (257, 100), (20, 20)])
def test_the_middle_is_the_middle(size):
    photo = np.arange(size[0] * size[1] * 3, dtype=np.uint32).reshape(*size, 3)
    cut = train.middle(photo)
    assert cut.shape == (min(size[0], 256), min(size[1], 256), 3)
    top, left = (size[0] - cut.shape[0]) // 2, (size[1] - cut.shape[1]) // 2
    assert (
        cut[0, 0, 0] == photo[top, left, 0]
        and cut[-1, -1, 2] == photo[top + cut.shape[0] - 1, left + cut.shape[1] - 1, 2]
    )


# measuring


def test_a_trial_is_the_photo_shrunk_and_enlarged(generator_file, smooth_photo):
    g, photo = load_generator(generator_file), smooth_photo(30, 41)
    trial = try_photo(g, photo, "numpy")
    np.testing.assert_array_equal(trial.hr, photo[:28, :40])
    np.testing.assert_array_equal(trial.lr, downsample(photo[:28, :40], 4))
    np.testing.assert_array_equal(trial.bicubic, upsample(trial.lr, 4))
    np.testing.assert_array_equal(trial.sr, upscale(g, trial.lr, "numpy"))
    assert not np.array_equal(trial.sr, trial.bicubic)


@pytest.fixture(scope="session")
def by():
    """A ruler by the name of "random": a VGG with random weights."""
    config = VGGConfig(((4,), (6,)))
    vgg = VGGFeatures(config, VGG(config, np.random.default_rng(0)).state(), scale=1.0)
    return {"random": partial(perceptual_distance, vgg, device="numpy")}


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
    """A flat photo is enlarged without error: its infinite PSNR would be the mean's."""
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


# drawing


def shades(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def test_the_comparison_shows_what_it_was_given(tmp_path, smooth_photo):
    hr = smooth_photo(80, 120)
    lr = downsample(hr, 4)
    red = np.zeros_like(hr)
    red[..., 0] = 255
    report.draw_comparison(tmp_path / "a.png", lr, hr, {"red": (red, score(red, hr, 4))})
    bicubic = upsample(lr, 4)
    report.draw_comparison(tmp_path / "b.png", lr, hr, {"bicubic": (bicubic, score(bicubic, hr, 4))})
    a, b = shades(tmp_path / "a.png"), shades(tmp_path / "b.png")

    def reds(picture):
        return (picture == [255, 0, 0]).all(axis=2).mean()

    assert reds(a) > 0.1 and reds(b) < 0.01


@pytest.mark.parametrize("size", [(20, 20), (20, 300), (64, 64), (500, 24)])
def test_the_comparison_takes_photos_of_any_shape(tmp_path, smooth_photo, size):
    hr = smooth_photo(*size)
    lr = downsample(hr, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bicubic = upsample(lr, 4)
        report.draw_comparison(tmp_path / "p.png", lr, hr, {"bicubic": (bicubic, score(bicubic, hr, 4))})
    assert shades(tmp_path / "p.png").std() > 20


def test_the_detail_is_where_the_picture_is_liveliest():
    image = np.full((96, 128, 3), 90, np.uint8)
    image[40:60:2, 70:90] = 250
    top, left = report.place_of_most_contrast(image, 32)
    assert top <= 40 and top + 32 >= 60 and left <= 70 and left + 32 >= 90


def test_copies_of_the_photos_are_learned_from_too(tiny_config, smooth_photo):
    config, pair = tiny_config(copies=2), [("a", smooth_photo(40, 44)), ("b", smooth_photo(22, 30, seed=1))]
    crops = photos.patches(config, pair)
    assert crops.names == ["a", "b", "a at 0.8", "b at 0.8", "a at 0.64"] and crops.skipped == ["b at 0.64"]
    assert photos.patches(tiny_config(), pair).names == ["a", "b"]
    copy = crops.hr([Crop(2, 0, 0, 0)])[0]
    np.testing.assert_array_equal(copy, shrink(pair[0][1], 0.8)[:16, :16])


def log_row(stage, step, **measured):
    return dict.fromkeys(COLUMNS, "") | {"stage": stage, "step": str(step)} | measured


def test_the_curves_are_those_of_the_log(tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(
        report,
        "save_figure",
        lambda figure, path: drawn.update(
            {line.get_label(): line.get_xydata().tolist() for axes in figure.axes for line in axes.lines}
        ),
    )
    report.draw_curves(
        tmp_path / "c.png",
        [
            log_row("pretrain", 1, loss_content="0.5", grad_g="3"),
            log_row("pretrain", 2, loss_content="0.25", grad_g="2", psnr="21.5"),
            log_row("gan", 1, loss_content="0.3", grad_g="1", d_real="0.6", d_fake="0.4", loss_d="1.2"),
        ],
        bicubic=20.5,
    )
    assert [y for _, y in drawn["bicubic"]] == [20.5, 20.5]
    assert drawn["loss_content"] == [[1, 0.5], [2, 0.25], [3, 0.3]]
    assert drawn["psnr"] == [[2, 21.5]] and drawn["d_fake"] == [[3, 0.4]]
    assert "loss_adversarial" not in drawn


def test_the_curves_of_a_thinned_log_stand_at_their_steps(tmp_path, monkeypatch):
    axes = []
    monkeypatch.setattr(report, "save_figure", lambda figure, path: axes.extend(figure.axes))
    rows = [log_row("pretrain", n, loss_content="1", psnr=p) for n, p in [(300, ""), (1000, "20")]]
    report.draw_curves(tmp_path / "c.png", [*rows, log_row("gan", 200, loss_content="2")])
    (line,) = [line for line in axes[0].lines if line.get_label() == "loss_content"]
    assert line.get_xdata().tolist() == [300, 1000, 1200]
    assert len({each.get_xlim() for each in axes}) == 1 and all(t == int(t) for t in axes[3].get_xticks())


def test_the_curves_show_when_something_was_wrong(tmp_path, monkeypatch):
    axes = []
    monkeypatch.setattr(report, "save_figure", lambda figure, path: axes.extend(figure.axes))
    rows = [
        log_row("gan", i, health=text) for i, text in enumerate(["", "ok", "d-winning", "d-winning+oscillation"], 1)
    ]
    report.draw_curves(tmp_path / "c.png", rows)
    drawn = {line.get_label(): line.get_xdata().tolist() for line in axes[-1].lines}
    assert drawn == {"d-winning": [3, 4], "oscillation": [4]}
    assert [text.get_text() for text in axes[-1].get_yticklabels()] == ["d-winning", "oscillation"]


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [log_row("pretrain", 1, loss_content="0.0", grad_g="0.0", psnr="inf")],  # a photo of one colour
        [log_row("gan", 1, loss_content="0.1", d_real="0.5", d_fake="0.5", psnr="20")],
    ],
)
def test_curves_of_odd_logs_are_drawn_without_a_warning(tmp_path, rows):
    report.draw_curves(tmp_path / "c.png", rows)
    assert shades(tmp_path / "c.png").std() > 5


# the demonstration


def test_the_demonstration_trains_compares_and_says_where_the_picture_is(
    tmp_path, tiny_config, monkeypatch, capsys, photo_folder
):
    monkeypatch.setattr(train, "LOOKS", 1)
    paths = sorted(photo_folder.iterdir())
    monkeypatch.setattr(demo, "training_photos", lambda least: photos.training_photos(photo_folder, least))
    config = tiny_config(steps=(2, 1), discriminator=DiscriminatorConfig(channels=2, dense=4, crop=16))
    (tmp_path / "demo").mkdir()
    means = demo.demo(tmp_path / "demo", "numpy", config, bar=False)
    said = capsys.readouterr().out
    assert list(means) == ["bicubic", "stage 1", "GAN"] and all(math.isfinite(m.score.psnr_y) for m in means.values())
    picture = tmp_path / "demo-2" / "a.png"
    assert f"picture: {picture}\n" in said and shades(picture).std() > 20
    hr = read_photo(paths[0])[0]
    for name, file in [("stage 1", "generator-pretrain"), ("GAN", "generator")]:
        g = load_generator(tmp_path / "demo-2" / f"{file}.safetensors")
        expected = score(try_photo(g, hr, "numpy").sr, hr, 4)
        assert means[name].score == pytest.approx(expected)
        (line,) = [line for line in said.splitlines() if line.startswith(name)]
        assert f"{expected.psnr_y:.2f}" in line
    assert list((tmp_path / "demo").iterdir()) == []


def test_a_free_folder_is_found(tmp_path):
    assert free_name(tmp_path / "run") == tmp_path / "run"
    for name in ("run", "run-2"):
        (tmp_path / name).mkdir()
    assert free_name(tmp_path / "run") == tmp_path / "run-3"


# the sweep


def test_a_grid_is_every_combination():
    assert sweep.grid({"adversarial": [1e-3, 1e-2], "rate": [1.0]}) == [
        {"adversarial": 1e-3, "rate": 1.0},
        {"adversarial": 1e-2, "rate": 1.0},
    ]
    with pytest.raises(ConfigError, match="60 trainings"):
        sweep.grid({"tv": [0.0] * 6, "pixel": [0.0] * 10})


def test_what_can_be_varied(tiny_config):
    config = sweep.varied(tiny_config(), {"adversarial": 0.5, "tv": 0.25, "rate": 0.01})
    assert (config.adversarial_weight, config.tv_weight, config.gan.rate) == (0.5, 0.25, 0.01)
    assert config.content_weight == 1 and sweep.varied(tiny_config(), {}) == tiny_config()
    with pytest.raises(ConfigError, match="'style' cannot be varied: choose from content"):
        sweep.varied(tiny_config(), {"style": 1.0})


def test_a_share_and_the_features_can_be_varied(tiny_config):
    config = sweep.varied(tiny_config(), {"adversarial-share": 0.5, "features": "l1"})
    assert config.shares == {"adversarial": 0.5} and config.content == "l1"
    assert sweep.name_of({"adversarial-share": 0.5, "features": "l1"}) == "adversarial-share=0.5,features=l1"
    for wrong in ({"features": 1.0}, {"rate": "l1"}):
        with pytest.raises(ConfigError, match="takes a n"):
            sweep.varied(tiny_config(), wrong)
    with pytest.raises(ConfigError, match="tv has a weight or a share"):
        sweep.varied(tiny_config(), {"tv": 1.0, "tv-share": 1.0})


@pytest.mark.usefixtures("no_pictures")
def test_a_sweep_trains_each_setting_from_the_same_start(monkeypatch, tmp_path, tiny_config, photo_folder, by):
    monkeypatch.setattr(sweep, "rulers", lambda *args: by)
    config = tiny_config(steps=(2, 9), adversarial_weight=0.5)
    first = Run.create(tmp_path / "first", config, data=str(photo_folder), stages=STAGES, photos=["b.png", "c.png"])
    pictures = photos.training_photos(photo_folder, 16)
    held_out = pictures.held_out[0][1]
    train.train(
        first, Trainer(config, PhotoSet(pictures.training, 4, 16), "numpy"), [held_out], ("pretrain",), bar=False
    )
    lines = []
    vary = {"adversarial": [0.0, 1e3], "rate": [1e-3, 2e-3]}
    results = sweep.sweep(vary, first.folder, 2, tmp_path / "out", None, None, "numpy", say=lines.append)
    names = [
        "adversarial=0,rate=0.001",
        "adversarial=0,rate=0.002",
        "adversarial=1000,rate=0.001",
        "adversarial=1000,rate=0.002",
    ]
    assert list(results) == ["bicubic", "start", *names]
    assert len({q.score.psnr_y for q in results.values()}) == 6
    start = try_photo(load_generator(first.pretrained), held_out, "numpy")
    assert results["start"].score == pytest.approx(score(start.sr, start.hr, 4))
    last, about = Run(tmp_path / "out" / names[-1]).config()
    assert (last.adversarial_weight, last.gan.rate, last.gan.steps) == (1e3, 2e-3, 2) and about["stages"] == ["gan"]
    table = (tmp_path / "out" / "sweep.csv").read_text().splitlines()
    assert table[0] == "name,psnr_y,psnr_rgb,ssim_y,random" and len(table) == 7
    assert any(line.startswith(names[-1][:23]) and f"{results[names[-1]].score.psnr_y:.2f}" in line for line in lines)
    assert shades(tmp_path / "out" / "sweep.png").std() > 5
    shutil.copytree(photo_folder, tmp_path / "photos")
    shutil.copy(photo_folder / "a.png", tmp_path / "photos" / "b.png")
    first.describe(
        config, data=str(tmp_path / "photos"), stages=STAGES, photos=PhotoSet(pictures.training, 4, 16).hashes
    )
    with pytest.raises(ConfigError, match="b.png is not the same picture"):
        sweep.sweep(vary, first.folder, 2, tmp_path / "other", None, None, "numpy")
    with pytest.raises(ConfigError, match="there already"):
        sweep.sweep(vary, first.folder, 2, tmp_path / "out", None, None, "numpy")


@pytest.mark.usefixtures("no_pictures")
def test_a_setting_that_diverges_is_told_and_the_others_go_on(monkeypatch, tmp_path, tiny_config, photo_folder, by):
    monkeypatch.setattr(sweep, "rulers", lambda *args: by)
    config = tiny_config(steps=(0, 3))
    first = Run.create(tmp_path / "first", config, data=str(photo_folder), stages=STAGES, photos=["b.png", "c.png"])
    save_generator(
        first.pretrained, Trainer(config, PhotoSet([("a", np.zeros((16, 16, 3), np.uint8))], 4, 16), "numpy").generator
    )
    lines = []
    vary = {"adversarial": [1e38, 1e-3]}
    results = sweep.sweep(vary, first.folder, None, tmp_path / "out", None, None, "numpy", say=lines.append)
    assert list(results) == ["bicubic", "start", "adversarial=0.001"]
    assert any("no longer finite" in line and line.startswith("adversarial=1e+38") for line in lines)


# the picture of the losses


def test_the_picture_of_the_losses_shows_each_side_of_each_game(tmp_path):
    draw_losses(tmp_path / "losses.png")
    with Image.open(tmp_path / "losses.png") as picture:
        assert picture.size == (1600, 600)
    middle = len(LOGITS) // 2
    slopes = {name: [along(loss)[1] for loss in sides(game).values()] for name, game in ADVERSARIAL.items()}
    for name, (d_real, d_fake, g_fake) in slopes.items():
        assert d_real[middle] < 0 <= d_fake[middle] and g_fake[middle] < 0, name
    np.testing.assert_allclose(slopes["minimax"][2], -1 / (1 + np.exp(-LOGITS)), rtol=1e-12)
    np.testing.assert_allclose(slopes["non-saturating"][2], -1 / (1 + np.exp(LOGITS)), rtol=1e-12)


def test_the_command_that_draws_the_losses(tmp_path, capsys):
    assert main(["losses", "--out", str(tmp_path / "l.png")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'l.png'}\n" and (tmp_path / "l.png").stat().st_size > 10_000


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
