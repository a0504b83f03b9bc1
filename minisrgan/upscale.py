"""A photo of any size through the generator, tile by tile, with the same result as in one piece."""

import numpy as np

from .arrays import to_device, to_numpy
from .autodiff import Tensor, no_grad
from .imaging.pixels import lr_from_uint8, uint8_from_sr

TILE = 96  # LR pixels a side: what bounds the memory, whatever the photo's size


def upscale(generator, photo, device, tile=TILE, progress=lambda tiles: tiles):
    """Enlarge a uint8 (h, w, 3) photo to uint8 (scale·h, scale·w, 3).

    Each tile is computed with a halo as wide as the network can see, then cut. At the photo's own border there
    is no halo: the network's zero padding meets the true edge, as in one piece.
    `progress` wraps the list of tiles, as tqdm does.
    """
    was_training = generator.training
    generator.eval()
    try:
        return in_tiles(generator, photo, device, tile, progress)
    finally:
        generator.train(was_training)


def in_tiles(generator, photo, device, tile, progress):
    """`upscale` by a generator in evaluation mode."""
    scale, halo = generator.config.scale, generator.receptive_radius()
    height, width = photo.shape[:2]
    out = np.empty((height * scale, width * scale, 3), np.uint8)
    for top, left in progress([(y, x) for y in range(0, height, tile) for x in range(0, width, tile)]):
        y, x = max(top - halo, 0), max(left - halo, 0)
        lr = lr_from_uint8(photo[y : top + tile + halo, x : left + tile + halo][None])
        with no_grad():
            sr = to_numpy(generator(Tensor(to_device(lr, device))).data[0])
        bottom, right = min(top + tile, height), min(left + tile, width)
        out[top * scale : bottom * scale, left * scale : right * scale] = uint8_from_sr(
            sr[(top - y) * scale : (bottom - y) * scale, (left - x) * scale : (right - x) * scale]
        )
    return out
