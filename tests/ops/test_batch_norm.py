"""Batch norm: the op, its two backward passes, and the layer's running averages."""

import numpy as np
import pytest

from minisrgan.nn import BatchNorm as Layer
from minisrgan.nn import Module, held
from minisrgan.ops import BatchNorm
from minisrgan.ops.batch_norm import batch_statistics
from minisrgan.tensor import Tensor, grad

EPS = 1e-5


def layer_in_float64(channels, **options):
    layer = Layer(channels, **options).to(dtype=np.float64)
    rng = np.random.default_rng(1)
    layer.gamma.data, layer.beta.data = rng.standard_normal((2, channels))
    return layer


@pytest.mark.parametrize("shape", [(7, 3), (2, 5, 3, 4), (1, 2, 1, 1)])
def test_the_definition(shape):
    rng = np.random.default_rng(2)
    x, gamma, beta = 3 + 2 * rng.standard_normal(shape), *rng.standard_normal((2, shape[-1]))
    axes = tuple(range(len(shape) - 1))
    mean, var = batch_statistics(x)
    np.testing.assert_allclose(mean, np.mean(x, axes), rtol=1e-13)
    np.testing.assert_allclose(var, np.var(x, axes), rtol=1e-12)
    expected = (x - np.mean(x, axes)) / np.sqrt(np.var(x, axes) + EPS) * gamma + beta
    np.testing.assert_allclose(BatchNorm.forward(x, gamma, beta, (mean, var), EPS), expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("shape", [(7, 3), (3, 5, 3, 4), (2, 1, 1, 1)])
def test_the_fused_backward_is_the_composed_one(shape):
    rng = np.random.default_rng(3)
    at = [Tensor(a, requires_grad=True) for a in (2 + rng.standard_normal(shape), *rng.standard_normal((2, shape[-1])))]
    g = Tensor(rng.standard_normal(shape))
    gradients = []
    for create_graph in (False, True):
        out = BatchNorm(*at, statistics=batch_statistics(at[0].data), eps=EPS)
        gradients.append(grad(out, at, g, create_graph=create_graph))
    assert gradients[1][0].requires_grad and not gradients[0][0].requires_grad
    for fused, composed in zip(*gradients, strict=True):
        np.testing.assert_allclose(fused.data, composed.data, rtol=1e-12, atol=1e-12)


def test_the_gradient_is_orthogonal_to_what_batch_norm_takes_out():
    """y does not change if x is shifted or (up to ε) scaled, so ∂x has no component along 1 or x."""
    rng = np.random.default_rng(4)
    layer, x = layer_in_float64(3), Tensor(rng.standard_normal((4, 5, 6, 3)), requires_grad=True)
    layer.eps = 0.0
    (dx,) = grad(layer(x), x, Tensor(rng.standard_normal(x.shape)))
    np.testing.assert_allclose(dx.data.sum((0, 1, 2)), 0, atol=1e-12)
    np.testing.assert_allclose((dx.data * x.data).sum((0, 1, 2)), 0, atol=1e-12)


def test_the_variance_survives_a_large_mean_in_float32():
    x = (1e4 + np.random.default_rng(5).standard_normal((8, 16, 16, 3))).astype(np.float32)
    mean, var = batch_statistics(x)
    assert mean.dtype == var.dtype == np.float32
    np.testing.assert_allclose(mean, x.mean((0, 1, 2), dtype=np.float64), rtol=1e-6)
    np.testing.assert_allclose(var, x.var((0, 1, 2), dtype=np.float64), rtol=1e-4)  # (1e-6 of the mean)²


def test_running_averages_take_momentum_of_each_batch_and_the_unbiased_variance():
    rng = np.random.default_rng(6)
    layer = layer_in_float64(3, momentum=0.3)
    mean, var = np.zeros(3), np.ones(3)
    for _ in range(3):
        x = 5 + 2 * rng.standard_normal((2, 3, 2, 3))
        layer(Tensor(x))
        mean = 0.7 * mean + 0.3 * x.mean((0, 1, 2))
        var = 0.7 * var + 0.3 * x.var((0, 1, 2), ddof=1)
    np.testing.assert_allclose(layer.running_mean, mean, rtol=1e-13)
    np.testing.assert_allclose(layer.running_var, var, rtol=1e-13)


def test_a_batch_of_one_value_has_no_unbiased_variance_and_keeps_finite():
    layer = layer_in_float64(2)
    layer(Tensor(np.ones((1, 1, 1, 2))))
    np.testing.assert_allclose(layer.running_var, [0.9, 0.9])


def test_eval_uses_the_frozen_statistics_and_leaves_them():
    layer = layer_in_float64(3).eval()
    layer.running_mean, layer.running_var = np.array([1.0, -2.0, 0.5]), np.array([4.0, 0.25, 1.0])
    kept = layer.running_mean, layer.running_var
    x = np.random.default_rng(7).standard_normal((2, 3, 4, 3))
    expected = (x - kept[0]) / np.sqrt(kept[1] + layer.eps) * layer.gamma.data + layer.beta.data
    np.testing.assert_allclose(layer(Tensor(x)).data, expected, rtol=1e-12, atol=1e-13)
    assert layer.running_mean is kept[0] and layer.running_var is kept[1]
    one_by_one = np.concatenate([layer(Tensor(x[i : i + 1])).data for i in range(2)])
    np.testing.assert_array_equal(one_by_one, layer(Tensor(x)).data)


def test_eval_is_training_once_the_statistics_are_the_batchs():
    layer, x = layer_in_float64(3), Tensor(2 + np.random.default_rng(8).standard_normal((2, 3, 4, 3)))
    trained = layer(x).data
    layer.running_mean, layer.running_var = batch_statistics(x.data)
    np.testing.assert_allclose(layer.eval()(x).data, trained, rtol=1e-12, atol=1e-12)


class Nested(Module):
    def __init__(self):
        self.norms = [Layer(2), Layer(2, momentum=0.5)]

    def forward(self, x):
        return self.norms[1](self.norms[0](x) * 3)


def test_held_leaves_no_trace_and_lets_go_even_by_an_error():
    module, x = Nested(), Tensor(np.random.default_rng(9).standard_normal((4, 2)).astype(np.float32))
    module(x)
    before = module.state()
    expected = module(x).data
    module.load_state(before)
    with pytest.raises(ZeroDivisionError), held(module):
        np.testing.assert_array_equal(module(x).data, expected)
        raise ZeroDivisionError
    for name, array in module.state().items():
        assert array.tobytes() == before[name].tobytes(), name
    assert [norm.momentum for norm in module.norms] == [0.1, 0.5]
    module(x)
    assert (module.norms[0].running_mean != before["norms.0.running_mean"]).all()
