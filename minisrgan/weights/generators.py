"""Reading and writing generators: a run's, and those that ship with the package."""

import json
import os
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import ConfigError, WeightsError
from ..models.architectures import ARCHITECTURES, SRRESNET, Config, Network, build, name_of
from ..names import MODELS
from ..nn import check_fit
from .array_files import Lazy, check_finite, read_arrays, say_if_unchecked, write_arrays
from .shared import read_shared, recognised
from .torch_layout import from_torch, our_shape, torch_name

FOLDER = Path(__file__).parent  # where the package's trained generators are
STAGES = ("gan", "stage1")  # after which they were saved, the best first
GENERATOR = "minisrgan generator"


def save_generator(path: Path | str, generator: Network, **about: Any) -> None:
    """Write a generator with the configuration to build it again. `about` tells people how it was trained."""
    write_arrays(path, generator.state(), kind=GENERATOR, config=asdict(generator.config), trained=about)


def pack_generator(source: Path | str, path: Path | str, note: str) -> None:
    """Write the generator in the file `source` to `path` in half precision, as the package's generators are.

    `note` says how it was trained. Half precision has 11 bits: it changes a weight by at most 1/2048 of its value.
    Raises WeightsError if a weight is too large for half precision.
    """
    generator = load_generator(source)
    with np.errstate(over="ignore"):
        halves = {name: array.astype(np.float16) for name, array in generator.state().items()}
    for name, array in halves.items():
        check_finite(source, name, array, "half precision ends at 65504: keep this generator as it is")
    write_arrays(path, halves, kind=GENERATOR, config=asdict(generator.config), trained={"note": note})


def provenance(paths: Sequence[Path]) -> dict[str, str]:
    """What files say about the generators in them, as {key: text}: how they were trained, and their licence."""
    found = {"source": " and ".join(path.name for path in paths)}
    trained = [read_arrays(path)[1].get("trained") for path in paths if read_shared(path) is None]
    if notes := [each.get("note") or json.dumps(each) for each in trained if isinstance(each, dict)]:
        found["trained"] = "; ".join(map(str, notes))
    if all(path.parent == FOLDER for path in paths):
        found["license"] = "MIT, the minisrgan authors"
    return found


def packaged(model: str | None = None, stage: str | None = None) -> Path:
    """The path of one of the package's generators: `model` is "small" or "tiny", `stage` "stage1" or "gan".

    If either is not given, the best available is taken: the GAN stage before stage 1, then small before tiny.
    Raises WeightsError if the package has no such file.
    """
    for each_stage in [stage] if stage else STAGES:
        for each_model in [model] if model else MODELS:
            if (path := FOLDER / f"{each_model}-{each_stage}.safetensors").is_file():
                return path
    wanted = f"{model or 'MODEL'}-{stage or 'STAGE'}.safetensors"
    raise WeightsError(f"{FOLDER / wanted}: the package has no such weights; train some with `minisrgan train`")


def blend(a: Network, b: Network, alpha: float) -> Network:
    """A generator with the weights (1 - α)·a + α·b (Wang et al. 2019, "Deep network interpolation", equation 1).

    If `a` is a generator after stage 1 and `b` is the same one after the GAN stage, α goes from fidelity to texture.
    Raises ConfigError for generators of two configurations, and for an α that is not from 0 to 1.
    """
    if a.config != b.config:
        raise ConfigError(f"only generators of one configuration can be blended, not {a.config} and {b.config}")
    if not 0 <= alpha <= 1:
        raise ConfigError(f"a blend goes from 0, the first generator, to 1, the second, and is not {alpha}")
    blended, other = build(a.config, np.random.default_rng(0)), b.state()
    blended.load_state({name: (1 - alpha) * array + alpha * other[name] for name, array in a.state().items()})
    return blended.eval()


def load_generator(path: Path | str) -> Network:
    """The generator in a file that `save_generator` wrote, or that others share (shared.py), in evaluation mode. Of a
    run's folder, it is the generator as last saved. Raises WeightsError for other files."""
    if os.path.isfile(of_run := Path(path) / "generator.safetensors"):  # False for names that no file can have
        path = of_run
    if (shared := read_shared(path)) is not None:
        return shared_generator(path, shared)
    arrays, metadata = read_arrays(path, damaged="the training that wrote it went wrong")
    if metadata.get("kind") != GENERATOR:
        raise WeightsError(f"{path}: is not a minisrgan generator; give a generator.safetensors of a run")
    try:
        config = typed_config(metadata["config"])
    except (KeyError, TypeError, ConfigError) as error:
        raise WeightsError(f"{path}: its configuration is not a generator's ({error})") from None
    try:
        # before the network is built: a few bytes of configuration can ask for one of any size
        check_fit(expected_arrays(config, len(arrays)), arrays)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from None
    generator = build(config, np.random.default_rng(0))
    generator.load_state(arrays)
    say_if_unchecked(path, metadata)
    return generator.eval()


def shared_generator(path: Path | str, arrays: Mapping[str, Lazy]) -> Network:
    """The generator that the arrays of another program's file make up."""
    config = recognised(path, {name: each.shape for name, each in arrays.items()})
    expected = expected_arrays(config, len(arrays))
    try:
        check_fit({torch_name(name): each for name, each in expected.items()},
                  {name: Shape(our_shape(each.shape)) for name, each in arrays.items()})  # fmt: skip
    except WeightsError as error:
        raise WeightsError(f"{path}: seems to be {name_of(config)}, but {error}") from None
    read = {name: arrays[torch_name(name)].read() for name in expected}
    for name, array in read.items():
        check_finite(path, torch_name(name), array, "the training that wrote it went wrong")
    generator = build(config, np.random.default_rng(0))
    generator.load_state(from_torch(generator, read))
    return generator.eval()


class Shape(NamedTuple):
    """Stands in for an array of which only the shape matters."""

    shape: tuple[int, ...]


def expected_arrays(config: Config, most: int) -> dict[str, Shape]:
    """{name: Shape} for the state of a generator, without building it. If it has more than `most`, only the first.

    Each side of an array grows linearly with some settings. Small generators show how.
    """
    grows = ARCHITECTURES[name_of(config)].grows
    blocks = min(config.blocks, most // 3 + 1)  # a block has three arrays or more
    settings: dict[str, Any] = {name: first for name, (first, _) in grows.items()}
    least = replace(config, blocks=blocks, **settings)
    rng = np.random.default_rng(0)
    shapes = {name: array.shape for name, array in build(least, rng).arrays().items()}
    expected = dict(shapes)
    for setting, (first, second) in grows.items():
        steps = (getattr(config, setting) - first) // (second - first)
        changed: dict[str, Any] = {setting: second}
        for name, array in build(replace(least, **changed), rng).arrays().items():
            grown = zip(expected[name], array.shape, shapes[name])
            expected[name] = tuple(side + steps * (b - a) for side, b, a in grown)
    return {name: Shape(shape) for name, shape in expected.items()}


def typed_config(values: Any) -> Config:
    """A generator's configuration from the values that `asdict` gave. Raises TypeError and ConfigError for others."""
    named = isinstance(values, dict) and "architecture" in values
    architecture = values["architecture"] if named else SRRESNET
    if architecture not in [*ARCHITECTURES][named:]:  # that of the first has no name in files
        raise TypeError(f"there is no architecture {reprlib.repr(architecture)}")
    others = {name: value for name, value in values.items() if name != "architecture"} if named else values
    return typed(ARCHITECTURES[architecture].config, others)


def typed(cls: Any, values: Mapping[str, Any]) -> Any:
    """The dataclass `cls` with these values. Raises TypeError if one does not have its field's type; a float may be
    given as an int."""
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
