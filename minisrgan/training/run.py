"""A run's folder: what was asked for, what was measured, and a state from which it goes on.

config.json                      the TrainConfig, and where the photos were
log.csv                          a row for each step
checkpoint.safetensors           everything that the next step depends on
checkpoint-gan-000040.safetensors, ...   earlier ones, to go back to where the training explodes
generator-pretrain.safetensors   G at the end of stage 1
generator.safetensors            G as it is
curves.png, samples/             pictures, drawn by report.py
run.lock                         locked by the one process that writes here, and says which it is

config.json makes a folder a run. It is written last, so that each run has a state to go on from.
"""

from __future__ import annotations

import csv
import json
import math
import os
import re
from collections import deque
from collections.abc import Iterable, Sequence
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
TEXTS = ("stage", "health")  # the columns that are no numbers
CHECKPOINT = "minisrgan checkpoint"
KEPT = 3  # states to go back to


def of_text(values: Any) -> Any:
    return all(isinstance(value, str) for value in values)


def hashed(photos: Any) -> Any:
    """Whether it is {name: hash}."""
    return isinstance(photos, dict) and of_text(photos.values())


ABOUT = {  # what config.json says beside the TrainConfig, and what it may say
    "data": ("a folder or null", lambda data: data is None or isinstance(data, str)),
    "stages": (
        "pretrain, gan or both in this order",
        lambda stages: isinstance(stages, list) and stages in ([*STAGES], *([stage] for stage in STAGES)),
    ),
    "photos": (  # the first versions wrote the names alone
        "a list of names, or each with its hash",
        lambda photos: hashed(photos) or isinstance(photos, list) and of_text(photos),
    ),
}
SINCE = {  # the same of what the first versions did not write
    "held_out": ("names, each with its hash", hashed),
    "vgg_sha256": ("a hash or null", lambda vgg: vgg is None or isinstance(vgg, str)),
    "steps_before": ("a list", lambda before: isinstance(before, list)),  # which --resume lengthened, and when
}


def counted(value: Any) -> int:
    return type(value) is int and 0 <= value < 1 << 53


def placed(value: Any) -> Any:
    """Whether it is the stage and the step of a state."""
    return isinstance(value, list) and len(value) == 2 and value[0] in STAGES and counted(value[1])


def averaged(value: Any) -> Any:
    """Whether it is the means of shares.Shares."""
    return isinstance(value, dict) and all(
        isinstance(mean, list) and len(mean) == 3 and all(type(part) in (int, float) for part in mean)
        and all(0 <= part < math.inf for part in mean)
        for mean in value.values()
    )  # fmt: skip


STATE = {  # what a checkpoint says beside its arrays, and what it may say
    "stage": lambda stage: stage in STAGES,
    "step": counted,
    "adam": lambda steps: isinstance(steps, dict) and steps.keys() == {"g", "d"} and all(map(counted, steps.values())),
    "crops": lambda state: isinstance(state, dict),  # NumPy looks into these two
    "noise": lambda state: isinstance(state, dict),
    "shares": averaged,
    "rollbacks": counted,
    "kept": lambda kept: kept is None or isinstance(kept, bool),  # the first versions wrote neither this
    "back": lambda back: back is None or placed(back),  # nor this
}


class Run:
    """The folder of one training."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.checkpoint = self.folder / "checkpoint.safetensors"
        self.generator = self.folder / "generator.safetensors"
        self.pretrained = self.folder / "generator-pretrain.safetensors"
        self.log = self.folder / "log.csv"
        self.lock_path = self.folder / "run.lock"
        self._lock = None  # the open file, as long as this is the one that writes here
        self._newest = None  # what `checkpoint` holds: stage, step, and whether it is kept to go back to
        self._back = None  # (stage, step) that the run last went back to

    @classmethod
    def create(cls, folder: Path | str, config: TrainConfig, trainer: Trainer | None = None, **about: Any) -> Self:
        """A new run, with the state that the trainer begins from. Its folder is locked, as by `lock`.

        Raises ConfigError for a folder that holds anything: nothing is overwritten.
        """
        run = cls(folder)
        run.check_new()
        run.lock()
        try:
            run.check_new()  # another may have been quicker
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
        """Raise ConfigError if the folder holds anything, but for what is left of a beginning that was killed."""
        if self.folder.is_file():
            raise ConfigError(f"{self.folder} is there already, and is a file: name a folder with --out")
        if self.folder.exists() and not self._only_begun():
            resume = f", or --resume {self.folder}" if (self.folder / "config.json").exists() else ""
            raise ConfigError(f"{self.folder} is there already, and not empty: choose another --out{resume}")

    def _only_begun(self):
        """Whether nothing is here but what `create` writes before config.json, and no step was taken."""
        begun = {path.name for path in self.folder.iterdir() if not path.name.startswith(PART)} - {self.lock_path.name}
        if self.log.name in begun and len(self.log.read_bytes().splitlines()) <= 1:
            begun -= {path.name for path in (self.log, self.pretrained, self.generator, self.checkpoint)}
        return not begun

    def lock(self) -> None:
        """Be the only one that writes here, until `unlock` or the end of the process, however it ends.

        What a writer that was killed left unfinished is removed. Raises ConfigError, in one line that says who,
        where another process writes.
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
        for folder in (self.folder, self.folder / "samples"):
            remove_leftovers(folder)

    def unlock(self) -> None:
        if self._lock:
            self._lock.truncate(0)
            self._lock.close()
            self._lock = None

    __del__ = unlock

    def config(self) -> tuple[TrainConfig, dict[str, Any]]:
        """(TrainConfig, whatever else `create` was told). Raises ConfigError where the file is not one."""
        path = self.folder / "config.json"
        try:
            about = json.loads(path.read_text(encoding="utf-8"))
            config = TrainConfig.from_dict(about.pop("training"))
            for name, (kind, fits) in (ABOUT | {name: SINCE[name] for name in SINCE if name in about}).items():
                if not fits(about[name]):
                    raise ConfigError(f"{name!r} is {kind}, not {json.dumps(about[name])}")
        except (FileNotFoundError, NotADirectoryError):
            raise ConfigError(
                f"{self.folder} is not the folder of a run, which has a config.json: "
                "name one that `minisrgan train` made"
            ) from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            problem = f"there is no {error} in it" if isinstance(error, KeyError) else error
            raise ConfigError(f"{path}: not that of a run ({problem}): undo what was changed in it") from None
        return config, about

    def append(self, rows: Iterable[dict[str, Any]]) -> None:
        """Add measurements, {column: value} a step, to the log."""
        with open(self.log, "a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, COLUMNS, lineterminator="\n").writerows(rows)

    def rows(self, most: int | None = None) -> list[dict[str, str]]:
        """The log as a list of {column: text}, "" where nothing was measured, without rows that are torn or damaged.

        `most` thins a longer log out to as many rows, evenly up to its last, and those with a PSNR.
        """
        with self._lines() as lines:
            length = sum(1 for _ in lines) - 1 if most else 0  # 1: the header
        every, psnr = max(-(-length // most), 1) if most else 1, COLUMNS.index("psnr")
        with self._lines() as lines:
            kept = (
                line
                for i, line in enumerate(islice(lines, 1, None), 1)
                if (length - i) % every == 0 or line.split(",", psnr + 1)[psnr:][:1] != [""]  # cheaper than all of them
            )
            return [row for line in kept if (row := row_of(line))]

    def measured(self, stage: str, first: int, last: int) -> list[dict[str, float]]:
        """The first and the last rows of a stage, as many as asked for, each as {column: number}."""
        with self._lines() as lines:
            lines = (line for line in lines if line.startswith(f"{stage},"))
            kept = [*islice(lines, first)]
            kept += deque(lines, maxlen=last)
        rows = [row for line in kept if (row := row_of(line))]
        return [{name: float(text) for name, text in row.items() if text and name not in TEXTS} for row in rows]

    def _lines(self):
        return open(self.log, encoding="utf-8", errors="replace", newline="\n")

    def seconds(self) -> float:
        """How long the training took up to the last row of the log."""
        last = self.rows(most=1)[-1:]
        return float(last[0]["seconds"] or 0) if last else 0.0

    def save(self, trainer: Trainer, kept: bool = True) -> None:
        """Write G by itself, and last the trainer's state: until then, a resumed run makes all of this again.

        kept   whether the state is one to `go_back` to. Of those, KEPT are kept; others make way for the next.
        Raises DivergedError, and writes nothing, where a number of the state is no longer finite.
        """
        arrays = {
            f"{part}.{name}": array for part, owner in parts(trainer).items() for name, array in owner.state().items()
        }
        if spoilt := next((name for name, array in arrays.items() if not np.isfinite(array).all()), None):
            raise DivergedError(
                f"step {trainer.step} of stage {trainer.stage}: {spoilt} is no longer finite; the run's folder keeps "
                "the state that was last saved. Train with smaller --rates, or with --on-nan rollback"
            )
        with open(self.log, "ab") as log:
            os.fsync(log.fileno())  # first, or a power cut could leave a state without its rows
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
            stage=trainer.stage,
            step=trainer.step,
            kept=kept,
            adam={"g": trainer.adam_g.t, "d": trainer.adam_d.t},
            crops=trainer.crop_rng.bit_generator.state,
            noise=trainer.adversary.regulariser.rng.bit_generator.state,
            shares=trainer.shares.state(),
            rollbacks=trainer.rollbacks,
            back=self._back,
        )
        self._newest = {"stage": trainer.stage, "step": trainer.step, "kept": kept}
        self._forget(trainer.stage, trainer.step, KEPT - kept)

    def _keep(self):
        """Give the state in `checkpoint` a second name, which is left to it when `checkpoint` is written anew."""
        name = self.folder / "checkpoint-{stage}-{step:06d}.safetensors".format_map(self._newest or {})
        name.unlink(missing_ok=True)
        try:
            os.link(self.checkpoint, name)
        except OSError:  # some file systems have one name for each file
            os.replace(self.checkpoint, name)

    def states(self) -> list[Path]:
        """The files with a state to go on from, the newest first."""
        newest = [self.checkpoint] if self.checkpoint.is_file() else []
        places = self._earlier()
        return newest + sorted(places, key=lambda path: places[path], reverse=True)

    def _earlier(self):
        """{file of an earlier state: its place}."""
        pattern = re.compile(rf"checkpoint-({'|'.join(STAGES)})-(\d+)\.safetensors")
        named = {path: pattern.fullmatch(path.name) for path in self.folder.glob("checkpoint-*")}
        return {path: place(*match.groups()) for path, match in named.items() if match}

    def _forget(self, stage, step, most):
        """Of the earlier states keep so many, the last before this step: the training is back from the others."""
        places = self._earlier()
        before = sorted((path for path in places if places[path] < place(stage, step)), key=lambda path: places[path])
        for path in places.keys() - {*before[-most:]}:
            path.unlink()

    def position(self) -> tuple[str, int]:
        """(stage, step) of the state last saved."""
        _, about = self._read(self._newest_state())
        return about["stage"], about["step"]

    def restore(self, trainer: Trainer) -> None:
        """Set the trainer, of the same configuration, to the state last saved, and cut the log back to it.

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
            self._newest = {"stage": trainer.stage, "step": trainer.step, "kept": about.get("kept", True)}
            self._forget(trainer.stage, trainer.step, KEPT)
        self._back = about.get("back")
        self._cut_log(trainer.stage, trainer.step)

    def go_back(self, trainer: Trainer) -> None:
        """Set the trainer to a state before things went wrong, to go on from there in another way.

        To the last one that is kept; the next time to one before that, for it may be where things went wrong; where
        there is none, to the first that is kept.
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
        raise WeightsError(f"{self.checkpoint}: there is no such file, and no going on without it: begin a run anew")

    def _check_log(self):
        """Raise WeightsError where there is no log, or that of another version."""
        if not self.log.is_file():
            raise WeightsError(f"{self.log}: there is no such file, and no going on without it: begin a run anew")
        if self.log.read_bytes().partition(b"\n")[0] != ",".join(COLUMNS).encode():
            raise WeightsError(
                f"{self.log} has other columns than this minisrgan writes: an earlier one began the run. Begin one "
                f"anew; it may start from --weights {self.generator}"
            )

    def _read(self, path):
        """({name: array}, what else it says) of the file of a state."""
        before = next((each.name for each in self.states() if each not in (path, self.checkpoint)), None)
        advice = (
            f"remove it, and the run goes on from the state before, {before}"
            if before and path == self.checkpoint
            else "without it the run cannot go on: begin one anew"
        )
        arrays, about = read_arrays(path, advice)
        if about.get("kind") == CHECKPOINT and all(fits(about.get(name)) for name, fits in STATE.items()):
            say_if_unchecked(path, about)
            return arrays, about
        raise WeightsError(f"{path} is not a checkpoint of minisrgan: {advice}")

    def _load(self, trainer, path):
        """Set the trainer to the state in a file; returns what the file says beside the arrays."""
        arrays, about = self._read(path)
        try:
            trainer.start_stage(about["stage"])
            trainer.step = about["step"]
            trainer.shares.load_state(about["shares"])
            trainer.rollbacks = about["rollbacks"]
            trainer.crop_rng.bit_generator.state = about["crops"]
            trainer.adversary.regulariser.rng.bit_generator.state = about["noise"]
            for part, owner in parts(trainer).items():
                owner.load_state(
                    {name[len(part) + 1 :]: a for name, a in arrays.items() if name.startswith(part + ".")}
                )
            trainer.adam_g.t, trainer.adam_d.t = about["adam"]["g"], about["adam"]["d"]
        except (LookupError, ArithmeticError, ValueError, TypeError, WeightsError) as error:
            raise WeightsError(f"{path} does not fit its config.json ({error})") from None
        return about

    def _cut_log(self, stage, step):
        """Forget the rows of the steps after this one, which will be made again, and what is no whole row."""
        header, *lines = self.log.read_bytes().splitlines(keepends=True)
        kept, here = [header], (-1, 0)
        for line in lines:
            then = place_of(line)
            if then and here < then <= place(stage, step):
                kept.append(line)
                here = then
        write_whole(self.log, b"".join(kept))


def place(stage: str, step: Any) -> tuple[int, int]:
    """Where a step is in a run: what comes later is greater."""
    return STAGES.index(stage), int(step)


def place_of(line: bytes) -> tuple[int, int] | None:
    """`place` of a row of the log as bytes; None of one that is torn, as a kill or a full disk can leave it."""
    fields = line.split(b",")
    try:
        return place(fields[0].decode(), fields[1]) if len(fields) == len(COLUMNS) and line.endswith(b"\n") else None
    except ValueError:
        return None


def row_of(line: str) -> Any:
    """{column: text} of a row of the log; None of one that is torn, or has a word in the place of a number."""
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


def parts(trainer: Trainer) -> dict[str, Any]:
    """What has a state, by name."""
    averaged = {"averaged": trainer.averaged} if trainer.keeps_average else {}
    return averaged | {
        "generator": trainer.generator,
        "discriminator": trainer.discriminator,
        "adam_g": trainer.adam_g,
        "adam_d": trainer.adam_d,
    }
