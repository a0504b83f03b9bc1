"""Replaces the colours under transparent pixels: nobody sees them, and they are often black."""

import numpy as np


def over_white(rgb: np.ndarray, alpha: np.ndarray | None) -> np.ndarray:
    """The photo as it looks on white paper: round((alpha rgb + (255 - alpha) 255) / 255), uint8 (H, W, 3)."""
    if alpha is None:
        return rgb
    out = np.empty_like(rgb)
    for row, (colours, opacity) in enumerate(zip(rgb, alpha)):  # row by row, so that only one row is held in 16 bits
        opacity = opacity[:, None].astype(np.uint16)
        out[row] = (opacity * colours + (255 - opacity) * 255 + 127) // 255
    return out


def fill_hidden(rgb: np.ndarray, alpha: np.ndarray | None) -> np.ndarray:
    """A copy of the photo in which each fully transparent pixel has the colour of the nearest visible one.

    A network's receptive field spans many pixels, so hidden colours would leak into visible edges. The distance is
    counted in steps up, down, left and right. A photo without a visible pixel stays as it is. rgb is (H, W, C), alpha
    (H, W) or None.
    """
    if alpha is None or alpha.all() or not alpha.any():
        return rgb
    hidden = np.pad(alpha == 0, 1)  # a margin that counts as visible, so that no step leaves the array
    beside = hidden[:-2, 1:-1] | hidden[2:, 1:-1] | hidden[1:-1, :-2] | hidden[1:-1, 2:]
    edge = np.flatnonzero(np.pad(beside & (alpha > 0), 1))  # the visible pixels beside hidden ones
    shape, steps = hidden.shape, (-1, 1, -hidden.shape[1], hidden.shape[1])
    hidden, rgb = hidden.ravel(), np.pad(rgb, ((1, 1), (1, 1), (0, 0))).reshape(-1, rgb.shape[2])
    while edge.size:
        reached = []
        for step in steps:
            new = edge[hidden[edge + step]]
            rgb[new + step] = rgb[new]
            hidden[new + step] = False
            reached.append(new + step)
        edge = np.concatenate(reached)
    return np.ascontiguousarray(rgb.reshape(*shape, -1)[1:-1, 1:-1])
