"""Generators in files: those of a run, and those of the package."""

import reprlib
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import ConfigError, WeightsError
from ..models.generator import Generator, GeneratorConfig
from ..names import MODELS
from ..nn import check_fit
from .array_files import check_finite, read_arrays, say_if_unchecked, write_arrays

FOLDER = Path(__file__).parent  # of the package: what we trained
STAGES = ("gan", "stage1")  # of the generators in it, the best first
GENERATOR = "minisrgan generator"


def save_generator(path: Path | str, generator: Generator, **about: Any) -> None:
    """Write a generator and what is needed to build it again; `about`, how it was trained, is for people."""
    write_arrays(path, generator.state(), kind=GENERATOR, config=asdict(generator.config), trained=about)


def pack_generator(source: Path | str, path: Path | str, note: str) -> None:
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


def packaged(model: str | None = None, stage: str | None = None) -> Path:
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


def blend(a: Generator, b: Generator, alpha: float) -> Generator:
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


def load_generator(path: Path | str) -> Generator:
    """The generator in a file of `save_generator`, in evaluation mode. Raises WeightsError for another file."""
    arrays, metadata = read_arrays(path, damaged="the training that wrote it went wrong")
    if metadata.get("kind") != GENERATOR:
        raise WeightsError(f"{path}: holds no minisrgan generator; give a generator.safetensors of a run")
    try:
        config = typed(GeneratorConfig, metadata["config"])
    except (KeyError, TypeError, ConfigError) as error:
        raise WeightsError(f"{path}: its configuration makes no generator ({error})") from None
    try:
        check_fit(expected_arrays(config, len(arrays)), arrays)  # a few bytes may ask for a network of any size
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from None
    generator = Generator(config, np.random.default_rng(0))
    generator.load_state(arrays)
    say_if_unchecked(path, metadata)
    return generator.eval()


class Shape(NamedTuple):
    """In place of an array, where only its shape matters."""

    shape: tuple[int, ...]


def expected_arrays(config: GeneratorConfig, most: int) -> dict[str, Shape]:
    """{name: Shape} of the state of a Generator, without making one. Of more than `most` arrays it has the first.

    Each side of an array grows evenly with the channels and with the edge kernel: three small generators show how.
    """
    blocks = min(config.blocks, most // 5 + 1)  # a block has five arrays or more
    small, wider, longer = (
        Generator(
            replace(config, channels=channels, blocks=blocks, edge_kernel=edge), np.random.default_rng(0)
        ).arrays()
        for channels, edge in [(1, 1), (2, 1), (1, 3)]
    )
    return {
        name: Shape(
            tuple(
                a + (config.channels - 1) * (b - a) + (config.edge_kernel - 1) // 2 * (c - a)
                for a, b, c in zip(array.shape, wider[name].shape, longer[name].shape)
            )
        )
        for name, array in small.items()
    }


def typed(cls: Any, values: Mapping[str, Any]) -> Any:
    """A `cls` of these values. Raises TypeError for one that is not of its field's type; 1 will do for 1.0."""
    if not isinstance(values, dict):
        raise TypeError(f"{reprlib.repr(values)} has no settings")
    if unknown := sorted(values.keys() - {field.name for field in fields(cls)}):
        raise TypeError(f"there is no setting {reprlib.repr(unknown[0])}")
    for field in fields(cls):
        kinds: Any = field.type | int if field.type in (float, float | None) else field.type
        if field.name in values:
            value = values[field.name]
            if not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool):  # True is an int too
                raise TypeError(f"{field.name} cannot be {reprlib.repr(value)}")
    return cls(**values)
