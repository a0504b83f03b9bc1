"""G and D: their inputs and outputs, and an output pixel's receptive field."""

import numpy as np
import pytest

from minisrgan.errors import ConfigError, ShapeError, WeightsError
from minisrgan.imaging.pixels import lr_from_uint8
from minisrgan.imaging.resize import upsample
from minisrgan.models.discriminator import Discriminator, DiscriminatorConfig
from minisrgan.models.generator import Generator, GeneratorConfig, enlarge_bicubic
from minisrgan.nn import BatchNorm, held
from minisrgan.tensor import Tensor, no_grad
from minisrgan.training.config import Stage, TrainConfig
from minisrgan.training.presets import PRESETS
from minisrgan.weights.generators import (
    blend,
    load_generator,
    pack_generator,
    packaged,
    read_arrays,
    save_generator,
    write_arrays,
)


def generator(**config):
    values = dict(channels=3, blocks=1, edge_kernel=3, batch_norm=False) | config
    return Generator(GeneratorConfig(**values), np.random.default_rng(0))


def discriminator(crop=16, **config):
    return Discriminator(DiscriminatorConfig(channels=2, dense=4, crop=crop, **config), np.random.default_rng(0))


def images(*shape, seed=0, low=0.0):
    return Tensor(np.random.default_rng(seed).uniform(low, 1, shape).astype(np.float32))


def norms(model):
    return [module for _, module in model.modules() if isinstance(module, BatchNorm)]


def same_arrays(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("size", [(1, 1), (1, 6), (7, 5)])
@pytest.mark.parametrize("scale", [2, 3, 4, 8])
@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize("skip", [False, True])
def test_the_generator_enlarges_any_size(size, scale, skip, direct):
    sr = generator(scale=scale, bicubic_skip=skip, direct=direct)(images(2, *size, 3))
    assert sr.shape == (2, size[0] * scale, size[1] * scale, 3) and sr.dtype == np.float32
    assert np.isfinite(sr.data).all()


def test_each_image_of_a_batch_is_enlarged_by_itself():
    g, lr = generator(batch_norm=True, bicubic_skip=True).eval(), images(3, 5, 6, 3)
    alone = [g(Tensor(lr.data[i : i + 1])).data[0] for i in range(3)]
    np.testing.assert_allclose(g(lr).data, alone, atol=1e-5)


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
@pytest.mark.parametrize("size", [(1, 1), (2, 9), (11, 6)])
def test_with_a_silent_network_the_skip_is_matlabs_bicubic(size, scale):
    g = generator(scale=scale, bicubic_skip=True)
    g.tail.weight.data[:] = 0
    photo = np.random.default_rng(1).integers(70, 186, (*size, 3), dtype=np.uint8)
    levels = 127.5 * (g(Tensor(lr_from_uint8(photo[None]))).data[0] + 1)
    # MATLAB rounds after the rows and again after the columns: 0.5 through weights of |sum| <= 1.25, and 0.5
    assert np.abs(levels - upsample(photo, scale)).max() <= 1.13


def test_the_skip_is_added_once_and_in_srs_range():
    g = generator(bicubic_skip=True)
    lr = images(1, 4, 4, 3)
    with_skip = g(lr).data
    without = generator()
    without.load_state(g.state())
    g.tail.weight.data[:] = 0
    np.testing.assert_allclose(with_skip - without(lr).data, g(lr).data, atol=1e-6)
    white, black = (g(Tensor(np.full((1, 3, 3, 3), level, np.float32))).data for level in (1, 0))
    np.testing.assert_allclose(white, 1, atol=1e-6)
    np.testing.assert_allclose(black, -1, atol=1e-6)


def test_every_skip_leads_past_its_layers():
    lr = images(1, 5, 5, 3)
    g, short = generator(blocks=2), generator(blocks=0)
    for block in g.blocks:
        block.conv2.weight.data[:] = 0
    own = g.state()
    short.load_state({name: own[name] for name in short.state()})
    np.testing.assert_array_equal(g(lr).data, short(lr).data)  # past each block
    g.trunk.weight.data[:] = 0
    x = g.head(lr)
    for enlarge in g.upsample:
        x = enlarge(x)
    np.testing.assert_array_equal(g(lr).data, g.tail(x).data)  # past the whole trunk
    assert g(lr).data.std() > 0.01


@pytest.mark.parametrize(
    "config",
    [
        dict(),
        dict(scale=2),
        dict(scale=3),
        dict(scale=8, blocks=0),
        dict(edge_kernel=9),
        dict(edge_kernel=5, blocks=2, scale=8),
        dict(edge_kernel=1, blocks=0, bicubic_skip=True),
        dict(bicubic_skip=True),
        dict(direct=True, edge_kernel=5),
        dict(direct=True, bicubic_skip=True, scale=8, blocks=0),
    ],
)
def test_an_output_pixel_sees_as_far_as_the_receptive_radius_and_no_farther(config):
    g = generator(channels=2, **config).to(dtype=np.float64)
    radius, scale = g.receptive_radius(), g.config.scale
    centre, side = radius + 3, 2 * radius + 7
    lr = np.random.default_rng(2).uniform(0.2, 0.8, (1, side, side, 3))
    changed = lr.copy()
    changed[0, centre, centre] += 0.1
    with no_grad():
        difference = np.abs(g(Tensor(changed)).data - g(Tensor(lr)).data)[0].max(axis=2)
    seen = difference.reshape(side, scale, side, scale).max(axis=(1, 3)) > 0
    rows, columns = np.nonzero(seen)
    assert max(np.abs(rows - centre)) == max(np.abs(columns - centre)) == radius


@pytest.mark.parametrize("preset", [name for name in PRESETS if isinstance(PRESETS[name].generator, GeneratorConfig)])
def test_the_untrained_generator_passes_on_what_it_reads_however_deep_it_is(preset):
    """Residual branches start small: the last block's output is nearly the first layer's output."""
    g, lr = Generator(PRESETS[preset].generator, np.random.default_rng(0)), images(2, 12, 12, 3)
    first = x = g.head(lr)
    for block in g.blocks:
        x = block(x)
        assert 0 < np.abs(x.data - first.data).std() < 0.1 * first.data.std()


@pytest.mark.parametrize("preset", ["tiny", "small"])
def test_the_untrained_generator_is_bicubic(preset):
    config, lr = PRESETS[preset].generator, images(2, 12, 12, 3)
    g = Generator(config, np.random.default_rng(0))
    bicubic = enlarge_bicubic(lr, config.scale).data * 2 - 1
    assert 0 < np.abs(g(lr).data - bicubic).std() < 0.03
    scales = [g.tail(x).data.std() for x in (g.head(lr), g.head(lr) + g.trunk(g.head(lr)))]
    assert scales[1] < 1.1 * scales[0]


def test_the_paper_preset_is_the_papers_networks():
    """Ledig et al. 2017, figure 4, counted by hand: weights, biases, PReLU slopes, gamma and beta."""
    paper = PRESETS["paper"]
    assert (paper.batch, paper.discriminator.crop, paper.generator.scale) == (16, 96, 4)
    block = 2 * (9 * 64 * 64 + 64 + 2 * 64) + 64
    up = 9 * 64 * 256 + 256 + 64
    expected = (81 * 3 * 64 + 64 + 64) + 16 * block + (9 * 64 * 64 + 64 + 2 * 64) + 2 * up + (81 * 64 * 3 + 3)
    assert Generator(paper.generator, np.random.default_rng(0)).parameter_count() == expected
    widths = [64, 64, 128, 128, 256, 256, 512, 512]
    convolutions = sum(9 * cin * cout + cout for cin, cout in zip([3, *widths], widths))
    dense = (6 * 6 * 512 * 1024 + 1024) + (1024 + 1)
    expected = convolutions + sum(2 * width for width in widths[1:]) + dense
    assert Discriminator(paper.discriminator, np.random.default_rng(0)).parameter_count() == expected


@pytest.mark.parametrize("crop", [1, 15, 16, 33])
def test_the_discriminator_gives_one_logit_an_image(crop):
    z = discriminator(crop)(images(3, crop, crop, 3, low=-1))
    assert z.shape == (3,) and np.isfinite(z.data).all()


def test_logits_are_not_squashed():
    d = discriminator()
    d.logit.bias.data[:] = 40
    assert (d(images(2, 16, 16, 3, low=-1)).data > 30).all()


@pytest.mark.parametrize("shape", [(2, 15, 16, 3), (2, 32, 32, 3), (2, 16, 16, 1), (16, 16, 3)])
def test_the_discriminator_refuses_images_of_another_size(shape):
    with pytest.raises(ShapeError, match=r"\(N, 16, 16, 3\)"):
        discriminator()(images(*shape))


@pytest.mark.parametrize(
    "model, batch",
    [(generator(batch_norm=True), (2, 4, 4, 3)), (discriminator(), (2, 16, 16, 3))],
)
def test_evaluation_uses_frozen_statistics_and_training_learns_them(model, batch):
    before = model.eval().state()
    model(images(*batch))
    assert same_arrays(before, model.state())
    model.train()(images(*batch))
    after = model.state()
    moved = {name for name in before if not np.array_equal(before[name], after[name])}
    assert moved == {name for name in before if "running" in name}
    with held(model):
        model(images(*batch, seed=5))
    assert same_arrays(after, model.state()) and {norm.momentum for norm in norms(model)} == {0.1}


def test_the_only_batch_norm_that_is_missing_in_d_is_the_first():
    widths = [norm.gamma.size for norm in norms(discriminator())]
    assert widths == [2, 4, 4, 8, 8, 16, 16]


@pytest.mark.parametrize(
    "config",
    [
        lambda: GeneratorConfig(scale=5),
        lambda: GeneratorConfig(scale=1),
        lambda: GeneratorConfig(edge_kernel=4),
        lambda: GeneratorConfig(edge_kernel=-1),
        lambda: GeneratorConfig(channels=0),
        lambda: GeneratorConfig(blocks=-1),
        lambda: DiscriminatorConfig(channels=0),
        lambda: DiscriminatorConfig(crop=0),
        lambda: DiscriminatorConfig(dense=0),
        lambda: Stage(-1, 1e-4),
        lambda: Stage(1, 0),
        lambda: Stage(1, float("nan")),
        lambda: TrainConfig(GeneratorConfig(), DiscriminatorConfig(crop=98), 1, Stage(1, 0.1), Stage(1, 0.1)),
        lambda: TrainConfig(GeneratorConfig(), DiscriminatorConfig(), 0, Stage(1, 0.1), Stage(1, 0.1)),
        lambda: TrainConfig(GeneratorConfig(), DiscriminatorConfig(), 1, Stage(1, 0.1), Stage(1, 0.1), seed=-1),
        lambda: TrainConfig.from_dict({}),
        lambda: TrainConfig.from_dict(PRESETS["tiny"].to_dict() | {"surprise": 1}),
    ],
)
def test_settings_outside_what_they_may_be_are_refused(config):
    with pytest.raises(ConfigError):
        config()


# weights in files


@pytest.mark.parametrize("batch_norm", [False, True])
def test_a_generator_comes_back_from_its_file(tmp_path, batch_norm):
    g = generator(batch_norm=batch_norm, bicubic_skip=True, scale=2)
    g(images(2, 5, 5, 3))  # moves the running statistics off their first values
    save_generator(tmp_path / "g.safetensors", g)
    back = load_generator(tmp_path / "g.safetensors")
    assert back.config == g.config and same_arrays(back.state(), g.state())
    assert not any(module.training for _, module in back.modules())
    np.testing.assert_array_equal(back(images(1, 4, 4, 3)).data, g.eval()(images(1, 4, 4, 3)).data)


def write(path, data):
    path.write_bytes(data)


def without_arrays(path, g):
    write_arrays(path, {}, kind="minisrgan generator", config=vars(g.config))


def of_other_shapes(path, g):
    write_arrays(path, g.state(), kind="minisrgan generator", config=vars(g.config) | {"channels": 5})


def with_nan(path, g):
    g.tail.bias.data[1] = np.nan
    save_generator(path, g)


def truncated(path, g):
    save_generator(path, g)
    write(path, path.read_bytes()[:-50])


def without_number_type(path, g):
    """A tensor of bfloat16, a type that NumPy does not have."""
    header = b'{"a":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}}'
    write(path, len(header).to_bytes(8, "little") + header + b"\0\0")


def from_elsewhere(path, g):
    """A header as PyTorch writes it: its metadata is not JSON."""
    header = b'{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    write(path, len(header).to_bytes(8, "little") + header + b"\0\0\0\0")


BAD_FILES = {
    "missing": (lambda path, g: None, "no such file"),
    "folder": (lambda path, g: path.mkdir(), "folder"),
    "empty": (lambda path, g: write(path, b""), "it is empty: download or copy it again"),
    "web page": (lambda path, g: write(path, b"<!DOCTYPE html><html>404</html>"), "it is a web page"),
    "text": (lambda path, g: write(path, b"hello, world\n" * 9), "give a generator.safetensors"),
    "pickle": (lambda path, g: write(path, b"\x80\x04\x95" + bytes(40)), "damaged or cut file of PyTorch"),
    "pth": (lambda path, g: write(path, b"PK\x03\x04archive/data.pkl" + bytes(99)), "damaged or cut file of PyTorch"),
    "pointer": (
        lambda path, g: write(path, b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"),
        "git lfs pull",
    ),
    "truncated": (truncated, "damaged"),
    "bfloat16": (without_number_type, "give a generator.safetensors"),
    "elsewhere": (from_elsewhere, "1 arrays of an unknown network ('a'); give a generator.safetensors"),
    "checkpoint": (
        lambda path, g: write_arrays(path, g.state(), kind="minisrgan checkpoint"),
        "is not a minisrgan generator; give a generator.safetensors",
    ),
    "arrays missing": (without_arrays, "is in only one of the two"),
    "other shapes": (of_other_shapes, "of another model"),
    "bad config": (
        lambda path, g: write_arrays(path, {}, kind="minisrgan generator", config={"scale": 5}),
        "scale is 2, 3, 4 or 8",
    ),
    "no config": (lambda path, g: write_arrays(path, {}, kind="minisrgan generator"), "configuration"),
    "nan": (with_nan, "'tail.bias' holds NaN"),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_a_file_that_is_no_generator_gets_one_line(tmp_path, kind):
    path = tmp_path / "w.safetensors"
    make, said = BAD_FILES[kind]
    make(path, generator())
    with pytest.raises(WeightsError) as caught:
        load_generator(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ") and "\n" not in text
    assert said in text


def test_loading_another_models_weights_changes_nothing():
    g, other = generator(), generator(channels=4)
    before = g.state()
    with pytest.raises(WeightsError, match="another model"):
        g.load_state(other.state())
    assert same_arrays(before, g.state())


def test_the_best_of_the_package_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr("minisrgan.weights.generators.FOLDER", tmp_path)
    for name in ("tiny-stage1", "small-stage1", "tiny-gan", "small-gan"):  # from the worst to the best
        (tmp_path / f"{name}.safetensors").touch()
        assert packaged().stem == name
    assert packaged("tiny").stem == "tiny-gan" and packaged(stage="stage1").stem == "small-stage1"
    assert packaged("tiny", "stage1").stem == "tiny-stage1"
    (tmp_path / "tiny-gan.safetensors").unlink()
    assert packaged("tiny").stem == "tiny-stage1"
    with pytest.raises(WeightsError, match="tiny-gan.safetensors: the package has no such weights"):
        packaged("tiny", "gan")


def test_the_package_has_a_generator():
    assert load_generator(packaged("tiny", "stage1")).config.scale == 4


def test_a_packed_generator_is_half_as_large_and_nearly_the_same(tmp_path):
    g = generator(channels=8, blocks=2, bicubic_skip=True, direct=True)
    save_generator(tmp_path / "whole.safetensors", g, seed=1)
    pack_generator(tmp_path / "whole.safetensors", tmp_path / "half.safetensors", "for a test")
    whole, half = (load_generator(tmp_path / f"{name}.safetensors") for name in ("whole", "half"))
    assert half.config == g.config and half.tail.weight.dtype == np.float32
    for name, array in whole.state().items():
        np.testing.assert_allclose(half.state()[name], array, rtol=2**-11, atol=2**-24)
    sizes = [(tmp_path / f"{name}.safetensors").stat().st_size for name in ("whole", "half")]
    assert sizes[0] - sizes[1] > 1.9 * g.parameter_count()
    assert read_arrays(tmp_path / "half.safetensors")[1]["trained"] == {"note": "for a test"}


def test_a_generator_that_half_precision_cannot_hold_is_not_packed(tmp_path):
    g = generator()
    g.tail.bias.data[1] = 1e6
    save_generator(tmp_path / "whole.safetensors", g)
    with pytest.raises(WeightsError, match="'tail.bias'.*half precision"):
        pack_generator(tmp_path / "whole.safetensors", tmp_path / "half.safetensors", "for a test")
    assert not (tmp_path / "half.safetensors").exists()


def test_a_blend_lies_between_two_generators():
    one, other = (Generator(GeneratorConfig(3, 1, 3), np.random.default_rng(seed)) for seed in (0, 1))
    other(images(2, 5, 5, 3))  # batch norm's averages are blended too
    a, b = one.state(), other.state()
    assert same_arrays(blend(one, other, 0).state(), a) and same_arrays(blend(one, other, 1).state(), b)
    between = blend(one, other, 0.75)
    for name, array in between.state().items():
        np.testing.assert_allclose(array, 0.25 * a[name] + 0.75 * b[name], rtol=1e-6, atol=1e-7)
    assert same_arrays(one.state(), a) and same_arrays(other.state(), b)
    assert not any(module.training for _, module in between.modules())


@pytest.mark.parametrize("config", [dict(channels=4), dict(bicubic_skip=True)])
def test_other_generators_are_not_blended(config):
    with pytest.raises(ConfigError, match="one configuration"):
        blend(generator(), generator(**config), 0.5)


@pytest.mark.parametrize("alpha", [-0.01, 1.01, float("nan")])
def test_a_blend_is_between_the_two(alpha):
    with pytest.raises(ConfigError, match="from 0"):
        blend(generator(), generator(), alpha)
