"""Pixel shuffle: r² channels of one pixel become an r×r square of pixels. Shi et al. 2016, equation 4.

    PixelShuffle     y[n, r·h + i, r·w + j, c] = x[n, h, w, (i·r + j)·C + c]
    PixelUnshuffle   the same read from right to left: each is the other's inverse and its adjoint

The offset (i, j) comes before the channel c, so that C neighbours in memory stay neighbours. PyTorch puts
c first; weights from there are reordered when they are read.
"""

from ..errors import ShapeError
from ..tensor import Op, nhwc


class PixelShuffle(Op):
    """(N, H, W, r²C) → (N, rH, rW, C)."""

    linear = True

    def forward(x, r):
        n, h, w, c = nhwc(x)
        if c % (r * r):
            raise ShapeError(f"{c} channels cannot be dealt out over {r}×{r} pixels")
        x = x.reshape(n, h, w, r, r, c // (r * r))  # n, h, w, i, j, c
        return x.transpose(0, 1, 3, 2, 4, 5).reshape(n, h * r, w * r, c // (r * r))

    def vjp(g, out, x, r):
        return lambda: PixelUnshuffle(g, r=r)


class PixelUnshuffle(Op):
    """(N, rH, rW, C) → (N, H, W, r²C)."""

    linear = True

    def forward(x, r):
        n, h, w, c = nhwc(x)
        if h % r or w % r:
            raise ShapeError(f"{h}×{w} pixels cannot be gathered into squares of {r}×{r}")
        x = x.reshape(n, h // r, r, w // r, r, c)  # n, h, i, w, j, c
        return x.transpose(0, 1, 3, 2, 4, 5).reshape(n, h // r, w // r, r * r * c)

    def vjp(g, out, x, r):
        return lambda: PixelShuffle(g, r=r)
