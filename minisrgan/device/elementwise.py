"""The kernels of elementwise.cu: each number by itself."""

from numbers import Number
from typing import Any

from ..arrays import Array, array_module, on_gpu
from ..losses import PixelMSEGrad
from ..losses import softplus as array_softplus
from ..ops.elementwise import Add, LeakyReLU, LeakyReLUGrad, Mul, ReLU, Sigmoid, Softplus, WherePositive
from .cuts import arguments, elementwise_grid, empty_like
from .launch import launch
from .register import Computed, kernel, register


def one_shape(x: Array, *others: Array) -> bool:
    """Whether all are arrays of one shape, and not empty. These kernels cover no other case."""
    return x.ndim > 0 and x.size > 0 and all(each.shape == x.shape for each in others)


def map_elements(name: str, *inputs: Any) -> Array:
    """What the kernel `name` computes: an array like the first input."""
    inputs = arguments(inputs)
    out = empty_like(inputs[0])
    launch("elementwise.cu", name, *elementwise_grid(out.size, out, vectors=True), *inputs, out, out.size)
    return out


def sum_parts(parts: Array) -> Array:
    """The sum along the first axis, in order, so that every run gives the same bits."""
    if len(parts) == 1:
        return parts[0]
    out = empty_like(parts[0])
    grid = elementwise_grid(out.size, out, vectors=True)
    launch("elementwise.cu", "sum_parts", *grid, parts, out, out.size, len(parts))
    return out


@kernel(Add)
def add(x: Array, y: Array) -> Computed:
    return map_elements("add", x, y) if one_shape(x, y) else NotImplemented


@kernel(Mul)
def scale(x: Array, y: float) -> Computed:
    return map_elements("scale", x, y) if one_shape(x) and isinstance(y, Number) else NotImplemented


@kernel(Sigmoid)
def sigmoid(x: Array) -> Computed:
    return map_elements("sigmoid", x) if one_shape(x) else NotImplemented


@kernel(Softplus)
def softplus(x: Array) -> Computed:
    return map_elements("softplus", x) if one_shape(x) else NotImplemented


@register(array_softplus, on_gpu)  # of logits, which are few: a CPU's NumPy is as fast
def softplus_on_gpu(z: Array) -> Computed:
    return softplus(z)


@kernel(WherePositive)
def where_positive(x: Array, u: Array, v: Array) -> Computed:
    return map_elements("where_positive", x, u, v) if one_shape(x, u, v) else NotImplemented


@kernel(ReLU)
def relu(x: Array) -> Computed:
    return map_elements("relu_forward", x) if one_shape(x) else NotImplemented


@kernel(LeakyReLU)
def leaky_relu(x: Array, slope: float) -> Computed:
    return map_elements("leaky_relu_forward", x, slope) if one_shape(x) else NotImplemented


@kernel(LeakyReLUGrad)
def leaky_relu_grad(g: Array, x: Array, slope: float) -> Computed:
    return map_elements("leaky_relu_backward", g, x, slope) if one_shape(g, x) else NotImplemented


@kernel(PixelMSEGrad)
def pixel_mse_grad(a: Array, b: Array, g: Array) -> Computed:
    if not one_shape(a, b):
        return NotImplemented
    weight = array_module(a).asarray(g).reshape(1)
    return map_elements("squared_error_backward", a, b, weight, 2 / a.size)
