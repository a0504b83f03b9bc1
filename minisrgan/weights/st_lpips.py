"""ST-LPIPS' AlexNet in a file, which `minisrgan vgg fetch --st-lpips` writes and `minisrgan evaluate` reads."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..errors import WeightsError
from ..files import cache_folder
from ..models.st_lpips import ALEX, STLPIPS, expected_shapes
from .array_files import Lazy, check_finite, read_arrays, say_if_unchecked, write_arrays

KIND = "minisrgan st-lpips"
ADVICE = "`minisrgan vgg fetch --st-lpips` gets it again"


def fetched() -> Path:
    """Where `minisrgan vgg fetch --st-lpips` keeps the AlexNet."""
    return cache_folder() / "st-lpips-alex.safetensors"


def load_st_lpips(device: str, path: Path | str | None = None) -> STLPIPS:
    """The STLPIPS in a file, by default the fetched one. Raises WeightsError if there is none."""
    arrays, about = read_arrays(path or fetched(), ADVICE)
    shapes = expected_shapes()
    if about.get("kind") != KIND or {name: array.shape for name, array in arrays.items()} != shapes:
        raise WeightsError(f"{path or fetched()}: is not the AlexNet of ST-LPIPS: {ADVICE}")
    say_if_unchecked(path or fetched(), about)
    return STLPIPS(arrays, device)


def save_st_lpips(path: Path | str, lazy: Mapping[str, Lazy]) -> None:
    """Write the AlexNet of the wheel, {the wheel's name: Lazy}, in our layout. Raises WeightsError for other arrays."""
    arrays = {}
    try:
        for k, (name, *_) in enumerate(ALEX):
            weight = lazy[f"net.{name}.weight"].read()
            arrays[f"{name}.weight"] = weight.transpose(2, 3, 1, 0)
            arrays[f"{name}.bias"] = lazy[f"net.{name}.bias"].read()
            arrays[f"lin{k}"] = lazy[f"lin{k}.model.1.weight"].read().reshape(-1)
    except KeyError as error:
        raise WeightsError(f"the file is not the AlexNet of ST-LPIPS: it has no {error}") from None
    arrays = {name: np.ascontiguousarray(array, np.float32) for name, array in arrays.items()}
    for name, array in arrays.items():
        check_finite("the file", name, array, "get it again")
    if {name: array.shape for name, array in arrays.items()} != expected_shapes():
        raise WeightsError("the file is not the AlexNet of ST-LPIPS: its arrays have other shapes")
    write_arrays(path, arrays, kind=KIND)
