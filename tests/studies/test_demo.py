"""The demonstration: it trains, compares, and says where the picture is."""

import math

import pytest

from minisrgan.files import free_name
from minisrgan.imaging.files import read_photo
from minisrgan.imaging.metrics import score
from minisrgan.models.discriminator import DiscriminatorConfig
from minisrgan.studies import demo
from minisrgan.training import loop as train
from minisrgan.training import photos
from minisrgan.upscaling.trial import try_photo
from minisrgan.weights.generators import load_generator


def test_the_demonstration_trains_compares_and_says_where_the_picture_is(
    shades, tmp_path, tiny_config, monkeypatch, capsys, photo_folder
):
    monkeypatch.setattr(train, "LOOKS", 1)
    paths = sorted(photo_folder.iterdir())
    monkeypatch.setattr(demo, "gather", lambda config, about: photos.gather(config, {"data": str(photo_folder)}))
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
