"""ST-LPIPS: how different two images look to people. Ghildyal and Liu 2022, after LPIPS (Zhang et al. 2018).

A network's feature maps f₁ … f₅ of the two images are brought to length 1 at each pixel, and compared channel by
channel with weights w ≥ 0 that were learned from people's judgements:

    d(SR, HR) = Σ_k mean over pixels of Σ_c w_kc·(f̂_k(SR) - f̂_k(HR))²_c        f̂ = f/(‖f‖ + 10⁻¹⁰)

The network is an AlexNet that hardly notices a shift by a pixel: its first convolution has stride 1, and it is reduced
by blur pooling alone. The figure is not comparable with the LPIPS of published tables. It is here to measure; a
generator that was trained on it cannot be judged by it.

The weights are in the wheel `stlpips-pytorch` on PyPI (BSD-2), which `minisrgan vgg fetch --st-lpips` gets.
"""

from collections.abc import Mapping

import numpy as np

from ..arrays import to_device
from ..errors import ShapeError
from ..nn import BlurPool
from ..ops import Conv2dBias, ReLU
from ..tensor import Tensor, no_grad
from .vgg import ST_LPIPS, normalise

ALEX = (  # name of the convolution, its side and padding, its channels in and out
    ("slice1.0", 11, 2, 3, 64),
    ("slice2.5", 5, 2, 64, 192),
    ("slice3.9", 3, 1, 192, 384),
    ("slice4.11", 3, 1, 384, 256),
    ("slice5.13", 3, 1, 256, 256),
)
LEAST = 24  # pixels a side: every map has something in it
EPS = 1e-10


class STLPIPS:
    """arrays   {"slice1.0.weight": (11, 11, 3, 64), "slice1.0.bias": (64,), …, "lin0": (64,), …}"""

    def __init__(self, arrays: Mapping[str, np.ndarray], device: str) -> None:
        self.arrays, self.device = {name: Tensor(to_device(a, device)) for name, a in arrays.items()}, device

    def maps(self, images: Tensor) -> list[Tensor]:
        """The five feature maps of images (N, H, W, 3) in [-1, 1], each pixel's of length 1."""
        x, found = normalise(images, ST_LPIPS), []
        for k, (name, _, padding, _, _) in enumerate(ALEX):
            if k in (1, 2):
                x = BlurPool(3)(x)
            x = Conv2dBias(x, self.arrays[f"{name}.weight"], self.arrays[f"{name}.bias"], padding=padding)
            if k == 0:
                x = BlurPool(1)(x)
            x = ReLU(x)
            found.append(x / ((x * x).sum(-1, keepdims=True) ** 0.5 + EPS))
        return found

    def distance(self, sr: Tensor, hr: Tensor) -> float:
        """d of two Tensors (N, H, W, 3) in [-1, 1], the mean over the N. Raises ShapeError for images too small."""
        if sr.shape != hr.shape or min(sr.shape[1:3]) < LEAST:
            raise ShapeError(f"ST-LPIPS compares two images of one shape, of {LEAST} x {LEAST} pixels at least")
        with no_grad():
            pairs = zip(self.maps(sr), self.maps(hr))
            return sum(((a - b) ** 2 * self.arrays[f"lin{k}"]).sum(-1).mean().item() for k, (a, b) in enumerate(pairs))


def expected_shapes() -> dict[str, tuple[int, ...]]:
    shapes = {}
    for k, (name, side, _, cin, cout) in enumerate(ALEX):
        shapes |= {f"{name}.weight": (side, side, cin, cout), f"{name}.bias": (cout,), f"lin{k}": (cout,)}
    return shapes
