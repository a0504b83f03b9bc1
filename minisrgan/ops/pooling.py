"""Max pooling over squares that do not overlap, as VGG does it, and pooling that hardly notices a shift by a pixel."""

from functools import lru_cache

import numpy as np

from ..arrays import Array, array_module
from ..errors import ShapeError
from ..tensor import Op, Tensor, definition, nhwc
from .elementwise import WherePositive
from .linear import MatMul


def squares(x: Array, size: int) -> Array:
    """(N, H, W, C) → (N, H/size, W/size, C, size²), leaving out rows and columns that fill no square."""
    n, h, w, c = nhwc(x)
    ho, wo = h // size, w // size
    if not (ho and wo):
        raise ShapeError(f"no {size}×{size} square fits into {h}×{w} pixels")
    x = x[:, : ho * size, : wo * size].reshape(n, ho, size, wo, size, c)
    return x.transpose(0, 1, 3, 5, 2, 4).reshape(n, ho, wo, c, size * size)


@definition
def argmax_in_squares(x: Array, size: int) -> Array:
    """The index of the largest pixel in each square, the first of equals."""
    return squares(x, size).argmax(axis=-1)


def pooled_shape(shape: tuple[int, ...], size: int) -> tuple[int, ...]:
    n, h, w, c = shape
    return n, h // size, w // size, c


def check_pooled(shape: tuple[int, ...], size: int, *pooled: Array) -> None:
    """Raise ShapeError unless these arrays have one number for each square of images of this shape."""
    for each in pooled:
        if len(shape) != 4 or each.shape != pooled_shape(shape, size):
            raise ShapeError(f"{each.shape} is not a number for each {size}×{size} square of {shape}")


class MaxPool(Op):
    """max over each size×size square;  1 at the largest (the first of equals), 0 at the others."""

    def forward(x, size=2):
        return squares(x, size).max(axis=-1)

    def vjp(g, out, x, size=2):
        chosen = argmax_in_squares(x.data, size)
        return lambda: Place(g, chosen=chosen, size=size, shape=x.shape)


class Pick(Op):
    """The pixel with the index `chosen` in each square."""

    linear = True

    def forward(x, chosen, size):
        check_pooled(x.shape, size, chosen)
        return array_module(x).take_along_axis(squares(x, size), chosen[..., None], axis=-1)[..., 0]

    def vjp(g, out, x, chosen, size):
        return lambda: Place(g, chosen=chosen, size=size, shape=x.shape)


class Place(Op):
    """Zeros of `shape` with x at the index `chosen` in each square: the adjoint of Pick."""

    linear = True

    def forward(x, chosen, size, shape):
        check_pooled(shape, size, x, chosen)
        xp = array_module(x)
        n, ho, wo, c = x.shape
        hot = xp.where(xp.arange(size * size) == chosen[..., None], x[..., None], x.dtype.type(0))
        hot = hot.reshape(n, ho, wo, c, size, size).transpose(0, 1, 4, 2, 5, 3)
        out = xp.zeros(shape, x.dtype)
        out[:, : ho * size, : wo * size] = hot.reshape(n, ho * size, wo * size, c)
        return out

    def vjp(g, out, x, chosen, size, shape):
        return lambda: Pick(g, chosen=chosen, size=size)


def blur_pool(x: Tensor) -> Tensor:
    """(N, H, W, C) → (N, ⌊(H + 3)/2⌋, ⌊(W + 3)/2⌋, C): blur x by [1 2 1]/4 along both axes,
    then keep every second pixel. Zhang 2019.

    At the border two pixels are mirrored. The blur is linear along the rows and along the columns: two matrix products,
    whose derivatives are MatMul's. Unlike a plain stride of 2, it hardly notices a shift by a pixel.
    """
    n, h, w, c = nhwc(x)
    for size in (h, w):
        if size < 3:
            raise ShapeError(f"blur pooling mirrors two pixels at each border: images of at least 3 x 3, not {h} x {w}")
    for _ in range(2):
        n, h, w, c = x.shape
        matrix = Tensor(array_module(x.data).asarray(blur_matrix(h).astype(x.dtype)))
        rows = MatMul(matrix, x.reshape((n, h, w * c)))
        x = rows.reshape((n, len(matrix.data), w, c)).transpose((0, 2, 1, 3))
    return x


@lru_cache(maxsize=64)
def blur_matrix(size: int) -> np.ndarray:
    """The matrix (rows, size) of `blur_pool` along an axis."""
    mirrored = np.pad(np.arange(size), 2, mode="reflect")
    starts = range(0, size + 2, 2)
    matrix = np.zeros((len(starts), size))
    for row, start in enumerate(starts):
        for place, weight in zip(mirrored[start : start + 3], (0.25, 0.5, 0.25)):
            matrix[row, place] += weight
    return matrix


def max_neighbours(x: Tensor, size: int) -> Tensor:
    """(N, H, W, C) → (N, H - size + 1, W - size + 1, C): the largest of each size×size square, at stride 1.

    It goes along one axis and then along the other, two neighbours at a time. Of equals, the later one gets the
    gradient.
    """
    if min(nhwc(x)[1:3]) < size:
        raise ShapeError(f"no {size}×{size} square fits into {x.shape[1]}×{x.shape[2]} pixels")
    for _ in range(size - 1):
        x = larger(x[:, :-1], x[:, 1:])
    for _ in range(size - 1):
        x = larger(x[:, :, :-1], x[:, :, 1:])
    return x


def larger(a: Tensor, b: Tensor) -> Tensor:
    return WherePositive(a - b, a, b)
