"""What the kernels of a convolution share: its sizes, and its epilogue. kernels/convolution.cuh has the other side."""

from typing import NamedTuple

from ..arrays import Array
from ..ops.conv import Pair, Shape


class Geometry(NamedTuple):
    """The sizes of a convolution: the struct of kernels/convolution.cuh."""

    n: int
    height: int
    width: int
    cin: int
    kh: int
    kw: int
    cout: int
    out_h: int
    out_w: int
    stride_y: int
    stride_x: int
    pad_y: int
    pad_x: int


def geometry(x: Array, w_shape: Shape, size: Pair, stride: Pair, padding: Pair) -> Geometry:
    """The Geometry of x ⋆ w with outputs of `size` (Ho, Wo) pixels; stride and padding are pairs."""
    (n, height, width, cin), (kh, kw, _, cout) = x.shape, w_shape
    return Geometry(n, height, width, cin, kh, kw, cout, *size, *stride, *padding)


class Epilogue(NamedTuple):
    """What a kernel does with its sums before it stores them: PReLU(PixelShuffle(sums + bias)) + residual."""

    bias: Array | None = None  # None: this part is left out
    negative_slope: Array | None = None
    residual: Array | None = None
    shuffle: int = 1

    @property
    def only_bias(self) -> bool:
        return self.negative_slope is None and self.residual is None and self.shuffle == 1


PLAIN = Epilogue()
