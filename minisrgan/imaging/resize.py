"""MATLAB's bicubic `imresize`, which every published super-resolution table uses.

Output pixel i of a resize by s has its centre at u = (i + 1/2) / s - 1/2 in input pixels, and is

    y[i] = sum_j w[i, j] x[j],    w[i, j] = k(m (u - j)) / sum_j k(m (u - j)),    m = min(s, 1)

where k is Keys' cubic with a = -1/2 ("Cubic convolution interpolation for digital image processing", 1981).
When shrinking, m < 1 widens the kernel, so that it also removes detail too fine for the small image
(antialiasing). Beyond an edge, the edge pixel is repeated, as in the published low-resolution sets (newer
MATLAB releases mirror the image there). The rows are resized first and then the columns. Each pass is
rounded, with halves up, and clipped to uint8: the figures in the tables depend on all of this.

At scales that are powers of two, the weights are fractions whose denominator is a small power of two. The
sums are then exact in float64, and no half can be rounded the wrong way.
"""

import math
from collections.abc import Iterable, Iterator

import numpy as np

from ..errors import ImageError, ShapeError

BAND = 128  # output rows at a time; this bounds the float64 scratch space, which would be 8 times the photo


def cubic(x: np.ndarray) -> np.ndarray:
    """Keys' kernel with a = -1/2, of any shape:

    k(x) =  3/2 |x|^3 - 5/2 |x|^2 + 1            for |x| <= 1
           -1/2 |x|^3 + 5/2 |x|^2 - 4 |x| + 2    for 1 < |x| <= 2
            0                                    elsewhere
    """
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x**2 + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0))


def _taps(n_in, n_out, scale):
    """(the input pixels that each output pixel is computed from, their weights), both (n_out, taps)."""
    shrink = min(scale, 1)
    centre = (np.arange(n_out)[:, None] + 0.5) / scale - 0.5
    pixel = np.floor(centre - 2 / shrink) + np.arange(np.ceil(4 / shrink) + 2)
    weights = cubic(shrink * (centre - pixel))
    weights /= weights.sum(axis=1, keepdims=True)
    return pixel.clip(0, n_in - 1).astype(int), weights


def resize_matrix(n_in: int, n_out: int, scale: float) -> np.ndarray:
    """The matrix W that resizes one axis, y = W x: float64 (n_out, n_in).

    `scale` is the number of output pixels per input pixel: 4 enlarges four times, 1/4 shrinks. Every row of W sums
    to 1. An image X becomes W_rows X W_cols^T.
    """
    pixels, weights = _taps(n_in, n_out, scale)
    matrix = np.zeros((n_out, n_in))
    # The repeated edge pixel may appear several times among the taps: add.at sums its weights.
    np.add.at(matrix, (np.arange(n_out)[:, None], pixels), weights)
    return matrix


def _weighted(image, pixels, weights):
    """The lines Σ_t weights[:, t] image[pixels[:, t]], for (n, taps) pixels and weights; levels are rounded."""
    weights = weights.reshape(weights.shape + (1,) * (image.ndim - 1))
    total = np.asarray(sum(weights[:, tap] * image[pixels[:, tap]] for tap in range(pixels.shape[1])))
    if image.dtype.kind == "f":
        return total.astype(image.dtype)
    return np.floor(total + 0.5).clip(0, np.iinfo(image.dtype).max).astype(image.dtype)


def _resize_rows(image, n_out, scale):
    """One pass over the first axis of an image: the product with `resize_matrix`, computed without its zeros."""
    pixels, weights = _taps(len(image), n_out, scale)
    out = np.empty((n_out, *image.shape[1:]), image.dtype)
    for start in range(0, n_out, BAND):
        band = slice(start, start + BAND)
        out[band] = _weighted(image, pixels[band], weights[band])
    return out


def _resize(image, height, width, scale):
    rows_done = _resize_rows(image, height, scale)
    both_done = _resize_rows(rows_done.swapaxes(0, 1), width, scale).swapaxes(0, 1)
    return np.ascontiguousarray(both_done)


def _check(image, scale):
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or 0 in image.shape:
        raise ShapeError(f"a resize takes a uint8 (H, W) or (H, W, C) image, not {image.dtype} {image.shape}")
    if scale < 1 or scale != int(scale):
        raise ShapeError(f"the scale of a resize is a whole number of at least 1, not {scale}")


def shrink(image: np.ndarray, factor: float) -> np.ndarray:
    """A uint8 (H, W[, C]) image shrunk to `factor` of its size, 0 < factor <= 1, as by MATLAB's
    `imresize(image, factor)`."""
    _check(image, 1)
    if not 0 < factor <= 1:
        raise ShapeError(f"an image is shrunk by a factor from 0 to 1, not {factor}")
    height, width = (math.ceil(side * factor) for side in image.shape[:2])
    return _resize(image, height, width, factor)


def resize_strips(
    strips: Iterable[np.ndarray], size: tuple[int, int], new_size: tuple[int, int], rows: int
) -> Iterator[np.ndarray]:
    """Resize an image that comes strip by strip from the top: yields the strips of the result, of `rows` rows each.

    size, new_size   (height, width). Each side has its own scale, so that the result fills the new size

    uint8, uint16 or float32 (height, width, C). Levels are rounded after each pass, floats are not. Of the image, only
    the rows that the strip needs are held.
    """
    (down, down_weights), across = (_taps(a, b, b / a) for a, b in zip(size, new_size))
    strips = iter(strips)
    held, first = next(strips), 0  # the rows from `first` on
    for start in range(0, new_size[0], rows):
        band = slice(start, start + rows)
        least, most = down[band].min(), down[band].max() + 1
        parts, first = [held[least - first :]], least
        while sum(map(len, parts)) < most - least:
            parts.append(next(strips))
        held = parts[0] if len(parts) == 1 else np.concatenate(parts)
        yield _both_ways(held, (down[band] - least, down_weights[band]), across)


def resize_part(image: np.ndarray, new_size: tuple[int, int], start: int, stop: int) -> np.ndarray:
    """The rows from `start` to before `stop` of an (h, w, C) image that is resized to `new_size`, (height, width).

    As by `resize_strips`. For uint8 and a whole scale, they are rows of what `upsample` gives.
    """
    (pixels, weights), across = (_taps(a, b, b / a) for a, b in zip(image.shape, new_size))
    return _both_ways(image, (pixels[start:stop], weights[start:stop]), across)


def _both_ways(image, down, across):
    """An image resized by the taps of its rows, and then by those of its columns."""
    lines = _weighted(image, *down)
    return np.ascontiguousarray(_weighted(lines.swapaxes(0, 1), *across).swapaxes(0, 1))


def crop_to_multiple(image: np.ndarray, scale: int) -> np.ndarray:
    """An (H, W[, C]) image cut at the right and the bottom so that both sides are multiples of `scale`: a view.

    Raises ImageError for an image with a side shorter than `scale`.
    """
    height, width = (n // scale * scale for n in image.shape[:2])
    if 0 in (height, width):
        raise ImageError(
            f"an image of {image.shape[1]} x {image.shape[0]} pixels is too small to shrink "
            f"{scale} times: use one of at least {scale} x {scale}"
        )
    return image[:height, :width]


def downsample(image: np.ndarray, scale: int) -> np.ndarray:
    """A uint8 image shrunk by a whole number `scale`, as by MATLAB's `imresize(image, 1/scale)`.

    (H, W) or (H, W, C) gives (H / scale, W / scale[, C]). Raises ShapeError for anything but a uint8 image
    whose sides are multiples of `scale`: call `crop_to_multiple` first.
    """
    _check(image, scale)
    height, width = image.shape[:2]
    if height % scale or width % scale:
        raise ShapeError(f"{width} x {height} pixels cannot shrink {scale} times: crop_to_multiple first")
    return _resize(image, height // scale, width // scale, 1 / scale)


def upsample(image: np.ndarray, scale: int) -> np.ndarray:
    """A uint8 image enlarged by a whole number `scale`, as by MATLAB's `imresize(image, scale)`: the bicubic baseline.

    (H, W) or (H, W, C) gives (H scale, W scale[, C]). Raises ShapeError for anything but a uint8 image.
    """
    _check(image, scale)
    height, width = image.shape[:2]
    return _resize(image, height * scale, width * scale, scale)
