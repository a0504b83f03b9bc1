"""The training command: a run, its progress on the screen, and its pictures as it goes."""

import sys
import time

import numpy as np
from tqdm import tqdm

from ..errors import DivergedError
from ..imaging.metrics import score
from ..models.weights import load_generator
from ..training.health import KEPT, WINDOW, Monitor
from ..training.trainer import STAGES
from ..upscale import upscale
from .evaluate import try_photo
from .report import draw_comparison, draw_curves

LOOKS = 10  # how often in a stage held-out photos are measured, pictures drawn and the state saved
LONGEST = 1000  # but at least every so many steps
ROLLBACKS = 3  # at most: by then the learning rate is an eighth, and it is not the cause
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
            run.save(trainer)
        while not train_stage(run, trainer, photos, started, bar):
            roll_back(run, trainer)


def roll_back(run, trainer):
    """Back to the state last saved, and on from there in another way."""
    rollbacks = trainer.rollbacks + 1
    run.restore(trainer)
    trainer.roll_back(rollbacks)
    run.save(trainer)
    print(
        f"going back to step {trainer.step}, and on with half the learning rate and other crops "
        f"({rollbacks} of {ROLLBACKS} times)",
        file=sys.stderr,
    )


def train_stage(run, trainer, photos, started, bar):
    """Train to the end of the trainer's stage. False if it is to be rolled back instead."""
    steps = getattr(trainer.config, trainer.stage).steps
    take_step = {"pretrain": trainer.pretrain_step, "gan": trainer.gan_step}[trainer.stage]
    every = max(min(steps // LOOKS, LONGEST), 1)
    monitor = Monitor(run.measured(trainer.stage, WINDOW, KEPT))
    with tqdm(total=steps, initial=trainer.step, desc=trainer.stage, unit="step", disable=not bar) as progress:
        while trainer.step < steps:
            try:
                with np.errstate(over="ignore", invalid="ignore"):  # what is no longer finite is found and named
                    measured = dict(take_step())
            except DivergedError as error:
                if trainer.config.on_nan != "rollback" or trainer.rollbacks == ROLLBACKS:
                    raise
                progress.write(str(error), file=sys.stderr)
                return False
            states = monitor.add(measured)
            for sentence in monitor.news(states):
                progress.write(f"step {trainer.step}: {sentence}", file=sys.stderr)
            if trainer.step % every == 0 or trainer.step == steps:
                measured["psnr"], bicubic = look(run, trainer, photos)
            measured["health"] = "" if states is None else "+".join(states) or "ok"
            measured |= {"rollbacks": trainer.rollbacks, "seconds": round(time.perf_counter() - started, 3)}
            run.append([{"stage": trainer.stage, "step": trainer.step, **measured}])
            show(progress, measured)
            if "psnr" in measured:
                run.save(trainer)
                draw_curves(run.folder / "curves.png", run.rows(POINTS), bicubic)
    return True


def show(progress, measured):
    """Move the bar on, with the figures that matter beside it."""
    shown = {name: f"{measured[name]:.3g}" for name in ("loss_g", "d_real", "d_fake") if name in measured}
    if measured["health"] not in ("", "ok"):
        shown["health"] = measured["health"]
    if "psnr" in measured:
        progress.psnr = f"{measured['psnr']:.2f} dB"
    progress.set_postfix(shown | {"psnr": getattr(progress, "psnr", "-")}, refresh=False)
    progress.update()


def look(run, trainer, photos):
    """Draw a sample picture; the mean PSNR on Y over the held-out photos, of the generator and of bicubic.

    In the GAN stage the picture shows what stage 1 made of it too.
    """
    trials = [try_photo(trainer.best, photo, trainer.device) for photo in photos]
    first, border = trials[0], trainer.config.generator.scale
    enlarged = {"bicubic": first.bicubic}
    if trainer.stage == "gan":
        start = load_generator(run.pretrained).to(trainer.device)
        enlarged["stage 1"] = upscale(start, first.lr, trainer.device)
    enlarged[f"{trainer.stage}, step {trainer.step}"] = first.sr
    draw_comparison(run.folder / "samples" / f"{trainer.stage}-{trainer.step:06d}.png", first.lr, first.hr, enlarged)
    pairs = [[score(image, trial.hr, border).psnr_y for image in (trial.sr, trial.bicubic)] for trial in trials]
    return np.mean(pairs, axis=0).tolist()


def middle(photo):
    """The middle of a photo, at most SHOWN pixels on a side."""
    top, left = (max((size - SHOWN) // 2, 0) for size in photo.shape[:2])
    return photo[top : top + SHOWN, left : left + SHOWN]
