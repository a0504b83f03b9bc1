"""VGG's weights in files, ours and other people's: which network a file holds, and what input the network expects.

    .safetensors    torchvision's and timm's names, which are the same for the convolutions: features.0.weight
    .pth            torchvision's names, in both formats of torch.save: torch_files.py
    .h5             Keras' names: block1_conv1. It needs h5py

A file's first bytes, not its name, tell which kind it is. The weights are (Cout, Cin, kh, kw) in these files, except
Keras': those are (kh, kw, Cin, Cout), as everywhere in minisrgan.

A file rarely names the family of its weights, and the shapes do not reveal it. Our files name it in their metadata,
Keras' files are all of the family caffe, and torchvision's own files are recognised by their SHA-256. For any other
file, the user has to name the family.
"""

import hashlib
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ConfigError, WeightsError
from ..files import cache_folder
from ..models.vgg import PAPER_SCALE, SMALL, ST_LPIPS, VGG16, VGG19, VGGConfig, VGGFeatures
from ..names import FAMILIES
from .array_files import (
    CHECKSUM,
    Lazy,
    check_finite,
    check_regular,
    first_bytes,
    lazy_array,
    open_checked,
    say_unchecked,
    write_arrays,
)
from .torch_files import ZIP, read_torch

VGG_KIND = "minisrgan vgg"
NAMES = {VGG16: "VGG16", VGG19: "VGG19", SMALL: "VGG small"}
TORCHVISION = ("397923af", "dcbb9e9d")  # the first digits of its vgg16's and vgg19's SHA-256, as in their file names
HDF5 = b"\x89HDF\r\n\x1a\n"
ADVICE = "give a VGG16 or VGG19 as .safetensors, .pth or .h5, or let `minisrgan vgg fetch` get one"
SPOILT = "the file is spoilt: get it again"
EMBEDDED_NAME = "vgg-small"
EMBEDDED = Path(__file__).with_name("vgg-small.safetensors")  # distilled from VGG19; ships with the package
ST = "st-"  # the prefix of a layer's name in ST-LPIPS' VGG16


def load_content(name: str, path: Path | str | None = None, family: str | None = None) -> VGGFeatures:
    """φ for a content loss, by its name:

    "vgg-small"        the last layer, vgg34, of the VGG that ships with the package
    such as "vgg54"    a layer of the VGG in the file `path`, by default the VGG19 that `minisrgan vgg fetch` keeps
    such as "st-vgg33" a layer of the VGG16 of ST-LPIPS

    Raises WeightsError if there is no such file.
    """
    if name == EMBEDDED_NAME:
        return load_vgg()
    if name.startswith(ST):
        if not st_fetched().exists():
            raise WeightsError(f"{name} needs the VGG16 of ST-LPIPS: `minisrgan vgg fetch --st-lpips` gets it (64 MB)")
        return load_vgg(st_fetched(), name.removeprefix(ST))
    if path is None and not fetched().exists():
        raise WeightsError(
            f"{name} needs VGG19's weights: `minisrgan vgg fetch` gets them (575 MB); or name a file with --vgg, or "
            "use the package's small VGG with --content vgg-small"
        )
    return load_vgg(path or fetched(), name, family=family)


def knows_content(name: str) -> bool:
    """Whether `load_content` takes this name, if the weights are there."""
    try:
        layer, blocks = name.removeprefix(ST), VGG16 if name.startswith(ST) else VGG19
        return name == EMBEDDED_NAME or bool(layer) and VGGConfig(blocks).index(layer) >= 0
    except ConfigError:
        return False


def st_fetched() -> Path:
    """Where `minisrgan vgg fetch --st-lpips` keeps the VGG16 of ST-LPIPS."""
    return cache_folder() / "st-lpips-vgg16.safetensors"


def fetched(blocks: tuple = VGG19) -> Path:
    """Where `minisrgan vgg fetch` keeps a VGG."""
    return cache_folder() / f"{NAMES[blocks].lower()}.safetensors"


def load_vgg(
    path: Path | str | None = None,
    layer: str | None = None,
    after_activation: bool = True,
    scale: float = PAPER_SCALE,
    family: str | None = None,
) -> VGGFeatures:
    """φ at a layer of the VGG in a file.

    The default file is the package's small VGG, and the default layer the last convolution. `layer` and
    `after_activation` are as for `VGGConfig.index`, `family` is as for `open_vgg`. Only the arrays that the layer
    needs are read. Raises WeightsError for a file that is not a VGG, ConfigError for a layer that it does not have.
    """
    path = path or EMBEDDED
    config, lazy = open_vgg(path, family)
    last = config.index(layer, after_activation)
    arrays = {name: read(path, name, each) for name, each in lazy.items() if index_of(name) <= last}
    return VGGFeatures(config, arrays, layer, after_activation, scale)


def index_of(name: str) -> int:
    return int(name.split(".")[1])


def read(path: Path | str, name: str, lazy: Lazy) -> np.ndarray:
    """Read an array of a file and bring it into our layout. Raises WeightsError if it is not finite."""
    array = lazy.read()
    check_finite(path, name, array, SPOILT)
    return np.ascontiguousarray(array.transpose(2, 3, 1, 0)) if array.ndim == 4 else array


def save_vgg(
    path: Path | str, config: VGGConfig, arrays: Mapping[str, np.ndarray], dtype: Any = np.float32, **about: Any
) -> None:
    """Write a VGG's weights, {"features.0.weight": (3, 3, Cin, Cout), …}, in a file that `open_vgg` reads."""
    outward = {name: (a.transpose(3, 2, 0, 1) if a.ndim == 4 else a).astype(dtype) for name, a in arrays.items()}
    write_arrays(path, outward, kind=VGG_KIND, variant=config.family, **about)


def open_vgg(path: Path | str, family: str | None = None) -> tuple[VGGConfig, dict[str, Lazy]]:
    """(VGGConfig, {"features.0.weight": Lazy, …}) of a VGG in a file of any kind; the arrays are in the file's layout.

    `family` is for files that do not name the family of their weights. Raises WeightsError, with a message of one line.
    """
    blocks, own_family, arrays = identify(path)
    if own_family and family and own_family != family:
        raise WeightsError(f"{path}: its weights are of the family {own_family}, not {family}: leave the family out")
    family = own_family or family
    if not family:
        raise WeightsError(
            f"{path}: does not say which input its weights expect: name their family with --family, torchvision (RGB "
            "in 0..1, less the mean and divided by the deviation) or caffe (BGR in 0..255, less the mean)"
        )
    return VGGConfig(blocks, family), arrays


def identify(path: Path | str) -> tuple[tuple, str | None, dict[str, Lazy]]:
    """(the blocks of the VGG in a file, its family or None if the file does not say, {name: Lazy})."""
    arrays, family, checked = read_file(path)
    blocks = architecture(path, arrays)
    if not (family and checked) and sha256(path)[:8] in TORCHVISION:
        family, checked = "torchvision", True
    if not checked:
        say_unchecked(path)
    return blocks, family, arrays


def read_file(path: Path | str) -> tuple[dict[str, Lazy], str | None, bool]:
    """({torchvision's name: Lazy}, the family that the file names or None, whether the file has a checksum)."""
    check_regular(path, ADVICE)
    start = first_bytes(path)
    if start[8:9] == b"{":  # after the 8 bytes that hold the header's length
        return read_safetensors(path)
    if start.startswith((ZIP, b"\x80")):
        return torchvision_names(read_torch(path)), None, start.startswith(ZIP)  # a zip has a checksum per member
    if start.startswith(HDF5):
        return read_keras(path), "caffe", False
    return read_safetensors(path)  # it raises the error that says what is wrong


def torchvision_names(arrays: Mapping[str, Lazy]) -> dict[str, Lazy]:
    """The arrays of the convolutional part, without the prefix that data-parallel training adds to their names."""
    stripped = {name.removeprefix("module."): lazy for name, lazy in arrays.items()}
    return {name: lazy for name, lazy in stripped.items() if re.match(r"features\.[0-9]{1,4}\.", name)}


def read_safetensors(path: Path | str) -> tuple[dict[str, Lazy], str | None, bool]:
    with open_checked(path, ADVICE) as file:
        arrays = {name: lazy_array(path, name, each, ADVICE) for name, each in file.arrays.items()}
        about = file.about()
        family = about.get("variant") or file.metadata.get("variant")
    return torchvision_names(arrays), family if family in (*FAMILIES, ST_LPIPS) else None, CHECKSUM in about


def read_keras(path: Path | str) -> dict[str, Lazy]:
    """The weights of block1_conv1 and so on, under torchvision's names and in its layout."""
    try:
        import h5py
    except ImportError:
        raise WeightsError(f"{path}: Keras' .h5 files need h5py: pip install h5py") from None
    arrays = {}
    try:
        with h5py.File(path, "r") as file:
            blocks = VGG19 if "block3_conv4" in file else VGG16
            for (i, j), (index, _, _) in VGGConfig(blocks).convolutions().items():
                for each in datasets(path, file, f"block{i}_conv{j}"):
                    kind = "weight" if each.ndim == 4 else "bias"
                    arrays[f"features.{index}.{kind}"] = lazy_dataset(path, each)
    except HDF5_DAMAGE as error:
        raise WeightsError(f"{path}: a damaged or cut HDF5 file ({one_line(error)}); {SPOILT}") from None
    return arrays


# the exceptions that h5py raises for damaged files
HDF5_DAMAGE = (OSError, LookupError, TypeError, ValueError, ArithmeticError, RuntimeError, AttributeError)
MOST_ITEMS = 16  # in a layer's group; Keras' groups have four
MOST_CHUNK = 1 << 26  # bytes; a chunk has to fit in memory. VGG's largest array has 9 million


def datasets(path: Path | str, file: Any, group: str) -> list[Any]:
    """The datasets in a group of an HDF5 file; their numbers are floating-point and in this very file.

    Links to other files are not followed. Raises WeightsError if numbers are in another file or are not weights.
    """
    import h5py

    if not isinstance(file.get(group, getlink=True), h5py.HardLink):
        return []
    items = []

    def visit(_, item):
        items.append(item)
        return True if len(items) > MOST_ITEMS else None

    file[group].visititems(visit)  # which follows no links to other files
    if len(items) > MOST_ITEMS:
        raise WeightsError(f"{path}: {group!r} holds more than a layer's weights; {ADVICE}")
    found = [item for item in items if isinstance(item, h5py.Dataset)]
    for item in found:
        name = item.name[:80]
        if item.is_virtual or item.external:
            raise WeightsError(f"{path}: the numbers of {name!r} are in another file, which is not read; {ADVICE}")
        if item.dtype.kind != "f" or item.dtype.itemsize > 8:
            raise WeightsError(f"{path}: {name!r} holds {item.dtype.kind!r} numbers instead of weights; {ADVICE}")
        if item.chunks and math.prod(item.chunks) * item.dtype.itemsize > MOST_CHUNK:
            raise WeightsError(f"{path}: the chunks of {name!r} are too large to unpack safely; {ADVICE}")
    return found


def lazy_dataset(path: Path | str, dataset: Any) -> Lazy:
    """The Lazy of an h5py.Dataset, in the other files' layout. It reopens the file, which may be closed by then."""
    import h5py

    name, axes = dataset.name, (3, 2, 0, 1) if dataset.ndim == 4 else (0,)

    def read():
        try:
            with h5py.File(path, "r") as file, np.errstate(over="ignore"):
                return file[name][()].astype(np.float32).transpose(axes)
        except HDF5_DAMAGE as error:
            raise WeightsError(f"{path}: damaged or cut at {name[:80]!r} ({one_line(error)}); {SPOILT}") from None

    return Lazy(tuple(dataset.shape[axis] for axis in axes) if dataset.ndim in (1, 4) else dataset.shape, read)


def one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__


def architecture(path: Path | str, arrays: Mapping[str, Lazy]) -> Any:
    """The blocks of the VGG that has these names and shapes. Raises WeightsError, in one line, if there is none."""
    if not arrays:
        raise WeightsError(f"{path}: has no array named like a VGG's, such as features.0.weight; {ADVICE}")
    if any(name.endswith("running_mean") for name in arrays):
        raise WeightsError(f"{path}: this VGG has batch norm, which the content loss does not support; {ADVICE}")
    expected = {blocks: shapes(blocks) for blocks in NAMES}
    nearest = min(NAMES, key=lambda blocks: len(expected[blocks].keys() ^ arrays.keys()))
    if differing := sorted(expected[nearest].keys() ^ arrays.keys(), key=lambda name: (index_of(name), name)):
        how = "lacks" if differing[0] in expected[nearest] else "has in addition"
        raise WeightsError(
            f"{path}: is no VGG16 or VGG19: compared with {NAMES[nearest]} it {how} {differing[0][:80]!r}; {ADVICE}"
        )
    for name, shape in expected[nearest].items():
        if arrays[name].shape != shape:
            raise WeightsError(
                f"{path}: is no {NAMES[nearest]}: {name!r} is {arrays[name].shape}, not {shape}; {ADVICE}"
            )
    return nearest


def shapes(blocks: tuple) -> dict[str, tuple[int, ...]]:
    """{torchvision's name: shape} for all the VGG's weights and biases."""
    found = {}
    for index, cin, cout in VGGConfig(blocks).convolutions().values():
        found |= {f"features.{index}.weight": (cout, cin, 3, 3), f"features.{index}.bias": (cout,)}
    return found


def sha256(path: Path | str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
