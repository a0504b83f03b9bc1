"""A run's folder: its settings, its measurements, and a state from which the training can be resumed.

config.json                      the TrainConfig, and where the photos were
log.csv                          a row for each step
cost.csv                         what a step cost: a row for each stage, or for the part of it after a stop
checkpoint.safetensors           everything that the next step depends on
checkpoint-gan-000040.safetensors, ...   earlier states, to go back to if the training explodes
generator-pretrain.safetensors   G at the end of stage 1
generator.safetensors            G as last saved
curves.png, samples/             pictures, drawn by report.py
report.html                      the page of the run, made by run_page.py
looks/                           images and figures for it, kept by looks.py
run.lock                         locked by the one process that writes here; it names that process

A folder with a config.json is a run. config.json is written last, so every run has a state to start from.
"""

from __future__ import annotations

import csv
import json
import math
import os
import re
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ..errors import ConfigError, DivergedError, WeightsError
from ..files import PART, lock_file, make_folder, remove_leftovers, write_whole
from ..names import STAGES
from ..weights.array_files import read_arrays, say_if_unchecked, write_arrays
from ..weights.generators import save_generator
from .config import TrainConfig

if TYPE_CHECKING:
    from .trainer import Trainer

COLUMNS: Sequence[str] = (
    "stage step rate loss_g loss_content loss_pixel loss_adversarial loss_tv loss_grid "
    "grad_content grad_pixel grad_adversarial grad_tv grad_grid "
    "weight_pixel weight_adversarial weight_tv weight_grid grad_g loss_d penalty grad_d "
    "d_real d_fake d_right d_doubt detail sameness drift psnr health rollbacks seconds"
).split()
TEXTS = ("stage", "health")  # the columns that hold text
CHECKPOINT = "minisrgan checkpoint"
KEPT = 3  # how many earlier states are kept


def all_text(values: Any) -> Any:
    return all(isinstance(value, str) for value in values)


def has_hashes(photos: Any) -> Any:
    """Whether it is {name: hash}."""
    return isinstance(photos, dict) and all_text(photos.values())


def is_photos(value: Any) -> bool:
    """Whether it is a path or several."""
    return isinstance(value, str) or isinstance(value, list) and all_text(value)


def is_degradation(value: Any) -> bool:
    """Whether it is {name: [least, most]}, as imaging.degrade has them."""
    return isinstance(value, dict) and all(
        isinstance(each, list) and len(each) == 2 and all(type(part) in (int, float) for part in each)
        for each in value.values()
    )  # fmt: skip


PHOTOS = ("data", "data_lr", "degrade")  # the entries of config.json that say what the photos are
ABOUT = {  # further entries of config.json: (which values are valid, a function that checks a value)
    "data": ("a folder, several or null", lambda data: data is None or is_photos(data)),
    "stages": (
        "pretrain, gan or both in this order",
        lambda stages: isinstance(stages, list) and stages in ([*STAGES], *([stage] for stage in STAGES)),
    ),
    "photos": (  # the first versions wrote the names alone
        "a list of names, or each with its hash",
        lambda photos: has_hashes(photos) or isinstance(photos, list) and all_text(photos),
    ),
}
SINCE = {  # the same for entries that the first versions did not write
    "data_lr": ("a folder or several", is_photos),
    "degrade": ("ranges by name", is_degradation),
    "held_out": ("names, each with its hash", has_hashes),
    "vgg_sha256": ("a hash or null", lambda vgg: vgg is None or isinstance(vgg, str)),
    "steps_before": ("a list", lambda before: isinstance(before, list)),  # when --resume lengthened a stage
    "sync_batch_norm": ("true or false", lambda sync: isinstance(sync, bool)),
}


def is_count(value: Any) -> int:
    return type(value) is int and 0 <= value < 1 << 53


def is_place(value: Any) -> Any:
    """Whether it is the stage and the step of a state."""
    return isinstance(value, list) and len(value) == 2 and value[0] in STAGES and is_count(value[1])


def is_shares_state(value: Any) -> Any:
    """Whether it is the state of a shares.Shares: its means."""
    return isinstance(value, dict) and all(
        isinstance(mean, list) and len(mean) == 3 and all(type(part) in (int, float) for part in mean)
        and all(0 <= part < math.inf for part in mean)
        for mean in value.values()
    )  # fmt: skip


STATE = {  # a checkpoint's entries beside its arrays: a function that checks the value
    "stage": lambda stage: stage in STAGES,
    "step": is_count,
    "adam": lambda steps: isinstance(steps, dict) and steps.keys() == {"g", "d"} and all(map(is_count, steps.values())),
    "crops": lambda state: isinstance(state, dict),  # NumPy checks what is in these two
    "noise": lambda state: isinstance(state, dict),
    "shares": is_shares_state,
    "rollbacks": is_count,
    "kept": lambda kept: kept is None or isinstance(kept, bool),  # the first versions wrote neither this
    "back": lambda back: back is None or is_place(back),  # nor this
    "seconds": lambda seconds: seconds is None or type(seconds) in (int, float) and 0 <= seconds < math.inf,  # nor this
}


class Run:
    """The folder of one training."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.checkpoint = self.folder / "checkpoint.safetensors"
        self.generator = self.folder / "generator.safetensors"
        self.pretrained = self.folder / "generator-pretrain.safetensors"
        self.log = self.folder / "log.csv"
        self.cost = self.folder / "cost.csv"
        self.lock_path = self.folder / "run.lock"
        self._lock = None  # the open lock file, while this Run holds the lock
        self._newest = None  # the state in `checkpoint`: stage, step, and whether it is kept to go back to
        self._back = None  # the (stage, step) to which the run last went back

    @classmethod
    def create(cls, folder: Path | str, config: TrainConfig, trainer: Trainer | None = None, **about: Any) -> Self:
        """A new run, with the trainer's initial state. Its folder is locked, as by `lock`.

        Raises ConfigError for a folder that is not empty: nothing is overwritten.
        """
        run = cls(folder)
        run.check_new()
        run.lock()
        try:
            run.check_new()  # another process may have been quicker
            write_whole(run.log, (",".join(COLUMNS) + "\n").encode())
            if trainer:
                run.save(trainer)
            run.describe(config, **about)
        except BaseException:
            run.unlock()
            raise
        return run

    def describe(self, config: TrainConfig, **about: Any) -> None:
        """Write config.json."""
        text = json.dumps({"training": config.to_dict(), **about}, indent=2)
        write_whole(self.folder / "config.json", text.encode())

    def check_new(self) -> None:
        """Raise ConfigError unless the folder is empty. Files that a killed `create` left behind do not count."""
        if self.folder.is_file():
            raise ConfigError(f"{self.folder} is there already, and is a file: name a folder with --out")
        if self.folder.exists() and not self._only_begun():
            resume = f", or --resume {self.folder}" if (self.folder / "config.json").exists() else ""
            raise ConfigError(f"{self.folder} is there already, and is not empty: choose another --out{resume}")

    def _only_begun(self):
        """Whether the folder has only files that `create` writes before config.json, and no step was taken."""
        begun = {path.name for path in self.folder.iterdir() if not path.name.startswith(PART)} - {self.lock_path.name}
        if self.log.name in begun and len(self.log.read_bytes().splitlines()) <= 1:
            begun -= {path.name for path in (self.log, self.pretrained, self.generator, self.checkpoint)}
        return not begun

    def lock(self) -> None:
        """Lock the folder against other writers, until `unlock` or until the process ends, however it ends.

        Unfinished files of a writer that was killed are removed. Raises ConfigError, which names the other process in
        one line, if another process has locked the folder.
        """
        if self._lock:
            return
        make_folder(self.folder)
        try:
            self._lock = lock_file(self.lock_path)
        except BlockingIOError as error:
            raise ConfigError(
                f"{self.folder}: another training writes here ({error.strerror}): let it end, or stop it, or choose "
                "another --out"
            ) from None
        for folder in (self.folder, self.folder / "samples", self.folder / "looks"):
            remove_leftovers(folder)

    def unlock(self) -> None:
        if self._lock:
            self._lock.truncate(0)
            self._lock.close()
            self._lock = None

    __del__ = unlock

    def config(self) -> tuple[TrainConfig, dict[str, Any]]:
        """(TrainConfig, the further entries that `create` was given). Raises ConfigError for an invalid file."""
        path = self.folder / "config.json"
        try:
            about = json.loads(path.read_text(encoding="utf-8"))
            config = TrainConfig.from_dict(about.pop("training"))
            for name, (kind, is_valid) in (ABOUT | {name: SINCE[name] for name in SINCE if name in about}).items():
                if not is_valid(about[name]):
                    raise ConfigError(f"{name!r} is {kind}, not {json.dumps(about[name])}")
        except (FileNotFoundError, NotADirectoryError):
            raise ConfigError(
                f"{self.folder} is not the folder of a run, which has a config.json: "
                "name one that `minisrgan train` made"
            ) from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            problem = f"there is no {error} in it" if isinstance(error, KeyError) else error
            raise ConfigError(f"{path}: is not the configuration of a run ({problem}): undo its changes") from None
        return config, about

    def append(self, rows: Iterable[dict[str, Any]]) -> None:
        """Add measurements to the log, {column: value} for each step."""
        with open(self.log, "a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, COLUMNS, lineterminator="\n").writerows(rows)

    def add_cost(self, stage: str, first: int, last: int, device: str, figures: Mapping[str, float]) -> None:
        """Add what the steps after `first` up to `last` have cost to cost.csv: the figures of cost.py."""
        row = {"stage": stage, "after": first, "to": last, "device": device}
        row |= {name: f"{value:.4g}" for name, value in figures.items()}
        new = not self.cost.exists()
        with open(self.cost, "a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(row), lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerow(row)

    def step_seconds(self, stage: str) -> float | None:
        """The mean seconds of a stage's steps, by cost.csv; None if it does not say, as before the stage's end."""
        try:
            with open(self.cost, newline="", encoding="utf-8") as file:
                rows = [row for row in csv.DictReader(file) if row["stage"] == stage]
            steps = [int(row["to"]) - int(row["after"]) for row in rows]
            total = sum(n * float(row["ms"]) for n, row in zip(steps, rows))
            return 1e-3 * total / sum(steps)
        except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError, csv.Error):
            return None

    def rows(self, most: int | None = None) -> list[dict[str, str]]:
        """The log as a list of {column: text}; "" means not measured. Incomplete and damaged rows are left out.

        A log of more than `most` rows is thinned out evenly to that many, the last row included; rows with a PSNR stay.
        """
        with self._lines() as lines:
            length = sum(1 for _ in lines) - 1 if most else 0  # 1: the header
        every, psnr = max(-(-length // most), 1) if most else 1, COLUMNS.index("psnr")
        with self._lines() as lines:
            kept = (
                line
                for i, line in enumerate(islice(lines, 1, None), 1)
                if (length - i) % every == 0
                or line.split(",", psnr + 1)[psnr:][:1] != [""]  # splits no column beyond it
            )
            return [row for line in kept if (row := row_of(line))]

    def measured(self, stage: str, first: int, last: int) -> list[dict[str, float]]:
        """A stage's first `first` rows and last `last` rows, each as {column: number}."""
        with self._lines() as lines:
            lines = (line for line in lines if line.startswith(f"{stage},"))
            kept = [*islice(lines, first)]
            kept += deque(lines, maxlen=last)
        rows = [row for line in kept if (row := row_of(line))]
        return [{name: float(text) for name, text in row.items() if text and name not in TEXTS} for row in rows]

    def _lines(self):
        return open(self.log, encoding="utf-8", errors="replace", newline="\n")

    def seconds(self) -> float:
        """How many seconds the training took up to the log's last row."""
        last = self.rows(most=1)[-1:]
        return float(last[0]["seconds"] or 0) if last else 0.0

    def save(self, trainer: Trainer, kept: bool = True) -> None:
        """Write G's own file, and then the trainer's state.

        The state comes last: if the process is killed before, the resumed run repeats the steps and writes all again.

        kept   whether `go_back` may go back to this state. KEPT such states stay; the next save replaces any other.

        Raises DivergedError, and writes nothing, if a number in the state is no longer finite.
        """
        arrays, state = state_of(trainer)
        if spoilt := next((name for name, array in arrays.items() if not np.isfinite(array).all()), None):
            raise DivergedError(
                f"step {trainer.step} of stage {trainer.stage}: {spoilt} is no longer finite; the run's folder keeps "
                "the state that was last saved. Train with smaller --rates, or with --on-nan rollback"
            )
        with open(self.log, "ab") as log:
            os.fsync(log.fileno())  # before the state, or a power cut could leave a state without its rows
        about = {
            "seed": trainer.config.seed,
            "stage": trainer.stage,
            "step": trainer.step,
            "photos": len(trainer.photos),
        }
        if trainer.stage == "pretrain":
            save_generator(self.pretrained, trainer.best, **about)
        save_generator(self.generator, trainer.best, **about)
        if self._newest and self._newest["kept"] and self.checkpoint.exists():
            self._keep()
        write_arrays(
            self.checkpoint,
            arrays,
            kind=CHECKPOINT,
            kept=kept,
            back=self._back,
            **state,
        )
        self._newest = {"stage": trainer.stage, "step": trainer.step, "kept": kept}
        self._forget(trainer.stage, trainer.step, KEPT - kept)

    def _keep(self):
        """Give the state in `checkpoint` a second name, under which it stays when `checkpoint` is replaced."""
        name = self.folder / "checkpoint-{stage}-{step:06d}.safetensors".format_map(self._newest or {})
        name.unlink(missing_ok=True)
        try:
            os.link(self.checkpoint, name)
        except OSError:  # some file systems allow only one name per file
            os.replace(self.checkpoint, name)

    def states(self) -> list[Path]:
        """The files of states from which the run can be resumed, the newest first."""
        newest = [self.checkpoint] if self.checkpoint.is_file() else []
        places = self._earlier()
        return newest + sorted(places, key=lambda path: places[path], reverse=True)

    def _earlier(self):
        """{an earlier state's file: its `place`}."""
        pattern = re.compile(rf"checkpoint-({'|'.join(STAGES)})-(\d+)\.safetensors")
        named = {path: pattern.fullmatch(path.name) for path in self.folder.glob("checkpoint-*")}
        return {path: place(*match.groups()) for path, match in named.items() if match}

    def _forget(self, stage, step, most):
        """Keep the last `most` of the states before this step, and remove the others.

        Those after this step belong to steps from which the training has gone back.
        """
        places = self._earlier()
        before = sorted((path for path in places if places[path] < place(stage, step)), key=lambda path: places[path])
        for path in places.keys() - {*before[-most:]}:
            path.unlink()

    def position(self) -> tuple[str, int]:
        """(stage, step) of the last saved state."""
        _, about = self._read(self._newest_state())
        return about["stage"], about["step"]

    def restore(self, trainer: Trainer) -> None:
        """Set the trainer, which has the same configuration, to the last saved state, and cut the log back to it.

        The folder is locked, as by `lock`.
        """
        self.lock()
        try:
            self._check_log()
            path = self._newest_state()
            about = self._load(trainer, path)
        except BaseException:
            self.unlock()
            raise
        if path == self.checkpoint:
            kept = bool(about.get("kept", True))
            self._newest = {"stage": trainer.stage, "step": trainer.step, "kept": kept}
            self._forget(trainer.stage, trainer.step, KEPT - kept)  # which a killed `save` had yet to do
        self._back = about.get("back")
        self._cut_log(trainer.stage, trainer.step)

    def go_back(self, trainer: Trainer) -> None:
        """Set the trainer to a state before things went wrong, to go on from there in another way.

        The first time, that is the last kept state. Each further time it is one before that, since things may have
        gone wrong there already; if there is none before, it is the first kept state.
        """
        rollbacks, kept = trainer.rollbacks + 1, []
        for path in self.states():
            about = self._read(path)[1]
            if about.get("kept", True):
                kept.append(path)
                if not self._back or place(about["stage"], about["step"]) < place(*self._back):
                    break
        self._load(trainer, kept[-1] if kept else self._newest_state())
        trainer.roll_back(rollbacks)
        self._back = (trainer.stage, trainer.step)
        self.save(trainer)
        self._cut_log(trainer.stage, trainer.step)

    def _newest_state(self):
        if states := self.states():
            return states[0]
        raise WeightsError(f"{self.checkpoint}: there is no such file, and no run goes on without it: start a new one")

    def _check_log(self):
        """Raise WeightsError if there is no log, or if another version wrote it."""
        if not self.log.is_file():
            raise WeightsError(f"{self.log}: there is no such file, and no run goes on without it: start a new one")
        columns, newline, rows = self.log.read_bytes().partition(b"\n")
        if columns.replace(b"slope_", b"grad_") == ",".join(COLUMNS).encode() != columns:  # their names until 2026-11
            columns = columns.replace(b"slope_", b"grad_")
            write_whole(self.log, columns + newline + rows)
        if columns != ",".join(COLUMNS).encode():
            raise WeightsError(
                f"{self.log} has other columns than this version of minisrgan writes: an earlier version began the "
                f"run. Start a new run; it may start from --weights {self.generator}"
            )

    def _read(self, path):
        """({name: array}, the further entries) of a state's file."""
        before = next((each.name for each in self.states() if each not in (path, self.checkpoint)), None)
        advice = (
            f"remove it, and the run goes on from the state before, {before}"
            if before and path == self.checkpoint
            else "without it the run cannot go on: start a new one"
        )
        arrays, about = read_arrays(path, advice)
        if about.get("kind") == CHECKPOINT and all(is_valid(about.get(name)) for name, is_valid in STATE.items()):
            say_if_unchecked(path, about)
            return arrays, about
        raise WeightsError(f"{path} is not a checkpoint of minisrgan: {advice}")

    def _load(self, trainer, path):
        """Set the trainer to the state in a file; return the file's entries beside the arrays."""
        arrays, about = self._read(path)
        try:
            set_state(trainer, arrays, about)
        except (LookupError, ArithmeticError, ValueError, TypeError, WeightsError) as error:
            raise WeightsError(f"{path} does not fit its config.json ({error})") from None
        return about

    def _cut_log(self, stage, step):
        """Remove incomplete rows and the rows of all steps after this one, which will be taken again."""
        header, *lines = self.log.read_bytes().splitlines(keepends=True)
        kept, here = [header], (-1, 0)
        for line in lines:
            then = place_of(line)
            if then and here < then <= place(stage, step):
                kept.append(line)
                here = then
        write_whole(self.log, b"".join(kept))


def place(stage: str, step: Any) -> tuple[int, int]:
    """A step's place in a run: a later step's place is greater."""
    return STAGES.index(stage), int(step)


def place_of(line: bytes) -> tuple[int, int] | None:
    """The `place` of a log's row, given as bytes; None for an incomplete row, which a kill or a full disk can leave."""
    fields = line.split(b",")
    try:
        return place(fields[0].decode(), fields[1]) if len(fields) == len(COLUMNS) and line.endswith(b"\n") else None
    except ValueError:
        return None


def row_of(line: str) -> Any:
    """{column: text} of a log's row; None if it is incomplete, or if one of its numbers is not a number."""
    texts = line.removesuffix("\n").split(",")
    if len(texts) != len(COLUMNS) or not line.endswith("\n"):
        return None
    row = dict(zip(COLUMNS, texts))
    try:
        place(row["stage"], row["step"])
        [float(text) for name, text in row.items() if text and name not in TEXTS]
    except ValueError:
        return None
    return row


def state_of(trainer: Trainer) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """All that the trainer's next step depends on: {name: array}, and what JSON can hold."""
    states = {part: owner.state() for part, owner in parts(trainer).items()}
    arrays = {f"{part}.{name}": array for part, state in states.items() for name, array in state.items()}
    return arrays, {
        "stage": trainer.stage,
        "step": trainer.step,
        "adam": {"g": trainer.adam_g.t, "d": trainer.adam_d.t},
        "crops": trainer.crop_rng.bit_generator.state,
        "noise": trainer.adversary.regulariser.rng.bit_generator.state,
        "shares": trainer.shares.state(),
        "rollbacks": trainer.rollbacks,
        "seconds": trainer.seconds,
    }


def set_state(trainer: Trainer, arrays: dict[str, np.ndarray], about: dict[str, Any]) -> None:
    """Set the trainer, which has the same configuration, to what `state_of` returned."""
    trainer.start_stage(about["stage"])
    trainer.step = about["step"]
    trainer.shares.load_state(about["shares"])
    trainer.rollbacks = about["rollbacks"]
    trainer.seconds = about.get("seconds") or 0.0
    trainer.crop_rng.bit_generator.state = about["crops"]
    trainer.adversary.regulariser.rng.bit_generator.state = about["noise"]
    for part, owner in parts(trainer).items():
        owner.load_state({name[len(part) + 1 :]: a for name, a in arrays.items() if name.startswith(part + ".")})
    trainer.adam_g.t, trainer.adam_d.t = about["adam"]["g"], about["adam"]["d"]


def parts(trainer: Trainer) -> dict[str, Any]:
    """{name: the part of the trainer, which has a state}."""
    averaged = {"averaged": trainer.averaged} if trainer.keeps_average else {}
    return averaged | {
        "generator": trainer.generator,
        "discriminator": trainer.discriminator,
        "adam_g": trainer.adam_g,
        "adam_d": trainer.adam_d,
    }
