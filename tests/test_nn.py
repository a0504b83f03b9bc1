"""Modules: how they find their parts, how they are initialised, and how their state is saved and loaded."""

import numpy as np
import pytest

from minisrgan.errors import WeightsError
from minisrgan.models.discriminator import Discriminator, DiscriminatorConfig
from minisrgan.models.generator import Generator, GeneratorConfig
from minisrgan.nn import BatchNorm, Conv, Dense, LeakyReLU, Module, Parameter, PReLU, Sequential, SubpixelConv
from minisrgan.tensor import Tensor


def rng(seed=0):
    return np.random.default_rng(seed)


class Model(Module):
    """A bit of everything: an attribute, a list, a Sequential, a buffer, and something that is not state."""

    def __init__(self, seed=0):
        self.first = Conv(rng(seed), 3, 4)
        self.blocks = [Sequential(Conv(rng(seed + i), 4, 4), BatchNorm(4), PReLU(4)) for i in range(2)]
        self.numbers = [1, 2]
        self.constant = np.ones(3)
        self.scale = Parameter(rng(seed).standard_normal(4).astype(np.float32))

    def forward(self, x):
        x = self.first(x)
        for block in self.blocks:
            x = block(x)
        return x * self.scale


PARAMETERS = [
    "scale",  # a module's own come before those within it
    "first.weight",
    "first.bias",
    "blocks.0.layers.0.weight",
    "blocks.0.layers.0.bias",
    "blocks.0.layers.1.gamma",
    "blocks.0.layers.1.beta",
    "blocks.0.layers.2.slope",
    "blocks.1.layers.0.weight",
    "blocks.1.layers.0.bias",
    "blocks.1.layers.1.gamma",
    "blocks.1.layers.1.beta",
    "blocks.1.layers.2.slope",
]
BUFFERS = [f"blocks.{i}.layers.1.running_{what}" for i in range(2) for what in ("mean", "var")]


def image(dtype=np.float32):
    return Tensor(rng(9).standard_normal((2, 5, 7, 3)).astype(dtype))


def test_parameters_have_dotted_names_in_a_fixed_order():
    model = Model()
    assert list(model.named_parameters()) == PARAMETERS
    assert [id(p) for p in model.parameters()] == [id(p) for p in model.named_parameters().values()]
    assert model.parameter_count() == 4 + (9 * 3 * 4 + 4) + 2 * ((9 * 4 * 4 + 4) + 2 * 4 + 4)


def test_a_state_makes_an_equal_module():
    one, other = Model(0), Model(1)
    one(image())  # moves the running averages
    state = one.state()
    assert sorted(state) == sorted(PARAMETERS + BUFFERS)
    other.load_state(state)
    for name, array in other.state().items():
        assert array.tobytes() == state[name].tobytes(), name
    np.testing.assert_array_equal(one.eval()(image()).data, other.eval()(image()).data)


def test_a_loaded_module_shares_no_memory_with_the_state_and_keeps_its_parameters():
    model, state = Model(0), Model(1).state()
    before = model.parameters()
    model.load_state(state)
    assert [id(p) for p in model.parameters()] == [id(p) for p in before]
    model.scale.data += 1
    np.testing.assert_array_equal(state["scale"], Model(1).scale.data)


def without(state, name):
    return {other: array for other, array in state.items() if other != name}


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda s: without(s, "blocks.1.layers.1.beta"), "'blocks.1.layers.1.beta' is in only one of the two"),
        (lambda s: without(s, "blocks.1.layers.1.running_var"), "running_var' is in only one"),
        (lambda s: s | {"more": np.ones(1)}, "'more' is in only one"),
        (lambda s: s | {"scale": np.ones(5)}, r"'scale' is \(5,\), not \(4,\)"),
        (lambda s: s | {"scale": np.ones((1, 4))}, r"'scale' is \(1, 4\), not \(4,\)"),
    ],
)
def test_a_state_of_another_model_is_refused_and_nothing_changed(spoil, message):
    model = Model(0)
    before = {name: array.copy() for name, array in model.state().items()}
    with pytest.raises(WeightsError, match=message):
        model.load_state(spoil(Model(1).state()))
    for name, array in model.state().items():
        np.testing.assert_array_equal(array, before[name])


def test_to_another_dtype_takes_all_of_the_state_along():
    model = Model()
    model(image())
    before = {name: array.copy() for name, array in model.state().items()}
    assert model.to(dtype=np.float64) is model
    for name, array in model.state().items():
        assert array.dtype == np.float64
        np.testing.assert_array_equal(array, before[name])
    for mode in (True, False):
        assert model.train(mode)(image(np.float64)).dtype == np.float64
    model.load_state(before)
    assert {array.dtype for array in model.state().values()} == {np.dtype(np.float64)}


def test_train_and_eval_reach_every_module():
    model = Model()
    assert model.eval() is model
    assert not any(module.training for _, module in model.modules())
    model.train()
    assert all(module.training for _, module in model.modules())


# How weights begin


@pytest.mark.parametrize(
    "layer, variance",
    [
        (Conv(rng(), 32, 48, kernel=5), 2 / (25 * 32)),
        (Conv(rng(), 48, 24, kernel=5, slope=0.2), 2 / (1.04 * 25 * 48)),
        (Dense(rng(), 100, 300), 2 / 100),
        (Dense(rng(), 300, 100, slope=1.0), 1 / 300),
    ],
)
def test_he_weights_have_the_variance_of_equation_15(layer, variance):
    weight = layer.weight.data
    assert weight.dtype == np.float32
    assert abs(weight.mean()) < 4 * np.sqrt(variance / weight.size)
    np.testing.assert_allclose(weight.std(dtype=np.float64), np.sqrt(variance), rtol=4 / np.sqrt(2 * weight.size))
    assert not layer.bias.data.any()


def test_he_weights_keep_the_signal_through_ten_rectified_layers():
    x = Tensor(rng(1).standard_normal((200, 300)).astype(np.float32))
    for i in range(10):
        x = LeakyReLU(0.2)(Dense(rng(i), 300, 300, slope=0.2)(x))
    assert 0.7 < (x.data**2).mean() < 1.4


@pytest.mark.parametrize("r", [2, 3])
def test_an_untrained_subpixel_convolution_enlarges_by_nearest_neighbour(r):
    layer = SubpixelConv(rng(3), 5, r=r).to(dtype=np.float64)
    x = Tensor(rng(4).standard_normal((2, 4, 6, 5)))
    y = layer(x).data
    assert y.shape == (2, 4 * r, 6 * r, 5)
    squares = y.reshape(2, 4, r, 6, r, 5)
    np.testing.assert_allclose(
        squares, np.broadcast_to(squares[:, :, :1, :, :1], squares.shape), rtol=1e-12, atol=1e-13
    )
    assert np.unique(squares[:, :, 0, :, 0].round(9)).size == 2 * 4 * 6 * 5


def test_icnr_keeps_hes_variance():
    weight = SubpixelConv(rng(5), 48).weight.data
    np.testing.assert_allclose(weight.std(), np.sqrt(2 / (9 * 48)), rtol=4 / np.sqrt(2 * weight.size / 4))


# Layers and the paper's models


@pytest.mark.parametrize("size, stride, expected", [((5, 8), 1, (5, 8)), ((5, 8), 2, (3, 4)), ((1, 1), 2, (1, 1))])
@pytest.mark.parametrize("kernel", [1, 3, 9])
def test_a_conv_keeps_the_size_or_halves_it_rounded_up(size, stride, expected, kernel):
    layer = Conv(rng(), 2, 4, kernel=kernel, stride=stride)
    assert layer(Tensor(np.zeros((1, *size, 2), np.float32))).shape == (1, *expected, 4)


def test_biases_are_added():
    x = Tensor(np.zeros((2, 3, 3, 2), np.float32))
    for layer in (Conv(rng(), 2, 3), Dense(rng(), 2, 3)):
        layer.bias.data[:] = [1, 2, 3]
        np.testing.assert_array_equal(layer(x).data, np.broadcast_to(np.float32([1, 2, 3]), (2, 3, 3, 3)))


def test_a_prelu_begins_at_a_quarter():
    np.testing.assert_array_equal(PReLU(2)(Tensor(np.float32([[-4, 8]]))).data, [[-1, 8]])


def conv_parameters(kernel, cin, cout):
    return kernel * kernel * cin * cout + cout


def test_the_papers_generator_has_its_number_of_parameters():
    c, norm, prelu = 64, 2 * 64, 64
    block = 2 * (conv_parameters(3, c, c) + norm) + prelu
    enlarge = conv_parameters(3, c, 4 * c) + prelu
    edges = conv_parameters(9, 3, c) + prelu + conv_parameters(9, c, 3)
    expected = edges + 16 * block + conv_parameters(3, c, c) + norm + 2 * enlarge
    assert Generator(GeneratorConfig(), rng()).parameter_count() == expected == 1_550_659


def test_the_papers_discriminator_has_its_number_of_parameters():
    widths = [3, 64, 64, 128, 128, 256, 256, 512, 512]
    convolutions = sum(conv_parameters(3, cin, cout) for cin, cout in zip(widths, widths[1:]))
    norms = sum(2 * width for width in widths[2:])
    dense = 6 * 6 * 512 * 1024 + 1024 + 1024 + 1  # 96 halved four times
    assert Discriminator(DiscriminatorConfig(), rng()).parameter_count() == convolutions + norms + dense == 23_565_505
