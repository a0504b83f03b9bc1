"""A tiny automatic differentiation engine on NumPy or CuPy arrays."""

from . import batch_norm, conv, elementwise, linear, pixel_shuffle, pooling, reduce, spectral_norm  # noqa: F401  operators
from .batch_norm import BatchNorm
from .conv import Conv2d, Conv2dBias, InputGrad, WeightGrad, conv_block
from .elementwise import Clip, LeakyReLU, PReLU, ReLU, Sigmoid, Softplus, WherePositive
from .linear import Concatenate, MatMul, Pad
from .pixel_shuffle import PixelShuffle, PixelUnshuffle
from .pooling import MaxPool
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
    "conv_block",
    "grad",
    "no_grad",
    "record",
    "recording",
]
