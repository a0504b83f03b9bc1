"""Runs an image through a network band by band. The result has the same bits as running the whole image at once.

A whole photo's feature maps would fill the memory. So every layer computes one band of lines at a time, as soon as the
layer before it has computed the lines that the band's receptive field covers. Of its input, the layer keeps only the
lines that its next band needs too:

    LR ──▶ conv ──▶ conv ──▶ … ──▶ SR      each arrow: the last few lines, handed on from band to band

Each layer computes each pixel once, whereas tiles with a halo would compute the halo twice. And each pixel sees its
whole receptive field. The bits are the same because each layer's arithmetic is the same: every band begins at a
multiple of the `grain` into which the layer's kernel, or its matrix products, cut an image.

Lines are rows (axis 1 of NHWC), or columns (axis 2) where columns are shorter.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any, TypeAlias, TypeVar

from ..arrays import Array, array_module
from ..device import blas, uses_kernels
from ..device.conv import WINOGRAD_TILE
from ..device.fusion import convolution_chain, layers_of
from ..device.register import register
from ..errors import ShapeError
from ..models.enlarging import (
    bilinear_inner,
    bilinear_weights,
    crop_to,
    enlarge_bilinear,
    enlarge_nearest,
    fold_pixels,
    join,
    repeat_edge,
)
from ..models.generator import bicubic_weights, enlarge_bicubic, enlarge_inner, repeat_ends
from ..nn import Module, chain
from ..tensor import Tensor

T = TypeVar("T")
Task: TypeAlias = "Generator[Bands, None, T]"  # gives Bands whenever it has to wait for a band of theirs; returns a T
LEAST = 6  # the fewest lines of an image's last band: with fewer, winograd_pays (device/conv.py) may decide otherwise


def band_stops(length: int, wanted: Iterable[int]) -> list[int]:
    """Where the bands of a length end: at the wanted places, in order, that leave LEAST lines for the last band."""
    return [*dict.fromkeys(place for place in wanted if 0 < place <= length - LEAST), length]


class Bands:
    """An image of `size` (height, width), cut along `axis` into bands. `bands` is an iterator of them, each a Tensor;
    in between it gives other Bands, whenever it has to wait for the next band of those.

    step     about how many lines a band has
    stops    for each band, the line before which it ends

    Several operations may read one image, if each begins before the first band is computed. Each has a reader of its
    own. A band is freed when all of them have read it.
    """

    def __init__(self, size: Sequence[int], axis: int, step: int, stops: list[int], bands: Iterator[Any]) -> None:
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
        return Reader(self, queue)

    def pointwise(self, f: Callable[..., Tensor], *others: Bands) -> Bands:
        """f(this, *others), for Bands of one size and an f whose every line depends on the same lines alone."""
        readers = [each.reader() for each in (self, *others)]
        pieces = zip([0, *self.stops], self.stops)
        return Bands(self.size, self.axis, self.step, self.stops, computed(f, pieces, *readers))

    def windows(
        self,
        f: Callable[[Tensor, Any], Tensor],
        radius: int,
        grain: int,
        ends: Callable[[Tensor], Tensor],
        scale: int = 1,
        residual: Bands | None = None,
    ) -> Bands:
        """The image that f computes from windows of this one.

        Each line, with `radius` lines on either side, gives `scale` lines of the result.

        grain      a window begins at a line whose number is a multiple of this
        ends       a function from the image's first or last line to the line beyond it
        residual   Bands of the same size as the result; f is given the same lines of it. Or None
        """
        mine, other = self.reader(), None if residual is None else residual.reader()
        # Each band gives as many lines as it allows, so that hardly any input line waits for the next band. The lines
        # that the layers before held back come after the last band; they are computed in bands too.
        step = -(-self.step // grain) * grain
        wanted = [0, *((stop - radius) // grain * grain for stop in self.stops[:-1])]
        wanted += range(max(wanted) + step, self.length, step)
        stops = band_stops(self.length, wanted)
        bands, size = windowed(f, mine, other, stops, radius, ends, scale), [side * scale for side in self.size]
        scaled = stops if scale == 1 else [stop * scale for stop in stops]
        return Bands(size, self.axis, self.step * scale, scaled, bands)

    def __add__(self, other: Bands) -> Bands:
        return self.pointwise(lambda x, y: x + y, other)

    def __mul__(self, number: float) -> Bands:
        return self.pointwise(lambda x: x * number)

    def __sub__(self, number: float) -> Bands:
        return self.pointwise(lambda x: x - number)


def computed(f: Callable[..., Tensor], pieces: Iterable[tuple[int, int]], *readers: Reader) -> Iterator[Tensor | Bands]:
    """The bands of f, each computed from so many lines of each reader."""
    for start, stop in pieces:
        parts = []
        for reader in readers:
            parts.append((yield from reader.lines(stop - start)))
        bands = [f(*parts)]
        parts.clear()
        yield bands.pop()  # which is then held by its readers alone


def windowed(
    f: Callable[[Tensor, Any], Tensor],
    reader: Reader,
    other: Reader | None,
    stops: list[int],
    radius: int,
    ends: Callable[[Tensor], Tensor],
    scale: int,
) -> Iterator[Tensor | Bands]:
    """The bands of Bands.windows."""
    axis, before, start, seen, length = reader.axis, [], 0, 0, stops[-1]
    for stop in stops:
        until = stop + radius
        fresh, beyond = min(until, length) - min(seen, length), max(until - max(seen, length), 0)
        lines = before + (yield from reader.parts(fresh))
        if start == 0:
            lines = [ends(lines_between(lines[0], axis, 0, 1))] * radius + lines
        window = concatenated(lines + [ends(lines_between(lines[-1], axis, -1, None))] * beyond, axis)
        before = lines = None  # free them: this generator may wait long while others work
        bands = [f(window, (yield from other.lines((stop - start) * scale)) if other else None)]
        before = [copy(lines_between(window, axis, stop - start, None))] if radius else []
        start, seen, window = stop, until, None
        yield bands.pop()  # which is then held by its reader alone


class Reader:
    """Reads the lines of an image, any number at a time, however many lines its bands have."""

    def __init__(self, image: Bands, queue: deque[Tensor]) -> None:
        self.image, self.queue, self.axis = image, queue, image.axis
        self.left: Tensor | None = None

    def parts(self, lines: int) -> Task[list[Tensor]]:
        """The next lines, as a list of bands."""
        parts, axis = [], self.axis
        while lines > 0:
            if self.left is None and not self.queue:
                yield self.image
            band, self.left = self.queue.popleft() if self.left is None else self.left, None
            here = band.shape[axis]
            parts.append(lines_between(band, axis, 0, lines))
            if here > lines:
                self.left = lines_between(band, axis, lines, None)
                if 2 * self.left.shape[axis] < here:
                    self.left = copy(self.left)
            lines -= here
        return parts

    def lines(self, lines: int) -> Task[Tensor]:
        """The next lines."""
        return concatenated((yield from self.parts(lines)), self.axis)

    def take(self, lines: int) -> Tensor:
        """The next lines, which are computed now."""
        return run(self.lines(lines))


def run(task: Task[T]) -> T:
    """What the task returns, once every band is computed that it waits for, and that those wait for.

    Who waits for whom is kept in a list. Calls that wait for calls would need more of Python's stack than some versions
    have: ESRGAN has 345 convolutions one after another.
    """
    waiting: list[Bands] = []  # for the first of them waits the task, and each of them for the next
    while True:
        try:
            made = next(waiting[-1].bands if waiting else task)
        except StopIteration as end:
            if waiting:
                raise ShapeError("an image of bands has fewer lines than its size says") from None
            return end.value
        if isinstance(made, Bands):
            waiting.append(made)
            continue
        for queue in waiting.pop().queues:
            queue.append(made)
        del made


def lines_between(x: Tensor, axis: int, start: int | None, stop: int | None) -> Tensor:
    """The lines from `start` to before `stop`, as a view."""
    return Tensor(x.data[(slice(None),) * axis + (slice(start, stop),)])


def copy(x: Tensor) -> Tensor:
    """x in memory of its own: a view would keep the whole array that it is cut from."""
    return Tensor(x.data.copy())


def concatenated(parts: list[Tensor], axis: int) -> Tensor:
    if len(parts) == 1:
        return parts[0]
    return Tensor(array_module(parts[0].data).concatenate([each.data for each in parts], axis=axis))


# ---- Operations from Bands to Bands ----------------------------------------------------------------------


def grain(w: Array, width: int, padding: int) -> int:
    """The number of lines of which each part of x must be a multiple, so that x ⋆ w has the same bits part by part.

    In most kernels, a pixel's sum does not depend on where the pixel is. In winograd.cu it depends on where the pixel's
    tile begins. In a BLAS it depends on the size of the matrix product.
    """
    return WINOGRAD_TILE if uses_kernels(w) else blas.grain(w, width, padding)


def zeros(line: Tensor) -> Tensor:
    """A line of zeros, which a convolution's padding puts beyond an image's first and last line."""
    return Tensor(array_module(line.data).zeros_like(line.data))


def same_line(line: Tensor) -> Tensor:
    """The line itself: bicubic repeats an image's first and last line beyond it."""
    return line


def is_bands(x: Any) -> bool:
    return isinstance(x, Bands)


@register(chain, is_bands)
def chain_bands(x: Bands, *modules: Module, residual: Bands | None = None) -> Bands:
    """`chain` for Bands. Along the lines' axis, windows are larger than their outputs by what padding would add to the
    whole image."""
    conv, *rest = layers_of(modules)
    radius, weight = conv.padding, conv.weight.data
    if conv.stride != 1 or weight.shape[:2] != (2 * radius + 1, 2 * radius + 1):
        raise ShapeError("a convolution of bands has to keep the size: it needs stride 1 and an odd kernel")
    padding = (0, radius) if x.axis == 1 else (radius, 0)

    def of_window(window, lines):
        return convolution_chain(window, conv, rest, lines, padding)

    return x.windows(of_window, radius, grain(weight, x.width, radius), zeros, conv.shuffle, residual)


@register(enlarge_bicubic, is_bands)
def enlarge_bicubic_bands(x: Bands, scale: int) -> Bands:
    across, weights = 3 - x.axis, bicubic_weights(3, scale)

    def of_window(window, _):
        return enlarge_inner(repeat_ends(window, across), scale)

    return x.windows(of_window, 2, grain(weights, x.width, 2), same_line, scale)


@register(enlarge_bilinear, is_bands)
def enlarge_bilinear_bands(x: Bands, scale: int) -> Bands:
    across, weights = 3 - x.axis, bilinear_weights(3, scale)

    def of_window(window, _):
        return bilinear_inner(repeat_edge(window, across), scale)

    return x.windows(of_window, 1, grain(weights, x.width, 1), same_line, scale)


@register(enlarge_nearest, is_bands)
def enlarge_nearest_bands(x: Bands, scale: int) -> Bands:
    return x.windows(lambda window, _: enlarge_nearest(window, scale), 0, 1, zeros, scale)


@register(join, is_bands)
def join_bands(*images: Bands) -> Bands:
    """The last of them sets the pace: it is made from the others, so it comes latest."""
    return images[-1].pointwise(lambda last, *before: join(*before, last), *images[:-1])


@register(fold_pixels, is_bands)
def fold_pixels_bands(x: Bands, r: int) -> Bands:
    """Bands of whole squares of pixels, but for the last one, which is mirrored as the whole image would be."""
    reader, size = x.reader(), [-(-side // r) for side in x.size]
    stops = band_stops(size[x.axis - 1], [stop // r for stop in x.stops[:-1]])
    pieces = [(start * r, min(stop * r, x.length)) for start, stop in zip([0, *stops], stops)]
    bands = computed(lambda band: fold_pixels(band, r), pieces, reader)
    return Bands(size, x.axis, max(x.step // r, 1), stops, bands)


@register(crop_to, is_bands)
def crop_to_bands(x: Bands, lr: Bands, scale: int) -> Bands:
    size, reader, across = [side * scale for side in lr.size], x.reader(), 3 - x.axis
    length, width = size[x.axis - 1], size[2 - x.axis]
    stops = [min(stop, length) for stop in x.stops]
    bands = computed(lambda band: lines_between(band, across, 0, width), zip([0, *stops], stops), reader)
    return Bands(size, x.axis, x.step, stops, bands)
