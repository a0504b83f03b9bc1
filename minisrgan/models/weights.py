"""Weights in files: safetensors, which hold arrays and text and can run nothing."""

import json
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ..errors import ConfigError, WeightsError
from ..imaging.files import write_whole
from .generator import Generator, GeneratorConfig

FOLDER = Path(__file__).parent.parent / "weights"  # of the package: what we trained
MODELS, STAGES = ("small", "tiny"), ("gan", "stage1")  # of the generators in it, the best first
KEY = "minisrgan"  # of our metadata in a file
GENERATOR = "minisrgan generator"


def write_arrays(path, arrays, **metadata):
    """Write {name: NumPy array} with JSON-able metadata, whole or not at all."""
    text = {KEY: json.dumps(metadata)}  # under one key: of several, safetensors would mix up the order
    write_whole(path, save({name: np.ascontiguousarray(array) for name, array in arrays.items()}, text))


def read_arrays(path, advice="give a generator.safetensors of a run"):
    """({name: array}, metadata) of a file that `write_arrays` wrote. Raises WeightsError for any other."""
    with opened(path, advice) as file:
        return {name: file.get_tensor(name) for name in file.keys()}, metadata_of(file)


@contextmanager
def opened(path, advice):
    """A safetensors file to read from. WeightsError, if there is none, or whatever goes wrong while it is read."""
    try:
        with safe_open(path, framework="numpy") as file:
            yield file
    except FileNotFoundError:
        raise WeightsError(f"{path}: there is no such file; {advice}") from None
    except (SafetensorError, OSError, ValueError, TypeError, AttributeError) as error:  # the last two: bfloat16
        raise WeightsError(
            f"{path}: not a safetensors file, or a damaged one ({error}); {what_to_do(path, advice)}"
        ) from None


def metadata_of(file):
    """What `write_arrays` was told of the arrays; {} in a file from elsewhere."""
    return json.loads((file.metadata() or {}).get(KEY, "{}"))


def what_to_do(path, advice):
    start = beginning(path)
    if Path(path).is_dir():
        return "it is a folder: name the file in it"
    if not start:
        return "it is empty: download or copy it again"
    if start.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer: run `git lfs pull` to get the file itself"
    if start.lstrip().startswith(b"<"):
        return "it is a web page, such as a server sends instead of a file: get the file itself"
    return advice


def beginning(path):
    """The first 64 bytes of a file; none of what cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(64)
    except OSError:
        return b""


def check_finite(path, name, array, advice):
    if not np.isfinite(array).all():
        raise WeightsError(f"{path}: {name!r} holds NaN or infinity; {advice}")


def save_generator(path, generator, **about):
    """Write a generator and what is needed to build it again; `about`, how it was trained, is for people."""
    write_arrays(path, generator.state(), kind=GENERATOR, config=asdict(generator.config), trained=about)


def pack_generator(source, path, note):
    """Write the generator in a file again, in half precision, with a note on how it was trained: as the package's are.

    Half precision has 11 bits: it moves a weight by at most 1/2048 of itself. Raises WeightsError for a generator with
    a number that it cannot hold.
    """
    generator = load_generator(source)
    with np.errstate(over="ignore"):
        halves = {name: array.astype(np.float16) for name, array in generator.state().items()}
    for name, array in halves.items():
        check_finite(source, name, array, "half precision ends at 65504: keep this generator as it is")
    write_arrays(path, halves, kind=GENERATOR, config=asdict(generator.config), trained={"note": note})


def packaged(model=None, stage=None):
    """The file of a generator of the package: of a model, "small" or "tiny", after a stage, "stage1" or "gan".

    Of what is not said, the best that is there: one after the GAN stage before any after stage 1, small before tiny.
    Raises WeightsError where the package has no such file.
    """
    for each_stage in [stage] if stage else STAGES:
        for each_model in [model] if model else MODELS:
            if (path := FOLDER / f"{each_model}-{each_stage}.safetensors").is_file():
                return path
    wanted = f"{model or 'MODEL'}-{stage or 'STAGE'}.safetensors"
    raise WeightsError(f"{FOLDER / wanted}: the package has no such weights; train some with `minisrgan train`")


def blend(a, b, alpha):
    """The generator of the weights (1 - α)·a + α·b: between one after stage 1 and one after the GAN stage that began
    with it, from fidelity to texture. Wang et al. 2019, "Deep network interpolation", equation 1.

    Raises ConfigError for generators of two configurations, and for an α that is not from 0 to 1.
    """
    if a.config != b.config:
        raise ConfigError(f"only generators of one configuration can be blended, not {a.config} and {b.config}")
    if not 0 <= alpha <= 1:
        raise ConfigError(f"a blend is from 0, the first generator, to 1, the second, not {alpha}")
    made, other = Generator(a.config, np.random.default_rng(0)), b.state()
    made.load_state({name: (1 - alpha) * array + alpha * other[name] for name, array in a.state().items()})
    return made.eval()


def load_generator(path):
    """The generator in a file of `save_generator`, in evaluation mode. Raises WeightsError for another file."""
    arrays, metadata = read_arrays(path)
    if metadata.get("kind") != GENERATOR:
        raise WeightsError(f"{path}: holds no minisrgan generator; give a generator.safetensors of a run")
    try:
        generator = Generator(GeneratorConfig(**metadata["config"]), np.random.default_rng(0))
    except (KeyError, TypeError, ConfigError) as error:
        raise WeightsError(f"{path}: its configuration makes no generator ({error})") from None
    for name, array in arrays.items():
        check_finite(path, name, array, "the training that wrote it went wrong")
    try:
        generator.load_state(arrays)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from None
    return generator.eval()
