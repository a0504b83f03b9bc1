"""What a run keeps of its looks at the held-out photos, so that pages can show it: the folder looks/ of the run.

0-hr.webp, 0-bicubic.webp, 0-pretrain.webp, 0-gan.webp    the first held-out photo: its middle, as a stage last had it
pretrain-000100.webp, ...                                 a detail of that photo after so many steps
figures.json                                              figures, and what they were measured on

Images are lossless. A look costs some tens of milliseconds here. The perceptual distance is measured once a stage, at
its end.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image

from ..arrays import to_device
from ..device.memory import most_memory
from ..device.processor import processor
from ..errors import ConfigError
from ..files import write_whole
from ..imaging.metrics import Score, score
from ..imaging.patches import place_of_most_contrast
from ..imaging.pixels import hr_from_uint8
from ..losses import feature_mse
from ..names import STAGES
from ..pages.viewer import encoded
from ..tensor import Tensor, no_grad
from ..upscaling.trial import Trial, try_photo
from ..weights.generators import load_generator
from .run import Run

if TYPE_CHECKING:
    from .trainer import Trainer

MOST = 4  # photos of which images are kept
ANEW = "remove the folder, and it is made anew"
DETAIL = 96  # the side of the detail, in HR pixels
LABELS = {"bicubic": "bicubic", "pretrain": "stage 1", "gan": "GAN", "hr": "HR"}  # of the versions of a photo
Distance = Callable[[np.ndarray, np.ndarray], float]


class Looks(NamedTuple):
    """What was kept.

    names     of the photos of which there are images
    figures   what figures.json holds
    """

    folder: Path
    names: list[str]
    figures: dict[str, Any]

    def images(self, photo: int) -> dict[str, bytes]:
        """{label: the file} of a photo's versions, HR last."""
        files = {label: self.folder / f"{photo}-{name}.webp" for name, label in LABELS.items()}
        return {label: file.read_bytes() for label, file in files.items() if file.is_file()}

    def detail(self, photo: int, version: str) -> np.ndarray:
        """The detail of a photo's version that `moments` show too."""
        with Image.open(self.folder / f"{photo}-{version}.webp") as image:
            pixels = np.asarray(image.convert("RGB"))
        top, left = self.figures["photos"][photo]["place"]
        return pixels[top : top + DETAIL, left : left + DETAIL]

    def moments(self) -> list[tuple[str, int, bytes]]:
        """(stage, step, the detail's file), in their order."""
        pattern = re.compile(rf"({'|'.join(STAGES)})-(\d+)\.webp")
        named = [(match, path) for path in self.folder.iterdir() if (match := pattern.fullmatch(path.name))]
        found = [(match[1], int(match[2]), path) for match, path in named]
        found.sort(key=lambda each: (STAGES.index(each[0]), each[1]))
        return [(stage, step, path.read_bytes()) for stage, step, path in found]


def check_images(looks: Looks) -> None:
    """Raise ConfigError if an image is damaged. It takes 1 ms for each, which a training's own page does without."""
    for path in sorted(looks.folder.glob("*.webp")):
        try:
            with Image.open(path) as image:
                image.load()
        except Exception:  # Pillow raises many kinds
            raise ConfigError(f"{looks.folder} is damaged ({path.name} cannot be read): {ANEW}") from None


def folder_of(run: Run) -> Path:
    return run.folder / "looks"


def read_looks(run: Run) -> Looks | None:
    """What a run has kept; None if it has not looked yet. Raises ConfigError if it is damaged."""
    folder = folder_of(run)
    try:
        figures = json.loads((folder / "figures.json").read_text(encoding="utf-8"))
        names = [each["name"] for each in figures["photos"]]
        images = [f"{n}-{version}.webp" for n in range(len(names)) for version in LABELS if version in ("hr", *figures)]
        if not all(isinstance(name, str) for name in names) or any(
            len(figures[stage]["mean"]) != 4 for stage in ("bicubic", *STAGES) if stage in figures
        ):
            raise ValueError("it has other entries than a training writes")
        if missing := next((name for name in images if not (folder / name).is_file()), None):
            raise ValueError(f"{missing} is missing")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{folder} is damaged ({error}): {ANEW}") from None
    return Looks(folder, names, figures)


def keep(run: Run, trainer: Trainer, trials: Sequence[Trial], scores: Sequence[Sequence[Score]]) -> None:
    """Keep what the trainer's look at the held-out photos has found.

    scores   of SR and of bicubic, for each trial
    """
    vgg = trainer.vgg if trainer.stage == "gan" or "vgg" in vars(trainer) else None
    distance = features_distance(vgg, trainer.device) if vgg and trainer.progress >= 1 else None
    kept = Keeping(run, len(trials))
    kept.add(trainer.stage, trainer.step, trials, scores, distance)
    if trainer.stage == "gan" and "pretrain" not in kept.figures:  # the run began with this stage
        kept.enlarge("pretrain", 0, run.pretrained, [(each.hr, each.lr) for each in trials], trainer.device)
    kept.write(trainer.device, perceptual=trainer.config.content if vgg else None)


def features_distance(vgg: Any, device: str) -> Distance:
    """The perceptual distance by the run's own content loss: the mean (φ(SR) - φ(HR))²."""

    def distance(image: np.ndarray, hr: np.ndarray) -> float:
        with no_grad():
            return feature_mse(vgg, *(Tensor(to_device(hr_from_uint8(x[None]), device)) for x in (image, hr))).item()

    return distance


class Keeping:
    """Adds to what a run has kept; anew, if that is damaged."""

    def __init__(self, run: Run, photos: int) -> None:
        """photos: how many are held out."""
        self.folder = folder_of(run)
        names, self.figures = [], {}
        with suppress(ConfigError):  # which is no reason to end a training
            names = [*run.config()[1].get("held_out", ())]
            looks = read_looks(run)
            self.figures = looks.figures if looks else {}
        self.names = names if len(names) == photos else [f"photo {i + 1}" for i in range(photos)]

    def enlarge(self, stage: str, step: int, weights: Path, photos: Sequence[Any], device: str) -> None:
        """Enlarge (HR, LR or None) photos with a stage's generator, and add that as a look after so many steps."""
        generator = load_generator(weights).to(device)
        trials = [try_photo(generator, hr, device, lr) for hr, lr in photos]
        border = generator.config.scale
        scores = [[score(image, each.hr, border) for image in (each.sr, each.bicubic)] for each in trials]
        self.add(stage, step, trials, scores)

    def add(
        self,
        stage: str,
        step: int,
        trials: Sequence[Trial],
        scores: Sequence[Sequence[Score]],
        distance: Distance | None = None,
    ) -> None:
        """Add a look: write its images, and take note of its figures."""
        for i, trial in enumerate(trials[:MOST]):
            for name, image in {"hr": trial.hr, "bicubic": trial.bicubic}.items():
                if not (path := self.folder / f"{i}-{name}.webp").exists():
                    write_whole(path, encoded(image))
            write_whole(self.folder / f"{i}-{stage}.webp", encoded(trial.sr))
        top, left = place(trials[0])
        detail = trials[0].sr[top : top + DETAIL, left : left + DETAIL]
        write_whole(self.folder / f"{stage}-{step:06d}.webp", encoded(detail))
        places = [{"name": name, "place": place(each)} for name, each in zip(self.names, trials[:MOST])]
        self.figures["photos"] = places
        versions = {stage: [each.sr for each in trials], "bicubic": [each.bicubic for each in trials]}
        for which, (name, images) in enumerate(versions.items()):
            known = self.figures.get("bicubic")
            if name == "bicubic" and known and (not distance or known["mean"][-1] is not None):
                continue  # it stays what it was
            far = [distance(image, trial.hr) for image, trial in zip(images, trials)] if distance else []
            measured = [each[which] for each in scores]
            mean = [*map(float, np.mean(measured, axis=0)), float(np.mean(far)) if far else None]
            photos = [each.psnr_y for each in measured[:MOST]]
            self.figures[name] = {"mean": finite(mean), "photos": finite(photos)}
        self.figures[stage]["step"] = step

    def write(self, device: str, **more: Any) -> None:
        """Write the figures, and what they were measured on."""
        about = {"device": device, "processor": processor(device), "memory": most_memory(device)}
        about |= {"updated": time.strftime("%Y-%m-%d %H:%M"), **more}
        write_whole(self.folder / "figures.json", json.dumps(self.figures | about, indent=1).encode())


def finite(values: Sequence[float | None]) -> list[float | None]:
    """Numbers as JSON has them: none is infinite, as the PSNR of a flat photo is."""
    return [value if value is not None and np.isfinite(value) else None for value in values]


def place(trial: Trial) -> tuple[int, int]:
    """The top left corner, in HR pixels, of the detail of a photo."""
    scale = trial.hr.shape[0] // trial.lr.shape[0]
    top, left = place_of_most_contrast(trial.lr, min(DETAIL // scale, *trial.lr.shape[:2]))
    return top * scale, left * scale
