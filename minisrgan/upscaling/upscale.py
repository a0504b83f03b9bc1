"""Enlarges a photo of any size with a generator, band by band.

`upscale` gives the same bits as the generator gives for the whole photo at once, whatever the size of the photo and of
the bands (bands.py says why). That holds on every device and in every process. Between two devices or two machines, the
last bit may differ (device/__init__.py).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from ..arrays import to_device, to_numpy
from ..device import uses_kernels
from ..errors import WeightsError
from ..imaging.pixels import lr_from_uint8, uint8_from_sr
from ..models.architectures import Network
from ..tensor import Tensor, no_grad
from .bands import Bands, band_stops

BAND = 16384  # about how many pixels of LR a band has; it bounds the memory, with the length of a photo's shorter side
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
    was_training = generator.training
    generator.eval()
    try:
        with no_grad():
            if not ensemble:
                out = np.empty(shape, np.uint8)
                for _, lines, sr in in_bands(generator, [photo], device, tile, progress):
                    out[lines] = uint8_from_sr(sr)
                return out
            total = np.zeros(shape, np.float32)
            views = eight_views(total)
            for way, lines, sr in in_bands(generator, eight_views(photo), device, tile, progress):
                views[way][lines] += sr
    finally:
        generator.train(was_training)
    out = np.empty(shape, np.uint8)
    for row, mean in zip(out, total):
        row[:] = uint8_from_sr(mean / len(views))
    return out


def eight_views(image: np.ndarray) -> list[np.ndarray]:
    """Eight views of an (h, w, …) image: itself and its mirror image, each turned by 0, 90, 180 and 270 degrees."""
    return [np.rot90(each, quarters) for each in (image, image[:, ::-1]) for quarters in range(4)]


def in_bands(
    generator: Network,
    photos: Sequence[np.ndarray],
    device: str,
    tile: int | None,
    progress: Callable[[list], Iterable],
) -> Iterator[tuple[int, tuple[slice, ...], np.ndarray]]:
    """Yields (a photo's number, which lines of its SR, those lines as floats (…, …, 3)), band by band, photo by photo.

    `generator` has to be in evaluation mode.
    """
    streams = [generator(lr_bands(photo, device, *plan(photo, device, tile))) for photo in photos]
    readers = [stream.reader() for stream in streams]
    for number, start, stop in progress([(i, *piece) for i, stream in enumerate(streams) for piece in stream.pieces]):
        band = to_numpy(readers[number].take(stop - start).data[0])
        if not np.isfinite(band).all():  # NaN would become black pixels
            raise WeightsError("the generator's output is not finite: its weights are damaged or diverged, use others")
        yield number, lines_of(streams[number].axis, start, stop), band


def plan(photo: np.ndarray, device: str, tile: int | None) -> tuple[int, int]:
    """(axis, lines): how a photo is cut into bands.

    It is cut from top to bottom, but from left to right if rows are longer than columns. On
    "numpy", device/blas.py works on rows, so there it is always cut from top to bottom.
    """
    height, width = photo.shape[:2]
    sideways = width > height and uses_kernels(to_device(photo[:1, :1], device))
    lines = max(tile or BAND // (height if sideways else width), 1)
    return 2 if sideways else 1, -(-lines // UNIT) * UNIT


def lr_bands(photo: np.ndarray, device: str, axis: int, lines: int) -> Bands:
    """A uint8 photo as Bands of `lines` lines each, in G's input range."""
    length = photo.shape[axis - 1]
    lr = Bands(photo.shape[:2], axis, lines, band_stops(length, range(lines, length, lines)), iter(()))
    pieces = [lines_of(axis, *piece) for piece in lr.pieces]
    lr.bands = (Tensor(to_device(lr_from_uint8(np.ascontiguousarray(photo[each])[None]), device)) for each in pieces)
    return lr


def lines_of(axis: int, start: int, stop: int) -> tuple[slice, ...]:
    """The index of these lines in an image (h, w, 3); `axis` counts the axes of a batch."""
    return (slice(None),) * (axis - 1) + (slice(start, stop),)
