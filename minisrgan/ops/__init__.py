"""The operations of a Tensor: for each its formula, `forward`, beside its derivative, `vjp`, and nothing else."""
# ruff: noqa: I001  (one name a line would be a page)

from .batch_norm import BatchNorm
from .conv import Conv2d, Conv2dBias, InputGrad, WeightGrad
from .elementwise import (
    Abs, Add, Clip, Div, Exp, LeakyReLU, LeakyReLUGrad, Log, Mul, Neg, Pow, PReLU, PReLUGrad, ReLU, Sigmoid,
    SlopeGrad, Softplus, Sub, WherePositive,
)  # fmt: skip
from .linear import Concatenate, MatMul, Pad, Reshape, Slice, Transpose, Unslice
from .pixel_shuffle import PixelShuffle, PixelUnshuffle
from .pooling import MaxPool, Pick, Place, blur_pool, max_neighbours
from .reduce import BroadcastTo, Sum, SumTo, mean
from .spectral_norm import SpectralNorm

__all__ = [
    "Abs", "Add", "BatchNorm", "BroadcastTo", "Clip", "Concatenate", "Conv2d", "Conv2dBias", "Div", "Exp",
    "InputGrad", "LeakyReLU", "LeakyReLUGrad", "Log", "MatMul", "MaxPool", "Mul", "Neg", "PReLU", "PReLUGrad",
    "Pad", "Pick", "PixelShuffle", "PixelUnshuffle", "Place", "Pow", "ReLU", "Reshape", "Sigmoid", "Slice",
    "SlopeGrad", "Softplus", "SpectralNorm", "Sub", "Sum", "SumTo", "Transpose", "Unslice", "WeightGrad",
    "WherePositive", "blur_pool", "max_neighbours", "mean",
]  # fmt: skip
