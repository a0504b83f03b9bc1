"""A photo of any size through the generator, band by band, with the bits of one piece.

`upscale` is the generator of the whole photo, to the bit, whatever the photo's size and the bands' (bands.py tells
why). That holds on each device, in each process; between two devices, or machines, a last bit may differ (arrays.py).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from ..arrays import to_device, to_numpy
from ..device import uses_kernels
from ..errors import WeightsError
from ..imaging.pixels import lr_from_uint8, uint8_from_sr
from ..models.generator import Generator
from ..tensor import Tensor, no_grad
from .bands import Bands, cuts

BAND = 16384  # pixels of LR in a band, about: what bounds the memory, with the length of a photo's shorter side
UNIT = 8  # lines of LR in a band, at least: scale times as many are whole bands of conv_few.cu too


def upscale(
    generator: Generator,
    photo: np.ndarray,
    device: str,
    tile: int | None = None,
    progress: Callable[[list], Iterable] = lambda bands: bands,
    ensemble: bool = False,
) -> np.ndarray:
    """Enlarge a uint8 (h, w, 3) photo to uint8 (scale·h, scale·w, 3).

    tile       lines of the photo that are computed at a time, about; by default as many as make bands of BAND pixels
    progress   wraps the list of the bands, as tqdm does
    ensemble   enlarge the photo turned and mirrored in all eight ways, and take the mean, before it is rounded: nearer
               to the original, and softer (Lim et al. 2017, section 3.4). It takes eight times as long, and 12 bytes an
               output pixel

    Raises WeightsError where SR is not finite.
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
            places = turns(total)
            for way, lines, sr in in_bands(generator, turns(photo), device, tile, progress):
                places[way][lines] += sr
    finally:
        generator.train(was_training)
    out = np.empty(shape, np.uint8)
    for row, mean in zip(out, total):
        row[:] = uint8_from_sr(mean / len(places))
    return out


def turns(image: np.ndarray) -> list[np.ndarray]:
    """An (h, w, …) image turned by 0, 90, 180 and 270 degrees, and its mirror image too: eight views of it."""
    return [np.rot90(each, quarters) for each in (image, image[:, ::-1]) for quarters in range(4)]


def in_bands(
    generator: Generator,
    photos: Sequence[np.ndarray],
    device: str,
    tile: int | None,
    progress: Callable[[list], Iterable],
) -> Iterator[tuple[int, tuple[slice, ...], np.ndarray]]:
    """(number of a photo, which lines of its SR, those lines as floats (…, …, 3)), band by band, photo by photo.

    `generator` is in evaluation mode.
    """
    streams = [generator(lr_bands(photo, device, *plan(photo, device, tile))) for photo in photos]
    readers = [stream.reader() for stream in streams]
    for number, start, stop in progress([(i, *piece) for i, stream in enumerate(streams) for piece in stream.pieces]):
        band = to_numpy(readers[number].take(stop - start).data[0])
        if not np.isfinite(band).all():  # as bytes it would be black
            raise WeightsError("the generator's output is not finite: its weights are damaged or diverged, use others")
        yield number, lines_of(streams[number].axis, start, stop), band


def plan(photo: np.ndarray, device: str, tile: int | None) -> tuple[int, int]:
    """(axis, lines): how a photo is cut. From top to bottom; from left to right where rows are the longer lines, and
    not cut by NumPy's definition of convolution, which works on rows."""
    height, width = photo.shape[:2]
    sideways = width > height and uses_kernels(to_device(photo[:1, :1], device))
    lines = max(tile or BAND // (height if sideways else width), 1)
    return 2 if sideways else 1, -(-lines // UNIT) * UNIT


def lr_bands(photo: np.ndarray, device: str, axis: int, lines: int) -> Bands:
    """The Bands of a uint8 photo, as G takes them, of so many lines each."""
    length = photo.shape[axis - 1]
    made = Bands(photo.shape[:2], axis, lines, cuts(length, range(lines, length, lines)), iter(()))
    pieces = [lines_of(axis, *piece) for piece in made.pieces]
    made.bands = (Tensor(to_device(lr_from_uint8(np.ascontiguousarray(photo[each])[None]), device)) for each in pieces)
    return made


def lines_of(axis: int, start: int, stop: int) -> tuple[slice, ...]:
    """The key of those lines in an image (h, w, 3), cut along that axis of a batch."""
    return (slice(None),) * (axis - 1) + (slice(start, stop),)
