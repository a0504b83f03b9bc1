"""VGG: its layers by either name, its two kinds of input, and what freezing its weights saves."""

import numpy as np
import pytest

from minisrgan.errors import ConfigError, ShapeError
from minisrgan.losses import PixelMSE
from minisrgan.models.vgg import BGR_MEAN, MEAN, SMALL, STD, VGG, VGG16, VGG19, VGGConfig, VGGFeatures, normalise
from minisrgan.nn import Conv, MaxPool, ReLU
from minisrgan.ops import WeightGrad
from minisrgan.tensor import Tensor, grad
from minisrgan.weights.vgg import load_vgg

TINY = ((3, 4), (5,), (6, 4))


def weights(blocks=TINY, seed=0):
    rng = np.random.default_rng(seed)
    arrays = VGG(VGGConfig(blocks), rng).state()
    return {name: a + 0.1 * rng.standard_normal(a.shape).astype(a.dtype) for name, a in arrays.items()}


def features(layer=None, family="torchvision", blocks=TINY, **options):
    return VGGFeatures(VGGConfig(blocks, family), weights(blocks), layer, **options)


def images(*shape, seed=1):
    return Tensor(np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32))


# names


@pytest.mark.parametrize(
    "blocks, names",
    [  # torchvision's own listing of its layers
        (VGG16, {"vgg11": 0, "vgg12": 2, "vgg21": 5, "vgg22": 7, "vgg33": 14, "vgg41": 17, "vgg43": 21, "vgg53": 28}),
        (VGG19, {"vgg11": 0, "vgg22": 7, "vgg31": 10, "vgg34": 16, "vgg41": 19, "vgg44": 25, "vgg51": 28, "vgg54": 34}),
        (SMALL, {"vgg22": 7, "vgg34": 16}),
    ],
)
def test_the_papers_names_are_torchvisions_numbers(blocks, names):
    config = VGGConfig(blocks)
    for name, index in names.items():
        assert config.index(name, after_activation=False) == index
        assert config.index(name) == index + 1
        assert config.index(f"features.{index}") == config.index(f"features.{index}", False) == index
    assert config.index() == config.index(max(names))


def test_every_number_is_the_layer_that_it_is_in_torchvision():
    kinds = [type(layer) for layer in VGG(VGGConfig(TINY), np.random.default_rng(0)).features]
    assert kinds == [Conv, ReLU, Conv, ReLU, MaxPool, Conv, ReLU, MaxPool, Conv, ReLU, Conv, ReLU, MaxPool]
    assert set(weights(VGG16)) == {
        f"features.{n}.{kind}" for n in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28) for kind in ("weight", "bias")
    }


@pytest.mark.parametrize(
    "name", ["vgg55", "vgg60", "vgg5", "vgg543", "features.37", "features.", "35", "relu5_4", "vgg٥4"]
)
def test_a_name_that_is_no_layers(name):
    with pytest.raises(ConfigError, match="choose one of vgg11, .*vgg54, or features.0 to .36"):
        VGGConfig(VGG19).index(name)


@pytest.mark.parametrize("blocks, family", [((), "caffe"), (((),), "caffe"), (((0,),), "caffe"), (TINY, "keras")])
def test_a_vgg_that_cannot_be(blocks, family):
    with pytest.raises(ConfigError):
        VGGConfig(blocks, family)


# forward


def by_hand(image, arrays, upto, blocks=TINY):
    """The layers in float64, tap by tap, with nothing but NumPy's sums. `image` is the first layer's input."""
    x = image.astype(np.float64)
    kinds = sum(([Conv, ReLU] * len(block) + [MaxPool] for block in blocks), [])
    for index, kind in enumerate(kinds[: upto + 1]):
        if kind is Conv:
            w, b = (arrays[f"features.{index}.{name}"].astype(np.float64) for name in ("weight", "bias"))
            h, width = x.shape[:2]
            padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
            x = b + sum(padded[i : i + h, j : j + width] @ w[i, j] for i in range(3) for j in range(3))
        elif kind is ReLU:
            x = np.where(x > 0, x, 0)
        else:
            h, width = (size // 2 * 2 for size in x.shape[:2])
            x = np.max([x[i:h:2, j:width:2] for i in range(2) for j in range(2)], axis=0)
    return x


def contract(image, family):
    """What the families' own preprocessing makes of an image that is (H, W, 3) in [-1, 1]: by way of uint8's range."""
    levels = (image.astype(np.float64) + 1) / 2 * 255  # RGB
    if family == "torchvision":
        return (levels / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    red, green, blue = np.moveaxis(levels, 2, 0)
    return np.stack([blue - 103.939, green - 116.779, red - 123.68], axis=2)


@pytest.mark.parametrize("family", ["torchvision", "caffe"])
@pytest.mark.parametrize("upto", range(13))
def test_every_layer_against_sums_by_hand(family, upto):
    x = images(2, 9, 10, 3)
    maps = features(f"features.{upto}", family, scale=0.5)(x)
    for image, out in zip(x.data, maps.data):
        expected = 0.5 * by_hand(contract(image, family), weights(), upto)
        np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-5 * abs(expected).max())


@pytest.mark.parametrize("family", ["torchvision", "caffe"])
def test_the_input_contract_exactly(family):
    x = np.random.default_rng(0).uniform(-1, 1, (1, 4, 5, 3))
    np.testing.assert_allclose(normalise(Tensor(x), family).data[0], contract(x[0], family), rtol=1e-12, atol=1e-12)
    assert (MEAN, STD) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)) and BGR_MEAN == (103.939, 116.779, 123.68)


def test_the_scale_is_the_papers_and_before_the_activation_there_are_negatives():
    x = images(1, 8, 8, 3)
    after, before = features("vgg22", blocks=SMALL), features("vgg22", blocks=SMALL, after_activation=False)
    assert after(x).data.min() == 0 and before(x).data.min() < 0
    np.testing.assert_array_equal(after(x).data, np.maximum(before(x).data, 0))
    whole = features("vgg22", blocks=SMALL, scale=1.0)
    np.testing.assert_allclose(whole(x).data / 12.75, after(x).data, rtol=1e-6)


@pytest.mark.parametrize("shape", [(1, 3, 8, 3), (1, 8, 3, 3), (1, 8, 8, 1), (8, 8, 3)])
def test_images_of_another_shape_are_refused(shape):
    with pytest.raises(ShapeError, match=r"\(N, H, W, 3\), H and W at least 4, not "):
        features("vgg32")(images(*shape))


def test_the_smallest_images_have_one_pixel_at_the_end():
    assert features("vgg32")(images(1, 4, 4, 3)).shape == (1, 1, 1, 4)
    assert features("features.12")(images(1, 8, 9, 3)).shape == (1, 1, 1, 4)


# frozen


def test_a_frozen_network_computes_no_weight_gradient_and_remembers_nothing_for_a_photo(monkeypatch):
    def never(*args, **params):
        raise AssertionError("a weight gradient was computed")

    monkeypatch.setattr(WeightGrad, "implementations", (never,))
    vgg = features()
    sr = Tensor(images(1, 8, 8, 3).data, requires_grad=True)
    hr_map = vgg(images(1, 8, 8, 3, seed=2))
    assert hr_map.op is None and not hr_map.requires_grad  # no graph: HR is no variable
    loss = PixelMSE(vgg(sr), hr_map)
    loss.backward()
    assert np.abs(sr.grad.data).max() > 0
    assert all(parameter.grad is None for parameter in vgg.parameters())
    trainable = VGG(vgg.config, np.random.default_rng(0), last=11)  # not frozen: it would be
    with pytest.raises(AssertionError, match="was computed"):
        PixelMSE(trainable(sr), hr_map).backward()


def test_the_gradient_of_the_content_loss_goes_the_right_way():
    """A small step against the gradient lessens the loss by as much as the gradient predicts."""
    vgg = features().to(dtype=np.float64)
    sr = Tensor(images(1, 8, 8, 3).data.astype(np.float64), requires_grad=True)
    target = vgg(Tensor(images(1, 8, 8, 3, seed=2).data.astype(np.float64)))
    loss = PixelMSE(vgg(sr), target)
    (g,) = grad(loss, [sr])
    step = 1e-7 / np.abs(g.data).max()
    lower = PixelMSE(vgg(Tensor(sr.data - step * g.data)), target)
    np.testing.assert_allclose((loss.item() - lower.item()) / step, (g.data**2).sum(), rtol=1e-4)


def test_freezing_leaves_the_weights_in_the_state_and_moves_with_the_module():
    vgg = features()
    assert vgg.state().keys() == {name for name in weights() if int(name.split(".")[1]) <= 10}
    assert vgg.to(dtype=np.float64)(Tensor(images(1, 8, 8, 3).data.astype(np.float64))).dtype == np.float64
    assert not any(parameter.requires_grad for parameter in vgg.parameters())


# the genuine VGG19


# φ_{i,j} before the activation, of `waves()`, by PyTorch 2.13 in float64: torch.nn.functional.conv2d, relu and
# max_pool2d one after another, with the weights of that file. At (0, 0, 0), in the middle, at (last row, a third of the
# columns, last channel); and the root mean square of the map.
REFERENCE = {
    "vgg11": (-97.3229, 19.862, 190.908, 119.188),
    "vgg22": (18.555, -238.107, 101.009, 1213.63),
    "vgg34": (1298.04, -756.646, 2058.72, 3367.81),
    "vgg44": (-1890.48, -1796.75, -4289.86, 1875.73),
    "vgg54": (-198.287, -13.9207, -85.7238, 116.619),
}


def waves():
    y, x, c = np.mgrid[:32, :32, :3]
    return np.sin((y + 1) * (x + 2) * (c + 1) / 50)


def places(maps):
    h, w, channels = maps.shape
    return np.array([maps[0, 0, 0], maps[h // 2, w // 2, channels // 2], maps[h - 1, w // 3, channels - 1]])


@pytest.mark.parametrize("name", REFERENCE)
def test_the_genuine_vgg19_gives_the_maps_that_pytorch_gives(genuine, name):
    *expected, size = REFERENCE[name]
    (maps,) = load_vgg(genuine, name, after_activation=False, scale=1.0)(Tensor(waves()[None].astype(np.float32))).data
    np.testing.assert_allclose(places(maps), expected, atol=1e-5 * size, rtol=2e-5)
    np.testing.assert_allclose(np.sqrt((maps**2).mean()), size, rtol=1e-5)


def test_the_genuine_vgg19_against_sums_by_hand(genuine):
    vgg = load_vgg(genuine, "vgg31", after_activation=False, scale=1.0)
    (maps,) = vgg(Tensor(waves()[None].astype(np.float32))).data
    expected = by_hand(contract(waves(), "caffe"), vgg.state(), 10, VGG19)
    np.testing.assert_allclose(maps, expected, atol=1e-5 * abs(expected).max())


@pytest.mark.parametrize("family, blocks, least", [("torchvision", 2, 4), ("st-lpips", 1, 4), ("st-lpips", 2, 6)])
def test_the_least_image_is_as_large_as_the_poolings_need(family, blocks, least):
    vgg = VGG(VGGConfig(((2,),) * blocks, family), np.random.default_rng(0))
    assert min(vgg(images(1, least, least, 3)).shape[1:3]) >= 1
    with pytest.raises(ShapeError, match=f"at least {least}, not"):
        vgg(images(1, least - 1, least, 3))
