"""An image that goes through a network band by band, each layer once for each pixel, with the bits of one piece.

A whole photo's feature maps would fill the memory. So every layer makes a band of lines at a time, as soon as the
layer before it has made what they see, and keeps of its input only what its next band sees too:

    LR ──▶ conv ──▶ conv ──▶ … ──▶ SR      each arrow: the last few lines, handed on from band to band

Nothing is computed twice, as it would be in tiles with a halo, and nothing is cut off that a layer should have seen.
The bits are those of the whole image because each layer's arithmetic is: the bands begin at multiples of the `grain`
that the layer's kernel or its matrix products are cut into.

Lines are rows (axis 1 of NHWC), or columns (axis 2), where those are the shorter ones.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from ..arrays import Array, array_module
from ..device import blas, uses_kernels
from ..device.conv import TILE
from ..device.fusion import convolution_chain, layers_of
from ..device.register import register
from ..errors import ShapeError
from ..models.generator import bicubic_weights, enlarge_bicubic, enlarge_inner, repeat_ends
from ..nn import Module, chain
from ..tensor import Tensor

LEAST = 6  # lines of an image's last band: with fewer, winograd_pays (device/conv.py) may judge otherwise


def cuts(length: int, wanted: Iterable[int]) -> list[int]:
    """Where a length is cut: at those of the wanted places, in order, that leave a last band its LEAST; and its end."""
    return [*dict.fromkeys(place for place in wanted if 0 < place <= length - LEAST), length]


class Bands:
    """An image of `size` (height, width) that is made along `axis`, as an iterator of bands, each a Tensor.

    step     lines that a band has, about
    stops    up to which line each goes

    It may be used several times, but before its first band is made: each use is a reader of its own, and what all
    of them have read is forgotten.
    """

    def __init__(self, size: Sequence[int], axis: int, step: int, stops: list[int], bands: Iterator[Tensor]) -> None:
        self.size, self.axis, self.step, self.stops, self.bands, self.queues = size, axis, step, stops, bands, []

    @property
    def length(self) -> int:
        return self.size[self.axis - 1]

    @property
    def width(self) -> int:
        """The length of a line."""
        return self.size[2 - self.axis]

    @property
    def pieces(self) -> list[tuple[int, int]]:
        """(start, stop) of each band."""
        return list(zip([0, *self.stops], self.stops))

    def reader(self) -> Reader:
        self.queues.append(queue := deque())
        return Reader(read(self.bands, self.queues, queue), self.axis)

    def pointwise(self, f: Callable[..., Tensor], *others: Bands) -> Bands:
        """f(this, *others), for an f that makes a line of those lines alone, and Bands of one size."""
        mine, readers, axis = self.reader(), [each.reader() for each in others], self.axis
        bands = (f(band, *(each.take(band.shape[axis]) for each in readers)) for band in mine.bands)
        return Bands(self.size, axis, self.step, self.stops, bands)

    def windows(
        self,
        f: Callable[[Tensor, Any], Tensor],
        radius: int,
        grain: int,
        ends: Callable[[Tensor], Tensor],
        scale: int = 1,
        residual: Bands | None = None,
    ) -> Bands:
        """The image that f makes of windows of this one: `scale` lines of each line and `radius` lines on either side.

        grain      of what number the lines at which windows begin are a multiple
        ends       what lies beyond the image's first or last line, given that line
        residual   Bands of the image that is made, of which f is given the same lines; or None
        """
        mine, other = self.reader(), None if residual is None else residual.reader()
        # Each time as much as can be made of the bands so far: hardly a line waits for the next. After the last of them
        # all that the layers before held back is still to be made: in bands too.
        step = -(-self.step // grain) * grain
        wanted = [0, *((stop - radius) // grain * grain for stop in self.stops[:-1])]
        wanted += range(max(wanted) + step, self.length, step)
        stops = cuts(self.length, wanted)
        bands, size = windowed(f, mine, other, stops, radius, ends, scale), [side * scale for side in self.size]
        return Bands(size, self.axis, self.step * scale, [stop * scale for stop in stops], bands)

    def __add__(self, other: Bands) -> Bands:
        return self.pointwise(lambda x, y: x + y, other)

    def __mul__(self, number: float) -> Bands:
        return self.pointwise(lambda x: x * number)

    def __sub__(self, number: float) -> Bands:
        return self.pointwise(lambda x: x - number)


def read(bands: Iterator[Tensor], queues: list[deque], queue: deque) -> Iterator[Tensor]:
    """What `bands` makes, for the reader that has this one of the readers' queues. (itertools.tee would hold 57.)"""
    while True:
        if not queue:
            try:
                band = next(bands)
            except StopIteration:
                return
            for each in queues:
                each.append(band)
            del band
        yield queue.popleft()


def windowed(
    f: Callable[[Tensor, Any], Tensor],
    reader: Reader,
    other: Reader | None,
    stops: list[int],
    radius: int,
    ends: Callable[[Tensor], Tensor],
    scale: int,
) -> Iterator[Tensor]:
    """The bands of Bands.windows."""
    axis, before, start, seen, length = reader.axis, [], 0, 0, stops[-1]
    for stop in stops:
        until = stop + radius
        fresh, beyond = min(until, length) - min(seen, length), max(until - max(seen, length), 0)
        lines = before + reader.parts(fresh)
        if start == 0:
            lines = [ends(cut(lines[0], axis, 0, 1))] * radius + lines
        window = joined(lines + [ends(cut(lines[-1], axis, -1, None))] * beyond, axis)
        before = lines = None  # what waits here waits as long as others work
        band = f(window, other and joined(other.parts((stop - start) * scale), axis))
        before = [copy(cut(window, axis, stop - start, None))] if radius else []
        start, seen, window = stop, until, None
        yield band


class Reader:
    """Lines of an image, as many as are wanted at a time, whatever bands they come in."""

    def __init__(self, bands: Iterator[Tensor], axis: int) -> None:
        self.bands, self.axis = bands, axis
        self.left: Tensor | None = None

    def parts(self, lines: int) -> list[Tensor]:
        """The next lines, as a list of bands."""
        parts, axis = [], self.axis
        while lines > 0:
            band, self.left = next(self.bands) if self.left is None else self.left, None
            here = band.shape[axis]
            parts.append(cut(band, axis, 0, lines))
            if here > lines:
                self.left = cut(band, axis, lines, None)
                if 2 * self.left.shape[axis] < here:
                    self.left = copy(self.left)
            lines -= here
        return parts

    def take(self, lines: int) -> Tensor:
        return joined(self.parts(lines), self.axis)


def cut(x: Tensor, axis: int, start: int | None, stop: int | None) -> Tensor:
    """Lines of x: a view."""
    return Tensor(x.data[(slice(None),) * axis + (slice(start, stop),)])


def copy(x: Tensor) -> Tensor:
    """x in a memory of its own: a view holds all that it is cut from."""
    return Tensor(x.data.copy())


def joined(parts: list[Tensor], axis: int) -> Tensor:
    if len(parts) == 1:
        return parts[0]
    return Tensor(array_module(parts[0].data).concatenate([each.data for each in parts], axis=axis))


# ---- What makes bands of bands ---------------------------------------------------------------------------


def grain(w: Array, width: int, padding: int) -> int:
    """Of how many lines the parts of an image must be that x ⋆ w may be made of, with the bits of the whole.

    A kernel's sums do not depend on where a pixel is, but winograd.cu's on where its tile begins. Those of a BLAS
    depend on the size of a product.
    """
    return TILE if uses_kernels(w) else blas.grain(w, width, padding)


def zeros(line: Tensor) -> Tensor:
    """What a convolution's padding puts beyond an image's first and last line."""
    return Tensor(array_module(line.data).zeros_like(line.data))


def itself(line: Tensor) -> Tensor:
    """The first and the last line go on, as for bicubic."""
    return line


def is_bands(x: Any) -> bool:
    return isinstance(x, Bands)


@register(chain, is_bands)
def chain_bands(x: Bands, *modules: Module, residual: Bands | None = None) -> Bands:
    """`chain` of Bands: of windows that are as much larger than their outputs, along the lines' axis, as padding makes
    them in one piece."""
    conv, *rest = layers_of(modules)
    radius, weight = conv.padding, conv.weight.data
    if conv.stride != 1 or weight.shape[:2] != (2 * radius + 1, 2 * radius + 1):
        raise ShapeError("a convolution of bands keeps the size: it has stride 1 and an odd kernel")
    padding = (0, radius) if x.axis == 1 else (radius, 0)

    def of_window(window, lines):
        return convolution_chain(window, conv, rest, lines, padding)

    return x.windows(of_window, radius, grain(weight, x.width, radius), zeros, conv.shuffle, residual)


@register(enlarge_bicubic, is_bands)
def enlarge_bicubic_bands(x: Bands, scale: int) -> Bands:
    across, weights = 3 - x.axis, bicubic_weights(3, scale)

    def of_window(window, _):
        return enlarge_inner(repeat_ends(window, across), scale)

    return x.windows(of_window, 2, grain(weights, x.width, 2), itself, scale)
