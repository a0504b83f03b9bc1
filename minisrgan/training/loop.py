"""The training command: a run, its progress on the screen, and its pictures as it goes."""

import os
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Self

import numpy as np

from ..errors import DivergedError
from ..imaging.metrics import score
from ..names import STAGES
from ..progress import progress_bar
from ..upscaling.trial import try_photo
from ..upscaling.upscale import upscale
from ..weights.generators import load_generator
from .health import KEPT, WINDOW, Monitor
from .report import draw_comparison, draw_curves
from .run import Run
from .trainer import Trainer

LOOKS = 10  # how often in a stage held-out photos are measured, pictures drawn and the state saved
LONGEST = 1000  # but at least every so many steps
ROLLBACKS = 3  # at most: by then the learning rate is an eighth, and it is not the cause
POINTS = 2000  # of the log that are drawn, about
SHOWN = 256  # HR pixels: the middle of a held-out photo, which is what is measured as it goes
SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")  # Ctrl-C; the system shuts down; the terminal is closed


def train(run: Run, trainer: Trainer, held_out: Sequence[np.ndarray], stages: Sequence[str], bar: bool = True) -> None:
    """Train through the given stages, from where the trainer stands, and keep the run's folder up to date.

    held_out   uint8 (H, W, 3) photos that PSNR is measured on
    The folder is locked meanwhile. Raises DivergedError where numbers cease to be finite; the last saved state stays.
    """
    photos = [middle(photo) for photo in held_out]
    run.lock()
    try:
        started = time.perf_counter() - run.seconds()
        if not run.states():
            run.save(trainer)  # from now on the run can go on, wherever it is stopped
        with Asked() as asked:
            while True:
                try:
                    if trainer.stage in stages:
                        train_stage(run, trainer, photos, started, asked, bar)
                except DivergedError as error:
                    if trainer.config.on_nan != "rollback" or trainer.rollbacks == ROLLBACKS:
                        raise
                    print(error, file=sys.stderr)
                    roll_back(run, trainer)
                    continue
                later = [stage for stage in stages if STAGES.index(stage) > STAGES.index(trainer.stage)]
                if not later:
                    return
                trainer.start_stage(later[0])
                run.save(trainer)
    finally:
        run.unlock()


class Asked:
    """Whether Ctrl-C or a signal has asked the training to stop: it does so after a step. A second one ends it at once.

    signal   the number of the first one, or None
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self.before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # no other thread may
            for number in (getattr(signal, name) for name in SIGNALS if hasattr(signal, name)):
                if signal.getsignal(number) not in (signal.SIG_IGN, None):  # nohup wants SIGHUP ignored
                    self.before[number] = signal.signal(number, self.ask)
        return self

    def ask(self, number: int, frame: Any) -> None:
        self.signal = number
        self.__exit__()
        with suppress(OSError):  # the terminal may be gone; and print, which may be at work, must not interrupt itself
            os.write(2, b"\nsaving after this step, then stopping (once more: at once)\n")

    def __exit__(self, *_: Any) -> None:
        while self.before:
            signal.signal(*self.before.popitem())


def roll_back(run: Run, trainer: Trainer) -> None:
    """Back to a state before things went wrong, and on from there in another way."""
    run.go_back(trainer)
    print(
        f"going back to step {trainer.step} of stage {trainer.stage}, and on with half the learning rate and other "
        f"crops ({trainer.rollbacks} of {ROLLBACKS} times)",
        file=sys.stderr,
    )


def train_stage(
    run: Run, trainer: Trainer, photos: Sequence[np.ndarray], started: float, asked: Asked, bar: bool
) -> None:
    """Train to the end of the trainer's stage.

    Raises DivergedError, or, when the state is saved, KeyboardInterrupt with the number of the signal that asked.
    """
    steps = getattr(trainer.config, trainer.stage).steps
    take_step = {"pretrain": trainer.pretrain_step, "gan": trainer.gan_step}[trainer.stage]
    every = max(min(steps // LOOKS, LONGEST), 1)
    monitor, bicubic = Monitor(run.measured(trainer.stage, WINDOW, KEPT)), None
    with progress_bar(total=steps, initial=trainer.step, desc=trainer.stage, unit="step", disable=not bar) as progress:

        def say(text):
            progress.write(text, file=sys.stderr)

        while trainer.step < steps:
            with np.errstate(over="ignore", invalid="ignore"):  # what is no longer finite is found and named
                measured: dict[str, Any] = dict(take_step())
            states = monitor.add(measured)
            for sentence in monitor.news(states):
                say(f"step {trainer.step}: {sentence}")
            ended = trainer.step == steps
            if trainer.step % every == 0 or ended:
                measured["psnr"], bicubic = look(run, trainer, photos)
            measured["health"] = "" if states is None else "+".join(states) or "ok"
            measured |= {"rollbacks": trainer.rollbacks, "seconds": round(time.perf_counter() - started, 3)}
            run.append([{"stage": trainer.stage, "step": trainer.step, **measured}])
            looked = "psnr" in measured
            if monitor.explodes and ended and trainer.config.on_nan == "rollback":
                raise DivergedError(
                    f"step {trainer.step} of stage {trainer.stage}: the stage ends while a gradient explodes; the "
                    "run's folder keeps the state that was last saved. Train with smaller --rates"
                )
            if looked or asked.signal:
                if monitor.explodes and not ended:
                    say(f"step {trainer.step}: not saved, while a gradient explodes; the state saved before stays")
                else:
                    run.save(trainer, kept=looked and not monitor.explodes)
            if asked.signal:
                raise KeyboardInterrupt(asked.signal)
            show(progress, measured)
            if looked:
                draw_curves(run.folder / "curves.png", run.rows(POINTS), bicubic)


def show(progress: Any, measured: Mapping[str, Any]) -> None:
    """Move the bar on, with the figures that matter beside it."""
    shown = {name: f"{measured[name]:.3g}" for name in ("loss_g", "d_real", "d_fake") if name in measured}
    if measured["health"] not in ("", "ok"):
        shown["health"] = measured["health"]
    if "psnr" in measured:
        progress.psnr = f"{measured['psnr']:.2f} dB"
    progress.set_postfix(shown | {"psnr": getattr(progress, "psnr", "-")}, refresh=False)
    progress.update()


def look(run: Run, trainer: Trainer, photos: Sequence[np.ndarray]) -> list[float]:
    """Draw a sample picture; the mean PSNR on Y over the held-out photos, of the generator and of bicubic.

    In the GAN stage the picture shows what stage 1 made of it too.
    """
    border = trainer.config.generator.scale
    trials = [try_photo(trainer.best, photo, trainer.device) for photo in photos]
    scores = [[score(image, trial.hr, border) for image in (trial.sr, trial.bicubic)] for trial in trials]
    first, (of_sr, of_bicubic) = trials[0], scores[0]
    enlarged = {"bicubic": (first.bicubic, of_bicubic)}
    if trainer.stage == "gan":
        start = load_generator(run.pretrained).to(trainer.device)
        before = upscale(start, first.lr, trainer.device)
        enlarged["stage 1"] = before, score(before, first.hr, border)
    enlarged[f"{trainer.stage}, step {trainer.step}"] = first.sr, of_sr
    draw_comparison(run.folder / "samples" / f"{trainer.stage}-{trainer.step:06d}.png", first.lr, first.hr, enlarged)
    return np.mean([[each.psnr_y for each in pair] for pair in scores], axis=0).tolist()


def middle(photo: np.ndarray) -> np.ndarray:
    """The middle of a photo, at most SHOWN pixels on a side."""
    top, left = (max((size - SHOWN) // 2, 0) for size in photo.shape[:2])
    return photo[top : top + SHOWN, left : left + SHOWN]
