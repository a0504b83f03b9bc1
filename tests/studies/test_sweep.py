"""The sweep: which settings it tries, and what it reports about them."""

import shutil

import numpy as np
import pytest

from minisrgan.errors import ConfigError
from minisrgan.imaging.metrics import score
from minisrgan.imaging.patches import PhotoSet
from minisrgan.names import STAGES
from minisrgan.studies import sweep
from minisrgan.training import loop as train
from minisrgan.training import photos
from minisrgan.training.run import Run
from minisrgan.training.trainer import Trainer
from minisrgan.upscaling.trial import try_photo
from minisrgan.weights.generators import load_generator, save_generator


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
def test_a_sweep_trains_each_setting_from_the_same_start(shades, monkeypatch, tmp_path, tiny_config, photo_folder, by):
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
