"""Fixtures that several test files share."""

import os
import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minisrgan.device import use_device
from minisrgan.models.discriminator import DiscriminatorConfig
from minisrgan.models.generator import Generator, GeneratorConfig
from minisrgan.training import loop as train
from minisrgan.training.config import Stage, TrainConfig
from minisrgan.weights.generators import save_generator

if os.environ.get("MINISRGAN_GPU_POOL") == "off":  # for compute-sanitizer, which sees no bounds within CuPy's pool
    import cupy

    cupy.cuda.set_allocator(None)


@pytest.fixture(scope="session")
def measurement_data():
    """The folder of the standard image sets: $MINISRGAN_DATA, else ../shared/data beside the repository."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("MINISRGAN_DATA") or default)
    if not (folder / "Set5").is_dir():
        pytest.skip(f"the measurement images are not at {folder}; MINISRGAN_DATA names another place")
    return folder


@pytest.fixture(scope="session")
def genuine(measurement_data, tmp_path_factory):
    """The Caffe variant of VGG19, unpacked by the script beside it."""
    source = measurement_data / "vgg19" / "unpack.py"
    if not source.is_file():
        pytest.skip(f"VGG19's weights are not at {source.parent}")
    script = runpy.run_path(str(source))
    out = tmp_path_factory.mktemp("vgg") / "vgg19.safetensors"
    packed = script["load_file"](source.with_name("vgg19-caffe-packed.safetensors"))
    metadata = {"variant": "caffe", "input": "BGR 0..255 minus 103.939 116.779 123.68"}
    script["save_file"](script["unpack"](packed), out, metadata=metadata)
    return out


@pytest.fixture
def tiny_config():
    """A function that gives the smallest useful TrainConfig, with its arguments as changes."""

    def build(steps=(6, 6), batch_norm=True, schedule="constant", ema=0.0, **changes):
        values = dict(
            generator=GeneratorConfig(channels=4, blocks=1, edge_kernel=3, batch_norm=batch_norm),
            discriminator=DiscriminatorConfig(channels=2, dense=4, crop=16),
            batch=2,
            pretrain=Stage(steps[0], 1e-3, schedule, ema),
            gan=Stage(steps[1], 1e-3, schedule, ema),
        )
        return TrainConfig(**values | changes)

    return build


@pytest.fixture(scope="session")
def smooth_photo():
    """A function that gives a uint8 RGB photo of a size: smooth, with a few edges, so that something can be learned."""

    def build(height, width, seed=0):
        y, x = np.mgrid[:height, :width]
        phases = np.random.default_rng(seed).uniform(0, 6, (2, 3))
        waves = np.sin(y[..., None] / 5 + phases[0]) * np.cos(x[..., None] / 7 + phases[1])
        edges = np.where((x // 9 + y // 11) % 2, 30, -30)[..., None]
        return (128 + 70 * waves + edges).round().astype(np.uint8)

    return build


@pytest.fixture(scope="session")
def photo_folder(tmp_path_factory, smooth_photo):
    """A folder of three photos, two to train on and one (the first by name) held out."""
    folder = tmp_path_factory.mktemp("photos")
    for i, name in enumerate(["a.png", "b.png", "c.png"]):
        Image.fromarray(smooth_photo(36, 40, seed=i)).save(folder / name)
    return folder


@pytest.fixture
def generator_file(tmp_path):
    """The file of a small untrained generator: its SR is nearly the bicubic enlargement."""
    generator = Generator(
        GeneratorConfig(channels=2, blocks=1, edge_kernel=3, batch_norm=False, bicubic_skip=True),
        np.random.default_rng(0),
    )
    save_generator(tmp_path / "weights" / "g.safetensors", generator)
    return tmp_path / "weights" / "g.safetensors"


@pytest.fixture
def no_pictures(monkeypatch):
    """Training without its pictures, which take longer than tiny steps do."""
    monkeypatch.setattr(train, "draw_comparison", lambda *args: None)
    monkeypatch.setattr(train, "draw_curves", lambda *args: None)
    monkeypatch.setattr(train, "keep", lambda *args: None)
    monkeypatch.setattr(train, "renew_report", lambda *args: None)


@pytest.fixture(autouse=True)
def numpy_again():
    """Undo a command's choice of a device, so that the next test does not compute there."""
    yield
    use_device("numpy")


@pytest.fixture(scope="session")
def shades():
    """A function that gives the uint8 RGB pixels of a picture's file."""

    def pixels(path):
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))

    return pixels
