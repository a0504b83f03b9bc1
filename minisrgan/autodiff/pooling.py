"""Max pooling over squares that do not overlap, as VGG does it."""

from ..arrays import array_module
from ..errors import ShapeError
from .tensor import Op


def squares(x, size):
    """(N, H, W, C) → (N, H/size, W/size, C, size²), leaving out rows and columns that fill no square."""
    n, h, w, c = x.shape
    ho, wo = h // size, w // size
    if not (ho and wo):
        raise ShapeError(f"no {size}×{size} square fits into {h}×{w} pixels")
    x = x[:, : ho * size, : wo * size].reshape(n, ho, size, wo, size, c)
    return x.transpose(0, 1, 3, 5, 2, 4).reshape(n, ho, wo, c, size * size)


class MaxPool(Op):
    """max over each size×size square;  1 at the largest (the first of equals), 0 at the others."""

    def forward(x, size=2):
        return squares(x, size).max(axis=-1)

    def vjp(g, out, x, size=2):
        chosen = squares(x.data, size).argmax(axis=-1)
        return lambda: Place(g, chosen=chosen, size=size, shape=x.shape)


class Pick(Op):
    """The pixel number `chosen` of each square."""

    linear = True

    def forward(x, chosen, size):
        return array_module(x).take_along_axis(squares(x, size), chosen[..., None], axis=-1)[..., 0]

    def vjp(g, out, x, chosen, size):
        return lambda: Place(g, chosen=chosen, size=size, shape=x.shape)


class Place(Op):
    """Zeros of `shape` with x at the pixel number `chosen` of each square: the adjoint of Pick."""

    linear = True

    def forward(x, chosen, size, shape):
        xp = array_module(x)
        n, ho, wo, c = x.shape
        hot = xp.where(xp.arange(size * size) == chosen[..., None], x[..., None], x.dtype.type(0))
        hot = hot.reshape(n, ho, wo, c, size, size).transpose(0, 1, 4, 2, 5, 3)
        out = xp.zeros(shape, x.dtype)
        out[:, : ho * size, : wo * size] = hot.reshape(n, ho * size, wo * size, c)
        return out

    def vjp(g, out, x, chosen, size, shape):
        return lambda: Pick(g, chosen=chosen, size=size)
