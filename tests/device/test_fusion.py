"""A chain in one pass, and in bands: what the modules give one after another, whatever follows the convolution."""

import numpy as np
import pytest

from minisrgan import nn
from minisrgan.device import use_device
from minisrgan.device.cpu import cpu_problem
from minisrgan.device.norm_activation import NormActivation
from minisrgan.nn import BatchNorm, Conv, LeakyReLU, Module, PReLU, Sequential, chain
from minisrgan.ops import Conv2d, ReLU
from minisrgan.tensor import Tensor, grad, no_grad, record
from minisrgan.upscaling.bands import Bands

CHAINS = {
    "conv": lambda rng: [Conv(rng, 3, 4)],
    "conv, PReLU": lambda rng: [Conv(rng, 3, 4), PReLU(4)],
    "conv, BN": lambda rng: [Sequential(Conv(rng, 3, 4), BatchNorm(4))],
    "conv, BN, PReLU": lambda rng: [Sequential(Conv(rng, 3, 4), BatchNorm(4)), PReLU(4)],
    "conv, BN, LeakyReLU": lambda rng: [Sequential(Conv(rng, 3, 4), BatchNorm(4), LeakyReLU(0.1))],
    "conv, LeakyReLU": lambda rng: [Conv(rng, 3, 4), LeakyReLU(0.1)],
    "conv, ReLU": lambda rng: [Sequential(Conv(rng, 3, 4), nn.ReLU())],
    "conv, LeakyReLU below 0": lambda rng: [Conv(rng, 3, 4), LeakyReLU(-0.5)],
}


def one_after_another(x: Tensor, modules: list[Module], residual: Tensor | None) -> np.ndarray:
    y = x
    for module in modules:
        for layer in getattr(module, "layers", [module]):  # a Sequential would be a chain again
            y = layer(y)
    return y.data if residual is None else y.data + residual.data


def images(*shape, seed=0):
    return Tensor(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


@pytest.mark.parametrize("device", ["cpu", "numpy"])
@pytest.mark.parametrize("recorded", [True, False])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", CHAINS)
def test_a_chain_is_its_modules_one_after_another(kind, training, recorded, device):
    if device == "cpu" and cpu_problem():
        pytest.skip(cpu_problem())
    rng = np.random.default_rng(1)
    modules = CHAINS[kind](rng)
    for module in modules:
        module.train(training)
        module.load_state({name: rng.uniform(0.2, 1, array.shape) for name, array in module.state().items()})
    x, residual = images(1, 12, 9, 3), images(1, 12, 9, 4, seed=2)
    with use_device(device), record(recorded):
        wanted = one_after_another(x, modules, residual)
        np.testing.assert_allclose(chain(x, *modules, residual=residual).data, wanted, rtol=1e-5, atol=2e-6)
        if training and "BN" in kind:
            return  # a band has statistics of its own
        bands = [Tensor(x.data[:, start : start + 4]) for start in (0, 4, 8)]
        lines = [Tensor(residual.data[:, start : start + 4]) for start in (0, 4, 8)]
        made, other = (Bands((12, 9), 1, 4, [4, 8, 12], iter(each)) for each in (bands, lines))
        reader = chain(made, *modules, residual=other).reader()
        np.testing.assert_allclose(reader.take(12).data, wanted, rtol=1e-5, atol=2e-6)


def test_a_chain_need_not_begin_with_a_convolution():
    x = images(1, 4, 4, 3)
    with no_grad():
        assert np.array_equal(chain(x).data, x.data)
        assert np.array_equal(chain(x, PReLU(3), residual=x).data, PReLU(3)(x).data + x.data)


def test_a_subclass_computes_its_own_formula():
    class Doubled(Conv2d):
        def forward(x, w, stride=1, padding=0):
            return 2 * Conv2d.forward(x, w, stride, padding)

    class Shifted(ReLU):
        def forward(x):
            return ReLU.forward(x) + 1

    x, w = images(1, 5, 5, 2), images(3, 3, 2, 4, seed=1)
    with use_device("numpy"):
        np.testing.assert_allclose(Doubled(x, w).data, 2 * Conv2d(x, w).data, rtol=1e-5)
    if not cpu_problem():
        with use_device("cpu"):
            np.testing.assert_allclose(Shifted(x).data, ReLU(x).data + 1)


@pytest.mark.parametrize("recorded", [True, False])
def test_a_layer_of_somebodys_own_is_asked_for_its_forward_pass(recorded):
    class Halved(nn.ReLU):
        def forward(self, x):
            return 0.5 * super().forward(x)

    class Negative(Conv):
        def forward(self, x, weight=None, padding=None):
            return -super().forward(x, weight, padding)

    if cpu_problem():
        pytest.skip(cpu_problem())
    rng, x = np.random.default_rng(1), images(1, 6, 5, 3)
    for conv, sign in ((Conv(rng, 3, 4), 1), (Negative(rng, 3, 4), -1)):
        with use_device("cpu"), record(recorded):
            wanted = 0.5 * ReLU(sign * Conv.forward(conv, x)).data
            np.testing.assert_allclose(chain(x, conv, Halved()).data, wanted, rtol=1e-6)
            np.testing.assert_allclose(Sequential(conv, nn.ReLU())(x).data, 2 * wanted, rtol=1e-6)


@pytest.mark.skipif(cpu_problem() is not None, reason=str(cpu_problem()))
@pytest.mark.parametrize("with_residual", [True, False])
@pytest.mark.parametrize("kind", [kind for kind in CHAINS if "BN" in kind])
def test_its_gradients_and_their_gradients_are_those_of_the_modules(kind, with_residual):
    rng = np.random.default_rng(1)
    modules = [module.to(dtype=np.float64) for module in CHAINS[kind](rng)]
    x, residual, g = (Tensor(rng.standard_normal((2, 5, 6, c)), requires_grad=True) for c in (3, 4, 4))
    parameters = [p for module in modules for p in module.parameters()]
    inputs = [x, *parameters, *([residual] if with_residual else [])]
    added = residual if with_residual else None

    def gradients(device):
        with use_device(device):
            y = chain(x, *modules, residual=added)
            first = grad(y, inputs, g, retain_graph=True)
            second = grad(y, inputs, g, create_graph=True)
            length = sum(((each**2).sum() for each in second[1:]), (second[0] ** 2).sum())
            return y, first, second, grad(length, [*inputs, g])

    made, wanted = gradients("cpu"), gradients("numpy")
    assert made[0].op is NormActivation and wanted[0].op is not NormActivation
    for one, other in zip(made[1:], wanted[1:]):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_allclose(a.data, b.data, rtol=1e-9, atol=1e-10)


@pytest.mark.skipif(cpu_problem() is not None, reason=str(cpu_problem()))
def test_a_residual_that_the_chain_begins_with_counts_once():
    """As in a residual block, where x of the batch norm depends on the residual."""
    rng = np.random.default_rng(1)
    modules = [module.to(dtype=np.float64) for module in (Conv(rng, 4, 4), nn.BatchNorm(4))]
    x, g = (Tensor(rng.standard_normal((2, 5, 6, 4)), requires_grad=True) for _ in range(2))

    def of_gradient(device):
        with use_device(device):
            (first,) = grad(chain(x, *modules, residual=x), x, g, create_graph=True)
            return [first, *grad((first**2).sum(), [x, g])]

    for a, b in zip(of_gradient("cpu"), of_gradient("numpy"), strict=True):
        np.testing.assert_allclose(a.data, b.data, rtol=1e-9, atol=1e-10)
