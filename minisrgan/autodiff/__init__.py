"""A tiny automatic differentiation engine on NumPy or CuPy arrays."""

from . import batch_norm, conv, elementwise, linear, pixel_shuffle, pooling, reduce, spectral_norm  # noqa: F401  operators
from .batch_norm import BatchNorm
from .conv import Conv2d, Conv2dBias, InputGrad, WeightGrad, conv_block
from .elementwise import Clip, LeakyReLU, PReLU, ReLU, Sigmoid, Softplus, WherePositive
from .linear import Concatenate, MatMul, Pad
from .pixel_shuffle import PixelShuffle, PixelUnshuffle
from .pooling import MaxPool, blur_pool, max_neighbours
from .spectral_norm import SpectralNorm
from .tensor import Op, Tensor, grad, no_grad, record, recording

__all__ = [
    "BatchNorm",
    "Clip",
    "Concatenate",
    "Conv2d",
    "Conv2dBias",
    "InputGrad",
    "LeakyReLU",
    "MatMul",
    "MaxPool",
    "Op",
    "PReLU",
    "Pad",
    "PixelShuffle",
    "PixelUnshuffle",
    "ReLU",
    "Sigmoid",
    "Softplus",
    "SpectralNorm",
    "Tensor",
    "WeightGrad",
    "WherePositive",
    "blur_pool",
    "conv_block",
    "grad",
    "max_neighbours",
    "no_grad",
    "record",
    "recording",
]
