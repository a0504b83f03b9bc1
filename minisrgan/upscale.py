"""A photo of any size through the generator, band by band, with the bits of one piece.

`upscale` is the generator of the whole photo, to the bit, whatever the photo's size and the bands' (bands.py tells
why). That holds on each device, in each process; between two devices, or machines, a last bit may differ (arrays.py).
"""

import numpy as np

from .arrays import to_device, to_numpy, uses_kernels
from .autodiff import Tensor, no_grad
from .bands import Bands, cuts
from .imaging.pixels import lr_from_uint8, uint8_from_sr

BAND = 16384  # pixels of LR in a band, about: what bounds the memory, with the length of a photo's shorter side
UNIT = 8  # lines of LR in a band, at least: scale times as many are whole bands of conv_few.cu too


def upscale(generator, photo, device, tile=None, progress=lambda bands: bands):
    """Enlarge a uint8 (h, w, 3) photo to uint8 (scale·h, scale·w, 3).

    tile       lines of the photo that are computed at a time, about; by default as many as make bands of BAND pixels
    progress   wraps the list of the bands, as tqdm does
    """
    was_training = generator.training
    generator.eval()
    try:
        with no_grad():
            return in_bands(generator, photo, device, tile, progress)
    finally:
        generator.train(was_training)


def in_bands(generator, photo, device, tile, progress):
    """`upscale` by a generator in evaluation mode, from top to bottom; from left to right where rows are the longer
    lines, and not cut by NumPy's definition of convolution, which works on rows."""
    scale, size = generator.config.scale, photo.shape[:2]
    axis = 2 if size[1] > size[0] and uses_kernels(to_device(photo[:1, :1], device)) else 1
    length, width = size[axis - 1], size[2 - axis]
    step = -(-(tile or BAND // width) // UNIT) * UNIT or UNIT
    out = np.empty((size[0] * scale, size[1] * scale, 3), np.uint8)
    sr = stream(generator, photo, device, axis, step)
    for start, stop in progress(cuts(length, step)):
        lines = (slice(None),) * (axis - 1) + (slice(start * scale, stop * scale),)
        out[lines] = uint8_from_sr(to_numpy(sr.take((stop - start) * scale).data[0]))
    return out


def stream(generator, photo, device, axis, step):
    """A Reader of SR, computed as far as it is read."""
    length = photo.shape[axis - 1]
    lines = [(slice(None),) * (axis - 1) + (slice(*each),) for each in cuts(length, step)]
    lr = (Tensor(to_device(lr_from_uint8(photo[each][None]), device)) for each in lines)
    return generator(Bands(photo.shape[:2], axis, step, lr)).reader()
