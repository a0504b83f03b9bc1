"""Enlarges a photo of any size with a generator, band by band.

`upscale` gives the whole result, `upscale_strips` strip by strip, in any scale, and grey or of 16 bits too. Both give
the bits that the generator gives for the whole photo at once, whatever the size of the photo and of the bands (bands.py
says why). That holds on every device and in every process. Between two devices or two machines, the
last bit may differ (device/__init__.py).
"""

import math
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from tempfile import TemporaryFile

import numpy as np

from ..arrays import to_device, to_numpy
from ..device import uses_kernels
from ..errors import ConfigError, WeightsError
from ..imaging.pixels import grey_of, levels_from_sr, lr_from_levels, lr_from_sr
from ..imaging.resize import resize_strips
from ..models.architectures import Network
from ..tensor import Tensor, no_grad
from .bands import Bands, band_stops

BAND = 16384  # about how many pixels of LR a band has; it bounds the memory, with the length of a photo's shorter side
OUT = 2**18  # about how many pixels a strip of a reduced result has
PANORAMA = 4  # a photo that is so many times as wide as it is high is computed from left to right
TURNED = 2**24  # about how many pixels a strip of its rows has
UNIT = 8  # the fewest lines of LR in a band; scale times as many are a whole number of conv_few.cu's bands too


def upscale(
    generator: Network,
    photo: np.ndarray,
    device: str,
    tile: int | None = None,
    progress: Callable[[list], Iterable] = lambda bands: bands,
    ensemble: bool = False,
) -> np.ndarray:
    """Enlarge a uint8 (h, w, 3) photo to uint8 (scale·h, scale·w, 3).

    tile       about how many lines of the photo are computed at a time; by default, so many that a band has BAND pixels
    progress   a function that wraps the list of the bands, as tqdm does
    ensemble   enlarge the photo turned and mirrored in all eight ways, and round the mean of the results. It is nearer
               to the original, and softer (Lim et al. 2017, section 3.4). It takes eight times as long, and 12 bytes
               per output pixel

    Raises WeightsError if SR is not finite.
    """
    scale, (height, width) = generator.config.scale, photo.shape[:2]
    shape = (height * scale, width * scale, 3)
    out = np.empty(shape, np.uint8)
    if not ensemble:
        with evaluating(generator):
            for _, lines, sr in in_bands(generator, [photo], device, tile, progress):
                out[lines] = levels_from_sr(sr, "uint8")
        return out
    for row, mean in zip(out, mean_of_eight(generator, photo, device, tile, progress)):
        row[:] = levels_from_sr(mean, "uint8")
    return out


def upscale_strips(
    generator: Network,
    photo: np.ndarray,
    device: str,
    scale: float,
    dtype: str,
    ensemble: bool = False,
    progress: Callable[[float], object] = lambda share: None,
) -> Iterator[np.ndarray]:
    """Enlarge a photo to `scale` times its size; yields the strips of the result from the top, (rows, width, C).

    Where the generator has another scale, it enlarges the photo once or more often to `scale` times its size or more,
    and MATLAB's bicubic reduces that. Nothing is rounded before the end. Of a grey photo, G sees three equal channels,
    and the result is the brightness of what it makes of them.

    photo      uint8 or uint16, (h, w, 3) or (h, w, 1), which is grey. A colour photo whose channels are equal is
               enlarged as a grey one, and its channels stay equal
    scale      a number from 1 on; each side of the result is rounded to whole pixels, as in `new_size`
    dtype      of the result: "uint8" or "uint16"
    ensemble   as in `upscale`. The whole mean is held then
    progress   a function that is told again and again how large a share of the work has been done since

    Raises WeightsError if SR is not finite.
    """
    passes, (height, width, channels) = passes_for(generator, scale), photo.shape
    whole = (height * generator.config.scale**passes, width * generator.config.scale**passes)
    size, blocks = new_size(height, width, scale), (photo[top : top + UNIT] for top in range(0, height, UNIT))
    equal = channels == 3 and all((block[..., :1] == block).all() for block in blocks)
    if equal:
        photo = photo[..., :1]

    def levels(sr: np.ndarray) -> np.ndarray:
        return levels_from_sr(sr, dtype).repeat(3 if equal else 1, axis=2)

    def finished(sr: np.ndarray) -> np.ndarray:
        """What does not depend on a pixel's neighbours, unless they are still to be mixed with it."""
        sr = grey_of(sr) if photo.shape[2] == 1 else sr
        return levels(sr) if size == whole else sr

    if ensemble:

        def told(bands: list) -> Iterator:
            for band in bands:
                yield band
                progress(1 / len(bands))

        mean = mean_of_eight(generator, photo, device, None, told, passes)
        rows = max(BAND // whole[1], 1)
        strips = (finished(mean[top : top + rows]) for top in range(0, whole[0], rows))
    elif width > PANORAMA * height and on_kernels(device):
        columns = map(finished, bands_along(2, generator, photo, device, passes, progress))
        strips = rows_of(columns, whole[0], max(TURNED // whole[1], 1))
    else:
        strips = map(finished, bands_along(1, generator, photo, device, passes, progress))
    if size != whole:
        strips = map(levels, resize_strips(strips, whole, size, max(OUT // size[1], 1)))
    yield from strips


def rows_of(columns: Iterable[np.ndarray], height: int, rows: int) -> Iterator[np.ndarray]:
    """Yields an image from the top, `rows` rows at a time, that comes from the left, some columns at a time.

    The columns wait for their rows' turn in a temporary file, not compressed. Raises OSError if it has no space.
    """
    with TemporaryFile() as file:
        places = []
        for strip in columns:
            places.append((file.tell(), strip.shape[1:], strip.dtype))
            file.write(np.ascontiguousarray(strip).data)
        for top in range(0, height, rows):
            lines, parts = min(rows, height - top), []
            for start, line, dtype in places:
                bytes_of_line = math.prod(line) * dtype.itemsize
                file.seek(start + top * bytes_of_line)
                parts.append(np.frombuffer(file.read(lines * bytes_of_line), dtype).reshape(lines, *line))
            yield np.concatenate(parts, axis=1)


def new_size(height: int, width: int, scale: float) -> tuple[int, int]:
    """(height, width) of a photo enlarged to `scale` times its size: rounded, and at least 1."""
    return max(round(height * scale), 1), max(round(width * scale), 1)


def passes_for(generator: Network, scale: float) -> int:
    """How often the generator enlarges a photo, for `scale` times its size or more. Raises ConfigError for one that
    does not enlarge."""
    if generator.config.scale == 1 < scale:
        raise ConfigError("this generator keeps a photo's size: leave out --scale, or choose a generator that enlarges")
    passes, reached = 1, generator.config.scale
    while reached < scale:
        passes, reached = passes + 1, reached * generator.config.scale
    return passes


@contextmanager
def evaluating(generator: Network) -> Generator[None, None, None]:
    """Within the block, the generator is in evaluation mode, and no graph is kept."""
    was_training = generator.training
    generator.eval()
    try:
        with no_grad():
            yield
    finally:
        generator.train(was_training)


def mean_of_eight(
    generator: Network,
    photo: np.ndarray,
    device: str,
    tile: int | None,
    progress: Callable[[list], Iterable],
    passes: int = 1,
) -> np.ndarray:
    """The mean SR of the photo's eight views, float32 (H, W, 3), turned back."""
    scale = generator.config.scale**passes
    total = np.zeros((photo.shape[0] * scale, photo.shape[1] * scale, 3), np.float32)
    views = eight_views(total)
    with evaluating(generator):
        for way, lines, sr in in_bands(generator, eight_views(photo), device, tile, progress, passes):
            views[way][lines] += sr
    total /= len(views)
    return total


def eight_views(image: np.ndarray) -> list[np.ndarray]:
    """Eight views of an (h, w, …) image: itself and its mirror image, each turned by 0, 90, 180 and 270 degrees."""
    return [np.rot90(each, quarters) for each in (image, image[:, ::-1]) for quarters in range(4)]


def in_bands(
    generator: Network,
    photos: Sequence[np.ndarray],
    device: str,
    tile: int | None,
    progress: Callable[[list], Iterable],
    passes: int = 1,
) -> Iterator[tuple[int, tuple[slice, ...], np.ndarray]]:
    """Yields (a photo's number, which lines of its SR, those lines as floats (…, …, 3)), band by band, photo by photo.

    `generator` has to be in evaluation mode.
    """
    streams = [enlarged(generator, lr_bands(photo, device, *plan(photo, device, tile)), passes) for photo in photos]
    readers = [stream.reader() for stream in streams]
    for number, start, stop in progress([(i, *piece) for i, stream in enumerate(streams) for piece in stream.pieces]):
        yield number, lines_of(streams[number].axis, start, stop), finite(readers[number].take(stop - start))


def bands_along(
    axis: int, generator: Network, photo: np.ndarray, device: str, passes: int, progress: Callable[[float], object]
) -> Iterator[np.ndarray]:
    """Yields a photo's SR as floats: its rows from the top (axis 1), or its columns from the left (axis 2), band by
    band. The generator computes between the yields alone."""
    with evaluating(generator):
        lines = lines_for(photo.shape[2 - axis])
        stream = enlarged(generator, lr_bands(photo, device, axis, lines), passes)
        reader = stream.reader()
    for start, stop in stream.pieces:
        with evaluating(generator):
            band = finite(reader.take(stop - start))
        progress((stop - start) / stream.length)
        yield band


def finite(band: Tensor) -> np.ndarray:
    """A band as an array of NumPy's. Raises WeightsError if it is not finite: NaN would become black pixels."""
    array = to_numpy(band.data[0])
    if not np.isfinite(array).all():
        raise WeightsError("the generator's output is not finite: its weights are damaged or diverged, use others")
    return array


def enlarged(generator: Network, lr: Bands, passes: int) -> Bands:
    """SR of LR, of which the generator makes SR again, `passes` times in all."""
    sr = generator(lr)
    for _ in range(passes - 1):
        sr = generator(cut_again(sr))
    return sr


def cut_again(sr: Bands) -> Bands:
    """SR as LR, in bands of about BAND pixels: those that the generator gives are longer than those that it took."""
    lines = lines_for(sr.width)
    lr = Bands(sr.size, sr.axis, lines, band_stops(sr.length, range(lines, sr.length, lines)), iter(()))
    reader = sr.reader()
    lr.bands = (Tensor(lr_from_sr(reader.take(stop - start).data)) for start, stop in lr.pieces)
    return lr


def plan(photo: np.ndarray, device: str, tile: int | None) -> tuple[int, int]:
    """(axis, lines): how a photo is cut into bands.

    It is cut from top to bottom, but from left to right if rows are longer than columns. On
    "numpy", device/blas.py works on rows, so there it is always cut from top to bottom.
    """
    height, width = photo.shape[:2]
    sideways = width > height and on_kernels(device)
    return 2 if sideways else 1, lines_for(height if sideways else width, tile)


def on_kernels(device: str) -> bool:
    """Whether a device computes with kernels. Bands of columns have the bits of the whole there alone."""
    return uses_kernels(to_device(np.empty(0), device))


def lines_for(width: int, tile: int | None = None) -> int:
    """How many lines of this width a band has."""
    return -(-max(tile or BAND // width, 1) // UNIT) * UNIT


def lr_bands(photo: np.ndarray, device: str, axis: int, lines: int) -> Bands:
    """A uint8 or uint16 photo as Bands of `lines` lines each, in G's input range; grey has three equal channels."""
    length = photo.shape[axis - 1]
    lr = Bands(photo.shape[:2], axis, lines, band_stops(length, range(lines, length, lines)), iter(()))
    pieces = [lines_of(axis, *piece) for piece in lr.pieces]
    bands = (np.ascontiguousarray(photo[each].repeat(3 // photo.shape[2], axis=2))[None] for each in pieces)
    lr.bands = (Tensor(to_device(lr_from_levels(band), device)) for band in bands)
    return lr


def lines_of(axis: int, start: int, stop: int) -> tuple[slice, ...]:
    """The index of these lines in an image (h, w, 3); `axis` counts the axes of a batch."""
    return (slice(None),) * (axis - 1) + (slice(start, stop),)
