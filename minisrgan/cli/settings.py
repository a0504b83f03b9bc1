"""`minisrgan train --settings FILE`: a training's settings in a TOML file, or in the config.json of a run.

The names are those of the options (`steps`, `loss_weights`; - and _ are the same) and those of TrainConfig, whose parts
are tables (`[generator]`, `[pretrain]`). Paths are seen from the file's folder. An option given beside it wins.
"""

from __future__ import annotations

import argparse
import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ..errors import ConfigError
from ..names import STAGES

if TYPE_CHECKING:
    from ..training.config import TrainConfig

PATHS = "data data_lr weights vgg out".split()
RECORDED = "photos held_out vgg_sha256 steps_before".split()  # what config.json notes of a run, and is no setting
INSTEAD = {"steps": "minutes", "minutes": "steps"}  # of each other
BESIDE = ("settings", "resume")  # options that are no settings
PARTS = "generator discriminator pretrain gan".split()  # of TrainConfig, each a table


class Settings:
    """The settings in a file.

    path       the file
    training   a whole TrainConfig as its to_dict writes it, as a config.json has one; or None
    fields     {field of TrainConfig: value}, of which a table changes only what it names
    options    {option: value}, of those that are not in TrainConfig
    """

    def __init__(self, path: Path | str) -> None:
        """Raises ConfigError for a file that is neither TOML nor JSON, and for a name that no setting has."""
        from ..training.config import TrainConfig

        self.path = Path(path)
        if self.path.is_dir():  # of a run
            self.path /= "config.json"
        values = {name.replace("-", "_"): value for name, value in read(self.path).items() if name not in RECORDED}
        self.training = values.pop("training", None)
        if "stages" in values:  # so config.json has them
            stages = values.pop("stages")
            one = isinstance(stages, list) and len(stages) == 1
            values["stage"] = "both" if stages == [*STAGES] else stages[0] if one else stages
        names = [field.name for field in fields(TrainConfig) if field.name != "regulariser"]  # which changes D too
        self.fields = {name: value for name, value in values.items() if name in names}
        self.options = {name: value for name, value in values.items() if name not in names and value is not None}
        if self.fields.get("vgg") is not None:
            self.fields["vgg"] = self.located("vgg", self.fields["vgg"])

    def located(self, name: str, path: Any) -> str:
        """A path in the file, as seen from its folder. Raises ConfigError for what is no path."""
        if not isinstance(path, str) or not path or "\0" in path:
            raise ConfigError(f"{self.path}: {name} is a path, a text in quotation marks, not {path!r}")
        return str((self.path.parent / path).resolve())

    def give(self, args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
        """Set the options that were not given on the command line. They are checked as if they had been.

        Raises ConfigError.
        """
        options = {*vars(parser.parse_args([]))} - {*BESIDE, "run", "parser"}
        check_names(self.path, self.options, options | {*self.fields} | {*names_of_fields()})
        words = [word for name, value in self.options.items() for word in self.words(name, value)]
        named = {term for term, _ in [*(args.loss_weights or []), *(args.share or [])]}
        missing = {
            name
            for name, value in self.options.items()
            if value is not False and all(getattr(args, each) is None for each in (name, INSTEAD.get(name, name)))
        }

        def refuse(message: str) -> NoReturn:
            raise ConfigError(f"{self.path}: {message}")

        parser.error = refuse
        given = vars(parser.parse_args(words))
        for name in self.options:
            if name in ("loss_weights", "share"):
                before = [pair for pair in given[name] if pair[0] not in named]
                setattr(args, name, [*before, *(getattr(args, name) or [])] or None)
            elif name in missing:
                setattr(args, name, given[name])

    def words(self, name: str, value: Any) -> list[str]:
        """A setting as it would be given on the command line, where only true can be said. Raises ConfigError."""
        flag = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            return [flag]
        if name in PATHS:
            paths = [self.located(name, each) for each in (value if isinstance(value, list) else [value])]
            return [flag, *paths] if isinstance(value, list) else [f"{flag}={paths[0]}"]
        if isinstance(value, dict):
            return [flag, *(f"{key}={span(each)}" for key, each in value.items())]
        if isinstance(value, list):
            return [flag, *map(str, value)]
        return [f"{flag}={value}"]

    def apply(self, config: TrainConfig, preset: str | None) -> TrainConfig:
        """The configuration with the file's fields. Steps take the place of the preset's minutes, and a weight that of
        its share. Raises ConfigError."""
        if self.training is not None and preset:
            raise ConfigError(f"it is a whole configuration: leave out the preset {preset}")
        values = config.to_dict() if self.training is None else self.training
        try:
            for name, value in self.fields.items():
                if name in PARTS and isinstance(value, dict):
                    part = values[name]
                    if value.get("architecture") in (None, part.get("architecture")):
                        check_names(f"[{name}]", value, part)
                        value = part | ({"minutes": 0.0} if "steps" in value else {}) | value
                values = values | {name: value}
                share = name.replace("_weight", "_share")
                if share != name and share in values and self.fields.get(share) is None:
                    values[share] = None
            return type(config).from_dict(values)
        except (TypeError, KeyError, AttributeError) as error:
            raise ConfigError(f"not a training configuration ({error})") from None


def read(path: Path) -> dict[str, Any]:
    """What is in a file of TOML or, if its name says so, of JSON. Raises ConfigError."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        values = json.loads(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
        if not isinstance(values, dict):
            raise ValueError("it has no names")
        return values
    except (FileNotFoundError, NotADirectoryError):
        raise ConfigError(f"{path}: there is no such file: --settings names a TOML file, or a run") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}): see docs/training.md for what it may hold") from None


def names_of_fields() -> list[str]:
    """The names that TrainConfig's settings have."""
    from ..training.config import TrainConfig

    return [field.name for field in fields(TrainConfig)]


def check_names(where: object, values: Mapping[str, Any], known: Iterable[str]) -> None:
    """Raise ConfigError for the first name that is not known, with the nearest one that is."""
    known = sorted(known)
    for name in values:
        if name not in known:
            near = get_close_matches(name, known, 1)
            advice = f": did you mean {near[0]!r}?" if near else f": there are {', '.join(known)}"
            raise ConfigError(f"{where}: there is no setting {name!r}{advice}")


def span(value: Any) -> str:
    """A number, or a range of two as --degrade takes it."""
    return "..".join(map(str, value)) if isinstance(value, list) else str(value)
