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
from pathlib import Path

from ..errors import ConfigError, WeightsError
from ..imaging.files import write_whole
from ..models.weights import read_arrays, save_generator, write_arrays
from .config import TrainConfig

COLUMNS = "stage step rate loss_g loss_content loss_adversarial loss_d d_real d_fake grad_g grad_d psnr seconds".split()
CHECKPOINT = "minisrgan checkpoint"


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
        if self.folder.exists() and (not self.folder.is_dir() or any(self.folder.iterdir())):
            raise ConfigError(f"{self.folder} is there already: choose another --out, or --resume {self.folder}")

    def config(self):
        """(TrainConfig, whatever else `create` was told). Raises ConfigError where the file is not one."""
        path = self.folder / "config.json"
        try:
            about = json.loads(path.read_text())
            return TrainConfig.from_dict(about.pop("training")), about
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(f"{self.folder} is not the folder of a run: config.json: {error}") from None

    def append(self, rows):
        """Add measurements, {column: value} a step, to the log."""
        with open(self.log, "a", newline="") as file:
            csv.DictWriter(file, COLUMNS, lineterminator="\n").writerows(rows)

    def rows(self):
        """The log as a list of {column: text}, "" where nothing was measured."""
        with open(self.log, newline="") as file:
            return list(csv.DictReader(file))

    def save(self, trainer):
        """Write G by itself, and last the trainer's state: until then, a resumed run makes all of this again."""
        if trainer.stage == "pretrain":
            save_generator(self.pretrained, trainer.generator)
        save_generator(self.generator, trainer.generator)
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
        )

    def restore(self, trainer):
        """Set the trainer, of the same configuration, to the state last saved, and cut the log back to it."""
        arrays, about = read_arrays(self.checkpoint)
        if about.get("kind") != CHECKPOINT:
            raise WeightsError(f"{self.checkpoint} is not a checkpoint of minisrgan")
        try:
            trainer.start_stage(about["stage"])
            trainer.step = about["step"]
            trainer.crop_rng.bit_generator.state = about["crops"]
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
        last = next((i for i, line in enumerate(lines) if line.startswith(f"{stage},{step},")), 0)  # 0: the header
        write_whole(self.log, "".join(lines[: last + 1]).encode())


def parts(trainer):
    """What has a state, by name."""
    return {
        "generator": trainer.generator,
        "discriminator": trainer.discriminator,
        "adam_g": trainer.adam_g,
        "adam_d": trainer.adam_d,
    }
