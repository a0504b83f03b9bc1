"""Enlargements without weights, to which a network adds what they lack, and how an image's pixels become channels.

Each is a `definition`, so that it can also be computed band by band (upscaling/bands.py).
"""

from functools import cache
from typing import Any

import numpy as np

from ..arrays import Array, array_module
from ..ops import Concatenate, Conv2d, PixelShuffle
from ..tensor import Tensor, definition


@definition
def enlarge_nearest(x: Tensor, scale: int) -> Tensor:
    """(N, h, w, C) → (N, scale·h, scale·w, C): each pixel becomes scale² copies."""
    return x if scale == 1 else PixelShuffle(Concatenate(*[x] * scale**2, axis=3), r=scale)


@definition
def enlarge_bilinear(x: Tensor, scale: int) -> Tensor:
    """(N, h, w, C) → (N, scale·h, scale·w, C) by bilinear interpolation between the centres of pixels. Beyond an edge,
    the edge pixel is repeated."""
    return bilinear_inner(repeat_edge(repeat_edge(x, 1), 2), scale)


def repeat_edge(x: Tensor, axis: int) -> Tensor:
    """x with its first and its last line along the axis repeated once."""
    before = (slice(None),) * axis
    return Concatenate(x[(*before, slice(None, 1))], x, x[(*before, slice(-1, None))], axis=axis)


def bilinear_inner(x: Tensor, scale: int) -> Tensor:
    """The bilinear enlargement of x without its outermost pixel on each side."""
    weights = bilinear_weights(x.shape[3], scale, array_module(x.data), x.dtype)
    return PixelShuffle(Conv2d(x, Tensor(weights)), r=scale)


@cache
def bilinear_weights(channels: int, scale: int, xp: Any = np, dtype: Any = np.float64) -> Array:
    """(3, 3, channels, scale²·channels): the weights of the 3×3 for each of scale² pixels, channel by channel."""
    places = (np.arange(scale) + 0.5) / scale - 0.5  # of the new pixels' centres, from the centre of the old one
    line = np.maximum(1 - abs(places[:, None] - np.arange(-1, 2)), 0)  # (scale, 3)
    squares = np.einsum("pi,qj->ijpq", line, line).reshape(3, 3, 1, scale * scale, 1)  # rows times columns
    return xp.asarray((squares * np.eye(channels)[:, None]).reshape(3, 3, channels, -1), dtype)


@definition
def join(*images: Tensor) -> Tensor:
    """The channels of images of one size, one image's after another's."""
    return Concatenate(*images, axis=3)


@definition
def fold_pixels(x: Tensor, r: int) -> Tensor:
    """(N, h, w, C) → (N, ⌈h/r⌉, ⌈w/r⌉, r²·C): the inverse of PixelShuffle. If r does not divide a side, the image is
    first mirrored beyond its last line, whose neighbour comes next."""
    for axis in (1, 2):
        x = mirror_end(x, axis, -x.shape[axis] % r)
    n, h, w, c = x.shape
    squares = x.reshape((n, h // r, r, w // r, r, c)).transpose((0, 1, 3, 2, 4, 5))
    return squares.reshape((n, h // r, w // r, r * r * c))


def mirror_end(x: Tensor, axis: int, lines: int) -> Tensor:
    """x with so many lines more at the end of the axis. An image with fewer lines repeats its last one."""
    last = x.shape[axis] - 1
    at = [(slice(None),) * axis + (slice(i, i + 1),) for i in (max(last - n, 0) for n in range(1, lines + 1))]
    return Concatenate(x, *(x[each] for each in at), axis=axis) if lines else x


@definition
def crop_to(x: Tensor, lr: Tensor, scale: int) -> Tensor:
    """x without what is beyond `scale` times LR's size, below and on the right."""
    return x[:, : scale * lr.shape[1], : scale * lr.shape[2]]
