"""A run's folder: what was asked for, what was measured, and a state from which it goes on.

config.json                      the TrainConfig, and where the photos were
log.csv                          a row for each step
checkpoint.safetensors           everything that the next step depends on
generator-pretrain.safetensors   G at the end of stage 1
generator.safetensors            G as it is
curves.png, samples/             pictures, drawn by the tools
"""

import csv
import json
from collections import deque
from itertools import islice
from pathlib import Path

from ..errors import ConfigError, WeightsError
from ..imaging.files import write_whole
from ..models.weights import read_arrays, save_generator, write_arrays
from .config import TrainConfig
from .trainer import STAGES

COLUMNS = (
    "stage step rate loss_g loss_content loss_pixel loss_adversarial loss_tv loss_grid "
    "slope_content slope_pixel slope_adversarial slope_tv slope_grid "
    "weight_pixel weight_adversarial weight_tv weight_grid grad_g loss_d penalty grad_d "
    "d_real d_fake d_right d_doubt detail sameness drift psnr health rollbacks seconds"
).split()
CHECKPOINT = "minisrgan checkpoint"
ABOUT = {  # what config.json says beside the TrainConfig, and what it may say
    "data": ("a folder or null", lambda data: data is None or isinstance(data, str)),
    "stages": (
        "pretrain, gan or both in this order",
        lambda stages: isinstance(stages, list) and stages in ([*STAGES], *([stage] for stage in STAGES)),
    ),
    "photos": (
        "a list of names",
        lambda photos: isinstance(photos, list) and all(isinstance(name, str) for name in photos),
    ),
}


class Run:
    """The folder of one training."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.checkpoint = self.folder / "checkpoint.safetensors"
        self.generator = self.folder / "generator.safetensors"
        self.pretrained = self.folder / "generator-pretrain.safetensors"
        self.log = self.folder / "log.csv"

    @classmethod
    def create(cls, folder, config, **about):
        """A new run. Raises ConfigError for a folder that holds anything: nothing is overwritten."""
        run = cls(folder)
        run.check_new()
        write_whole(run.folder / "config.json", json.dumps({"training": config.to_dict(), **about}, indent=2).encode())
        write_whole(run.log, (",".join(COLUMNS) + "\n").encode())
        return run

    def check_new(self):
        """Raise ConfigError if the folder holds anything."""
        if self.folder.is_file():
            raise ConfigError(f"{self.folder} is there already, and is a file: name a folder with --out")
        if self.folder.exists() and any(self.folder.iterdir()):
            resume = f", or --resume {self.folder}" if (self.folder / "config.json").exists() else ""
            raise ConfigError(f"{self.folder} is there already, and not empty: choose another --out{resume}")

    def config(self):
        """(TrainConfig, whatever else `create` was told). Raises ConfigError where the file is not one."""
        path = self.folder / "config.json"
        try:
            about = json.loads(path.read_text())
            config = TrainConfig.from_dict(about.pop("training"))
            for name, (kind, fits) in ABOUT.items():
                if not fits(about[name]):
                    raise ConfigError(f"{name!r} is {kind}, not {json.dumps(about[name])}")
        except (FileNotFoundError, NotADirectoryError):
            raise ConfigError(
                f"{self.folder} is not the folder of a run, which has a config.json: "
                "name one that `minisrgan train` made"
            ) from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            problem = f"there is no {error} in it" if isinstance(error, KeyError) else error
            raise ConfigError(f"{path}: not that of a run ({problem}): undo what was changed in it") from None
        return config, about

    def append(self, rows):
        """Add measurements, {column: value} a step, to the log."""
        with open(self.log, "a", newline="") as file:
            csv.DictWriter(file, COLUMNS, lineterminator="\n").writerows(rows)

    def rows(self, most=None):
        """The log as a list of {column: text}, "" where nothing was measured.

        `most` thins a longer log out to as many rows, evenly up to its last, and those with a PSNR.
        """
        with open(self.log, newline="") as file:
            length = sum(1 for _ in file) - 1 if most else 0  # 1: the header
        every, psnr = max(-(-length // most), 1) if most else 1, COLUMNS.index("psnr")
        with open(self.log, newline="") as file:
            lines = (
                line
                for i, line in enumerate(islice(file, 1, None), 1)
                if (length - i) % every == 0 or line.split(",")[psnr]  # cheaper than to read them all as CSV
            )
            return list(csv.DictReader(lines, COLUMNS))

    def measured(self, stage, first, last):
        """The first and the last rows of a stage, as many as asked for, each as {column: number}."""
        with open(self.log, newline="") as file:
            lines = (line for line in file if line.startswith(f"{stage},"))
            kept = [*islice(lines, first)]
            kept += deque(lines, maxlen=last)
        rows = csv.DictReader(kept, COLUMNS)
        texts = ("stage", "health")
        return [{name: float(text) for name, text in row.items() if text and name not in texts} for row in rows]

    def seconds(self):
        """How long the training took up to the last row of the log."""
        last = self.rows(most=1)[-1:]
        return float(last[0]["seconds"]) if last else 0.0

    def save(self, trainer):
        """Write G by itself, and last the trainer's state: until then, a resumed run makes all of this again."""
        about = {
            "seed": trainer.config.seed,
            "stage": trainer.stage,
            "step": trainer.step,
            "photos": len(trainer.photos),
        }
        if trainer.stage == "pretrain":
            save_generator(self.pretrained, trainer.best, **about)
        save_generator(self.generator, trainer.best, **about)
        arrays = {
            f"{part}.{name}": array for part, owner in parts(trainer).items() for name, array in owner.state().items()
        }
        write_arrays(
            self.checkpoint,
            arrays,
            kind=CHECKPOINT,
            stage=trainer.stage,
            step=trainer.step,
            adam={"g": trainer.adam_g.t, "d": trainer.adam_d.t},
            crops=trainer.crop_rng.bit_generator.state,
            noise=trainer.regulariser.rng.bit_generator.state,
            shares=trainer.shares.state(),
            rollbacks=trainer.rollbacks,
        )

    def restore(self, trainer):
        """Set the trainer, of the same configuration, to the state last saved, and cut the log back to it."""
        for path in (self.checkpoint, self.log):
            if not path.is_file():
                raise WeightsError(f"{path}: there is no such file, and no going on without it: begin a run anew")
        with open(self.log) as file:
            if file.readline().rstrip("\n") != ",".join(COLUMNS):
                raise WeightsError(
                    f"{self.log} has other columns than this minisrgan writes: an earlier one began the run. Begin one "
                    f"anew; it may start from --weights {self.generator}"
                )
        arrays, about = read_arrays(self.checkpoint, "without it the run cannot go on: begin one anew")
        if about.get("kind") != CHECKPOINT:
            raise WeightsError(f"{self.checkpoint} is not a checkpoint of minisrgan: begin a run anew")
        try:
            trainer.start_stage(about["stage"])
            trainer.step = about["step"]
            trainer.shares.load_state(about["shares"])
            trainer.rollbacks = about["rollbacks"]
            trainer.crop_rng.bit_generator.state = about["crops"]
            trainer.regulariser.rng.bit_generator.state = about["noise"]
            for part, owner in parts(trainer).items():
                owner.load_state(
                    {name[len(part) + 1 :]: a for name, a in arrays.items() if name.startswith(part + ".")}
                )
            trainer.adam_g.t, trainer.adam_d.t = about["adam"]["g"], about["adam"]["d"]
        except (KeyError, ValueError, TypeError, WeightsError) as error:
            raise WeightsError(f"{self.checkpoint} does not fit its config.json ({error})") from None
        self._cut_log(trainer.stage, trainer.step)

    def _cut_log(self, stage, step):
        """Forget the rows of the steps after this one: they will be made again."""
        lines = self.log.read_text().splitlines(keepends=True)
        before = (f"{stage},{step},", *(f"{each}," for each in STAGES[: STAGES.index(stage)]))
        last = max((i for i, line in enumerate(lines) if line.startswith(before)), default=0)  # 0: the header
        write_whole(self.log, "".join(lines[: last + 1]).encode())


def parts(trainer):
    """What has a state, by name."""
    averaged = {"averaged": trainer.averaged} if trainer.averages else {}
    return averaged | {
        "generator": trainer.generator,
        "discriminator": trainer.discriminator,
        "adam_g": trainer.adam_g,
        "adam_d": trainer.adam_d,
    }
