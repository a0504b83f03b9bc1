"""Writes a generator for other programs, by the name of the file, and checks what was written with such a program."""

import importlib
import importlib.util
import keyword
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors.numpy import save

from ..errors import ConfigError, WeightsError
from ..files import write_whole
from ..models.architectures import Network
from ..tensor import Tensor, no_grad
from . import ncnn, onnx, torch
from .sketch import sketch

CLOSE, CLOSER = 1e-4, 1e-5  # how near to ours the pixels of other programs are, of a range of 1


class Format(NamedTuple):
    """write: (generator, file, metadata) → {path: its bytes}; peer: the package that checks it; run: (file, LR) → SR,
    both (N, 3, h, w) in [0, 1]; tolerance: how far that SR may be from ours."""

    write: Callable[[Network, Path, Mapping[str, str]], dict[Path, bytes]]
    peer: str
    run: Callable[[Path, np.ndarray], np.ndarray]
    tolerance: float


def check_name(path: Path) -> None:
    """Raise ConfigError for a suffix that is no format's, and for a file that is there already."""
    if path.suffix not in FORMATS:
        *suffixes, last = FORMATS
        raise ConfigError(f"{path}: a name ends in {', '.join(suffixes)} or {last}, which says what is written")
    if path.exists():
        raise ConfigError(f"{path} is there already: name another file with -o")


def export(generator: Network, path: Path, metadata: Mapping[str, str]) -> list[Path]:
    """Write the generator to `path`, and to files beside it if the format has several. Returns all of them.

    For `metadata` and what is raised, see `contents`.
    """
    files = contents(generator, path, metadata)
    for each, data in files.items():
        write_whole(each, data)
    return [*files]


def contents(generator: Network, path: Path, metadata: Mapping[str, str]) -> dict[Path, bytes]:
    """{path: its bytes} of all files that `export` writes.

    metadata   {key: text} about the generator, for the formats that have room for it

    Raises ConfigError for a file that is there already with other content.
    """
    about = {"scale": str(generator.config.scale), "range": "RGB in [0, 1], in and out", **metadata}
    files = FORMATS[path.suffix].write(generator, path, about)
    for each, data in files.items():
        if each.exists() and each.read_bytes() != data:
            raise ConfigError(f"{each} is there already: name another file with -o")
    return files


def check(generator: Network, path: Path) -> str:
    """What a program that reads the format says of the file: one line. Raises WeightsError if its pixels differ."""
    kind = FORMATS[path.suffix]
    if not importlib.util.find_spec(kind.peer):
        return f"not checked, since {kind.peer} is not installed (pip install {kind.peer})"
    if kind.peer == "torch" and torch.code(generator) is None:
        return "not checked, since PyTorch alone has no code for it; spandrel has"
    lr = np.random.default_rng(0).random((1, 3, 23, 37), dtype=np.float32)  # sides that no network folds as they are
    with no_grad():
        ours = generator.eval()(Tensor(lr.transpose(0, 2, 3, 1))).data.transpose(0, 3, 1, 2) / 2 + 0.5
    theirs = kind.run(path, lr)
    if theirs.shape != ours.shape or not (difference := np.abs(theirs - ours).max()) <= kind.tolerance:
        raise WeightsError(f"{path}: {kind.peer} makes other pixels of it than minisrgan: do not use it")
    return f"{kind.peer} makes the same pixels of it: the largest difference is {difference:.1g}"


def write_onnx(generator: Network, path: Path, metadata: Mapping[str, str]) -> dict[Path, bytes]:
    return {path: onnx.model(sketch(generator), metadata)}


def write_ncnn(generator: Network, path: Path, metadata: Mapping[str, str]) -> dict[Path, bytes]:
    text, numbers = ncnn.model(sketch(generator))
    return {path: text.encode(), path.with_suffix(".bin"): numbers}


def write_torch(generator: Network, path: Path, metadata: Mapping[str, str]) -> dict[Path, bytes]:
    state, code = torch.state_dict(generator), torch.code(generator)
    data = torch.pth(state) if path.suffix == ".pth" else save(state, dict(metadata))
    return {path: data} | ({module(path): code.encode()} if code else {})


def module(path: Path) -> Path:
    """The Python file beside weights: their name, so that it can be imported, and hides no module that it needs."""
    name = re.sub(r"\W", "_", path.stem, flags=re.ASCII)
    taken = keyword.iskeyword(name) or name in {"torch", "safetensors", "numpy", *sys.stdlib_module_names}
    return path.with_name(f"{'_' * name[0].isdigit()}{name}{'_' * taken}.py")


def run_onnx(path: Path, lr: np.ndarray) -> np.ndarray:
    peer: Any = importlib.import_module("onnxruntime")
    return peer.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"input": lr})[0]


def run_ncnn(path: Path, lr: np.ndarray) -> np.ndarray:
    peer: Any = importlib.import_module("ncnn")
    net = peer.Net()
    net.opt.use_vulkan_compute = False
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = net.opt.use_bf16_storage = False
    if net.load_param(str(path)) or net.load_model(str(path.with_suffix(".bin"))):
        raise WeightsError(f"{path}: ncnn does not load it")
    found = []
    for each in lr:
        extractor = net.create_extractor()
        extractor.input("data", peer.Mat(each).clone())
        found.append(np.array(extractor.extract("output")[1]))
    return np.stack(found)


def run_torch(path: Path, lr: np.ndarray) -> np.ndarray:
    peer: Any = importlib.import_module("torch")
    namespace: dict[str, Any] = {}
    exec(module(path).read_text(encoding="utf-8"), namespace)
    with peer.no_grad():
        return namespace["load"](str(path))(peer.from_numpy(lr)).numpy()


FORMATS = {
    ".onnx": Format(write_onnx, "onnxruntime", run_onnx, CLOSE),
    ".param": Format(write_ncnn, "ncnn", run_ncnn, CLOSE),
    ".safetensors": Format(write_torch, "torch", run_torch, CLOSER),
    ".pth": Format(write_torch, "torch", run_torch, CLOSER),
}
