"""What the literature reports for enlarging the standard image sets four times: PSNR on Y, as `evaluate` takes it.

A figure is for its own set and scale alone. More photos to train on give a higher PSNR, so they stand beside it.
"""

from pathlib import Path
from typing import NamedTuple

SCALE = 4
SETS = {"set5": ("Set5", 5), "set14": ("Set14", 14), "bsd100": ("BSD100", 100), "urban100": ("Urban100", 100)}
SETS |= {"bsds100": SETS["bsd100"], "b100": SETS["bsd100"]}  # other names of the folder


class Published(NamedTuple):
    """A method's PSNR on Y in dB, by set; what it was trained on; where the figures are from."""

    method: str
    psnr: dict[str, float]
    trained_on: str
    source: str


def figures(*psnr: float) -> dict[str, float]:
    return dict(zip(("Set5", "Set14", "BSD100", "Urban100"), psnr))


VDSR = "Kim et al. 2016, arXiv 1511.04587"
PAPER = "Ledig et al. 2017, arXiv 1609.04802"
TABLE = [
    Published("bicubic", figures(28.42, 26.00, 25.96), "nothing", VDSR),
    Published("SRCNN", figures(30.48, 27.50, 26.90), "91 images, or ImageNet", VDSR),
    Published("VDSR", figures(31.35, 28.01, 27.29), "291 images", VDSR),
    Published("SRResNet, a public one", figures(31.52, 27.95, 27.17), "291 images", "twtygqyy/pytorch-SRResNet"),
    Published("LapSRN", figures(31.54, 28.19, 27.32), "291 images", "Lai et al. 2017, arXiv 1704.03915"),
    Published("DRRN", figures(31.68, 28.21, 27.38), "291 images", "tyshiwo/DRRN_CVPR17"),
    Published("MemNet", figures(31.74, 28.26, 27.40, 25.50), "291 images", "nmhkahn/CARN-pytorch, its table"),
    Published("IDN", figures(31.82, 28.25, 27.41, 25.41), "291 images", "Zheng222/IDN-tensorflow"),
    Published("SRResNet, the paper's", figures(32.05, 28.49, 27.58), "350,000 of ImageNet", PAPER),
    Published("EDSR-baseline", figures(32.09, 28.58, 27.57, 26.04), "DIV2K", "sunny2109/SAFMN, its figure"),
    Published("SRGAN, the paper's", figures(29.40, 26.02, 25.16), "350,000 of ImageNet", PAPER),
]


def published(folder: str | Path, photos: int, scale: int) -> tuple[str, list[Published]]:
    """(the set's name, what is published for it) of a folder with so many photos, recognised by its name; or (why there
    is nothing, [])."""
    name, n = SETS.get(Path(folder).resolve().name.lower(), ("", 0))
    if scale != SCALE:
        return f"published figures are at hand for scale {SCALE} alone, not {scale}", []
    if photos != n:
        known = ", ".join(f"{name} with {n} photos" for name, n in dict.fromkeys(SETS.values()))
        return f"published figures are at hand for folders named {known}; this one has {photos}", []
    return name, [each for each in TABLE if name in each.psnr]
