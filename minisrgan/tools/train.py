"""The training command: a run, its progress on the screen, and its pictures as it goes."""

import math
import time

import numpy as np
from tqdm import tqdm

from ..errors import DivergedError
from ..imaging.metrics import score
from ..training.trainer import STAGES
from .evaluate import try_photo
from .report import draw_comparison, draw_curves

LOOKS = 10  # how often in a stage held-out photos are measured, pictures drawn and the state saved
LONGEST = 1000  # but at least every so many steps
POINTS = 2000  # of the log that are drawn, about
SHOWN = 256  # HR pixels: the middle of a held-out photo, which is what is measured as it goes


def train(run, trainer, held_out, stages, bar=True):
    """Train through the given stages, from where the trainer stands, and keep the run's folder up to date.

    held_out   uint8 (H, W, 3) photos that PSNR is measured on
    Raises DivergedError where numbers cease to be finite; the last saved state stays.
    """
    photos = [middle(photo) for photo in held_out]
    started = time.perf_counter() - run.seconds()
    if not run.checkpoint.exists():
        run.save(trainer)  # from now on the run can go on, wherever it is stopped
    for stage in stages:
        if STAGES.index(stage) < STAGES.index(trainer.stage):
            continue  # a resumed run is past it
        if trainer.stage != stage:
            trainer.start_stage(stage)
        train_stage(run, trainer, photos, started, bar)


def train_stage(run, trainer, photos, started, bar):
    steps = getattr(trainer.config, trainer.stage).steps
    take_step = {"pretrain": trainer.pretrain_step, "gan": trainer.gan_step}[trainer.stage]
    every = max(min(steps // LOOKS, LONGEST), 1)
    with tqdm(total=steps, initial=trainer.step, desc=trainer.stage, unit="step", disable=not bar) as progress:
        while trainer.step < steps:
            with np.errstate(over="ignore", invalid="ignore"):  # what is no longer finite is found and named
                measured = dict(take_step())
            if not math.isfinite(measured["loss_g"]):
                raise DivergedError(f"step {trainer.step} of stage {trainer.stage}: the loss is no longer finite")
            if trainer.step % every == 0 or trainer.step == steps:
                measured["psnr"], bicubic = look(run, trainer, photos)
            measured["seconds"] = round(time.perf_counter() - started, 3)
            run.append([{"stage": trainer.stage, "step": trainer.step, **measured}])
            show(progress, measured)
            if "psnr" in measured:
                run.save(trainer)
                draw_curves(run.folder / "curves.png", run.rows(POINTS), bicubic)


def show(progress, measured):
    """Move the bar on, with the figures that matter beside it."""
    shown = {name: f"{measured[name]:.3g}" for name in ("loss_g", "d_real", "d_fake") if name in measured}
    if "psnr" in measured:
        progress.psnr = f"{measured['psnr']:.2f} dB"
    progress.set_postfix(shown | {"psnr": getattr(progress, "psnr", "-")}, refresh=False)
    progress.update()


def look(run, trainer, photos):
    """Draw a sample picture; the mean PSNR on Y over the held-out photos, of the generator and of bicubic."""
    trials = [try_photo(trainer.generator, photo, trainer.device) for photo in photos]
    first, border = trials[0], trainer.config.generator.scale
    sample = run.folder / "samples" / f"{trainer.stage}-{trainer.step:06d}.png"
    draw_comparison(sample, first.lr, first.hr, {"bicubic": first.bicubic, f"step {trainer.step}": first.sr})
    pairs = [[score(image, trial.hr, border).psnr_y for image in (trial.sr, trial.bicubic)] for trial in trials]
    return np.mean(pairs, axis=0).tolist()


def middle(photo):
    """The middle of a photo, at most SHOWN pixels on a side."""
    top, left = (max((size - SHOWN) // 2, 0) for size in photo.shape[:2])
    return photo[top : top + SHOWN, left : left + SHOWN]
