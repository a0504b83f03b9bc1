"""A photo in both resolutions, of which parts are asked for."""

from typing import Protocol

import numpy as np


def as_pixels(image: np.ndarray) -> np.ndarray:
    """A uint8 (H, W, 3) image as (H, W) pixels: NumPy turns and mirrors whole pixels three times as fast as bytes."""
    return np.ascontiguousarray(image).view("V3")[..., 0]


def as_image(pixels: np.ndarray) -> np.ndarray:
    """Pixels (H, W) as a uint8 (H, W, 3) image."""
    return np.ascontiguousarray(pixels).view(np.uint8).reshape(*pixels.shape, 3)


class Picture(Protocol):
    """A photo in both resolutions. Its parts are arrays of pixels, as `as_pixels` gives them.

    size   (height, width) of its LR
    """

    @property
    def size(self) -> tuple[int, int]: ...

    def hr(self, rows: slice, columns: slice) -> np.ndarray: ...

    def lr(self, rows: slice, columns: slice) -> np.ndarray: ...


class Held:
    """A picture in memory."""

    def __init__(self, hr: np.ndarray, lr: np.ndarray) -> None:
        """uint8 (H, W, 3) and (H / scale, W / scale, 3)."""
        self._hr, self._lr = as_pixels(hr), as_pixels(lr)

    @property
    def size(self) -> tuple[int, int]:
        height, width = self._lr.shape
        return height, width

    def hr(self, rows: slice, columns: slice) -> np.ndarray:
        return self._hr[rows, columns]

    def lr(self, rows: slice, columns: slice) -> np.ndarray:
        return self._lr[rows, columns]
