"""VGG's weights in files, ours and other people's: which network they are of, and what input it expects.

    .safetensors    by torchvision's names and timm's, which are the same for the convolutions: features.0.weight
    .pth            by torchvision's names, in both formats of torch.save: torch_files.py
    .h5             by Keras' names, with h5py installed: block1_conv1

What kind of file it is, its first bytes say, not its name. The weights are (Cout, Cin, kh, kw) in these files, but in
Keras' (kh, kw, Cin, Cout), as in all of minisrgan.

A file rarely says which family its weights are of, and the shapes do not tell. Ours say it in their metadata, Keras'
are all caffe's, and torchvision's own files are known by their SHA-256. For any other, the user has to say.
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
    beginning,
    check_finite,
    check_regular,
    lazy_array,
    opened,
    say_unchecked,
    write_arrays,
)
from .torch_files import ZIP, read_torch

VGG_KIND = "minisrgan vgg"
NAMES = {VGG16: "VGG16", VGG19: "VGG19", SMALL: "VGG small"}
TORCHVISION = ("397923af", "dcbb9e9d")  # how the SHA-256 of its vgg16 and vgg19 begin: their names have it
HDF5 = b"\x89HDF\r\n\x1a\n"
ADVICE = "give a VGG16 or VGG19 as .safetensors, .pth or .h5, or let `minisrgan vgg fetch` get one"
SPOILT = "the file is spoilt: get it again"
EMBEDDED_NAME = "vgg-small"
EMBEDDED = Path(__file__).with_name("vgg-small.safetensors")  # distilled from VGG19, in the package
ST = "st-"  # before the name of a layer of the VGG16 of ST-LPIPS


def load_content(name: str, path: Path | str | None = None, family: str | None = None) -> VGGFeatures:
    """φ by the name of a content loss: "vgg-small", or a layer such as "vgg54" of the VGG in the file `path`, or a
    layer such as "st-vgg33" of the VGG16 of ST-LPIPS.

    "vgg-small" is vgg34 of the package's own, its last. Without a path the file is the VGG19 that `minisrgan vgg fetch`
    keeps. Raises WeightsError where there is none.
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
            "use the small VGG of the package with --content vgg-small"
        )
    return load_vgg(path or fetched(), name, family=family)


def knows_content(name: str) -> bool:
    """Whether `name` is one that `load_content` takes, given the weights."""
    try:
        blocks = VGG16 if name.startswith(ST) else VGG19
        return name == EMBEDDED_NAME or VGGConfig(blocks).index(name.removeprefix(ST)) >= 0
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
    """φ of a layer, by default of the last convolution, of the VGG in a file, by default the small one of the package.

    `layer` and `after_activation` are those of `VGGConfig.index`, `family` that of `open_vgg`. No more is read than
    the layer needs. Raises WeightsError for a file that is no VGG, ConfigError for a layer that it does not have.
    """
    path = path or EMBEDDED
    config, lazy = open_vgg(path, family)
    last = config.index(layer, after_activation)
    arrays = {name: read(path, name, each) for name, each in lazy.items() if index_of(name) <= last}
    return VGGFeatures(config, arrays, layer, after_activation, scale)


def index_of(name: str) -> int:
    return int(name.split(".")[1])


def read(path: Path | str, name: str, lazy: Lazy) -> np.ndarray:
    """An array of a file in our layout. Raises WeightsError if it is not finite."""
    array = lazy.read()
    check_finite(path, name, array, SPOILT)
    return np.ascontiguousarray(array.transpose(2, 3, 1, 0)) if array.ndim == 4 else array


def save_vgg(
    path: Path | str, config: VGGConfig, arrays: Mapping[str, np.ndarray], dtype: Any = np.float32, **about: Any
) -> None:
    """Write a VGG's weights, {"features.0.weight": (3, 3, Cin, Cout), …}, as `open_vgg` reads them."""
    outward = {name: (a.transpose(3, 2, 0, 1) if a.ndim == 4 else a).astype(dtype) for name, a in arrays.items()}
    write_arrays(path, outward, kind=VGG_KIND, variant=config.family, **about)


def open_vgg(path: Path | str, family: str | None = None) -> tuple[VGGConfig, dict[str, Lazy]]:
    """(VGGConfig, {"features.0.weight": Lazy, …}, in the files' layout) of a VGG in a file of any of the kinds.

    `family` is for files that do not say which one their weights are of. Raises WeightsError, in one line.
    """
    blocks, said, arrays = identify(path)
    if said and family and said != family:
        raise WeightsError(f"{path}: its weights are of the family {said}, not {family}: leave the family out")
    family = said or family
    if not family:
        raise WeightsError(
            f"{path}: does not say which input its weights expect: name their family, torchvision (RGB in 0..1 by mean "
            "and deviation) or caffe (BGR in 0..255 less the means), with --family"
        )
    return VGGConfig(blocks, family), arrays


def identify(path: Path | str) -> tuple[tuple, str | None, dict[str, Lazy]]:
    """(the blocks of the VGG in a file, its family or None where the file does not say, {name: Lazy})."""
    arrays, family, checked = read_file(path)
    blocks = architecture(path, arrays)
    if not (family and checked) and sha256(path)[:8] in TORCHVISION:
        family, checked = "torchvision", True
    if not checked:
        say_unchecked(path)
    return blocks, family, arrays


def read_file(path: Path | str) -> tuple[dict[str, Lazy], str | None, bool]:
    """({name as torchvision has it: Lazy}, the family that the file says or None, whether it has a checksum)."""
    check_regular(path, ADVICE)
    start = beginning(path)
    if start[8:9] == b"{":  # after the 8 bytes of its header's length
        return read_safetensors(path)
    if start.startswith((ZIP, b"\x80")):
        return torchvision_names(read_torch(path)), None, start.startswith(ZIP)  # which has one for each member
    if start.startswith(HDF5):
        return read_keras(path), "caffe", False
    return read_safetensors(path)  # which says what is wrong


def torchvision_names(arrays: Mapping[str, Lazy]) -> dict[str, Lazy]:
    """Those that belong to the convolutional part, without what data-parallel training puts before their names."""
    stripped = {name.removeprefix("module."): lazy for name, lazy in arrays.items()}
    return {name: lazy for name, lazy in stripped.items() if re.match(r"features\.[0-9]{1,4}\.", name)}


def read_safetensors(path: Path | str) -> tuple[dict[str, Lazy], str | None, bool]:
    with opened(path, ADVICE) as file:
        arrays = {name: lazy_array(path, name, each.shape, ADVICE) for name, each in file.arrays.items()}
        about = file.about()
        family = about.get("variant") or file.metadata.get("variant")
    return torchvision_names(arrays), family if family in (*FAMILIES, ST_LPIPS) else None, CHECKSUM in about


def read_keras(path: Path | str) -> dict[str, Lazy]:
    """The weights of block1_conv1 and so on, by torchvision's names and in its layout."""
    try:
        import h5py
    except ImportError:
        raise WeightsError(f"{path}: to read Keras' .h5 files, h5py is needed: pip install h5py") from None
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


HDF5_DAMAGE = (OSError, LookupError, TypeError, ValueError, ArithmeticError, RuntimeError, AttributeError)  # by h5py
MOST_ITEMS = 16  # of a layer's group; Keras' have four
MOST_CHUNK = 1 << 26  # bytes, which have to be in memory at once; VGG's largest array has 9 million


def datasets(path: Path | str, file: Any, group: str) -> list[Any]:
    """The datasets in a group of an HDF5 file that are of floating-point numbers in this very file.

    A link to another file is not followed. Raises WeightsError where the numbers are elsewhere or no weights.
    """
    import h5py

    if not isinstance(file.get(group, getlink=True), h5py.HardLink):
        return []
    items = []

    def visit(_, item):
        items.append(item)
        return True if len(items) > MOST_ITEMS else None

    file[group].visititems(visit)  # follows no links to other files
    if len(items) > MOST_ITEMS:
        raise WeightsError(f"{path}: {group!r} holds more than a layer's weights; {ADVICE}")
    found = [item for item in items if isinstance(item, h5py.Dataset)]
    for item in found:
        name = item.name[:80]
        if item.is_virtual or item.external:
            raise WeightsError(f"{path}: the numbers of {name!r} are in another file, which is not read; {ADVICE}")
        if item.dtype.kind != "f" or item.dtype.itemsize > 8:
            raise WeightsError(f"{path}: {name!r} holds {item.dtype.kind!r} numbers, where weights should be; {ADVICE}")
        if item.chunks and math.prod(item.chunks) * item.dtype.itemsize > MOST_CHUNK:
            raise WeightsError(f"{path}: {name!r} is in chunks that are too large to unpack safely; {ADVICE}")
    return found


def lazy_dataset(path: Path | str, dataset: Any) -> Lazy:
    """Lazy of an h5py.Dataset, whose file will be closed, in the layout of the others."""
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
    """The blocks of the VGG whose names and shapes these are. Raises WeightsError, in one line, if there is none."""
    if not arrays:
        raise WeightsError(f"{path}: holds nothing named features.0.weight or the like, as a VGG's file does; {ADVICE}")
    if any(name.endswith("running_mean") for name in arrays):
        raise WeightsError(f"{path}: a VGG with batch norm, which the content loss is not made for; {ADVICE}")
    expected = {blocks: shapes(blocks) for blocks in NAMES}
    nearest = min(NAMES, key=lambda blocks: len(expected[blocks].keys() ^ arrays.keys()))
    if differing := sorted(expected[nearest].keys() ^ arrays.keys(), key=lambda name: (index_of(name), name)):
        where = "lacks" if differing[0] in expected[nearest] else "has besides"
        raise WeightsError(
            f"{path}: is no VGG16 or VGG19: of {NAMES[nearest]} it {where} {differing[0][:80]!r}; {ADVICE}"
        )
    for name, shape in expected[nearest].items():
        if arrays[name].shape != shape:
            raise WeightsError(
                f"{path}: is no {NAMES[nearest]}: {name!r} is {arrays[name].shape}, not {shape}; {ADVICE}"
            )
    return nearest


def shapes(blocks: tuple) -> dict[str, tuple[int, ...]]:
    """{torchvision's name: shape} of all its weights and biases."""
    found = {}
    for index, cin, cout in VGGConfig(blocks).convolutions().values():
        found |= {f"features.{index}.weight": (cout, cin, 3, 3), f"features.{index}.bias": (cout,)}
    return found


def sha256(path: Path | str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
