"""The training loop: it takes the steps, shows progress on the screen, and keeps the run's log, states and pictures."""

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
from ..imaging.patches import centre
from ..names import STAGES
from ..progress import progress_bar
from ..upscaling.trial import try_photo
from ..upscaling.upscale import upscale
from ..weights.generators import load_generator
from .config import Stage
from .cost import Cost, in_words
from .health import KEPT, WINDOW, Monitor
from .loader import Ahead
from .looks import keep
from .measured import Board
from .recorded import RecordedStep, steps_of
from .report import draw_comparison, draw_curves
from .run import Run
from .run_page import renew_report
from .trainer import Trainer

LOOKS = 10  # how many times per stage held-out photos are measured, pictures drawn and the state saved
LONGEST = 1000  # the most steps between two such times, in a stage that goes by its steps
TENTH = 0.1  # of a stage that goes by the clock: while these took more of it, the next has to wait
ROLLBACKS = 3  # the most: by then the learning rate is an eighth, so it is not the cause
POINTS = 2000  # about how many points of the log are drawn
Pair = tuple[np.ndarray, np.ndarray | None]  # a photo, and its LR if that is not made by bicubic
SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")  # Ctrl-C; the system shuts down; the terminal is closed


def train(
    run: Run, trainer: Trainer, held_out: Sequence[np.ndarray | Pair], stages: Sequence[str], bar: bool = True
) -> None:
    """Train through the given stages, starting from the trainer's state, and keep the run's folder up to date.

    held_out   uint8 (H, W, 3) photos on the middle of which PSNR is measured; or (the middle, its LR) where it has one

    The folder is locked meanwhile. Raises DivergedError if a number is no longer finite; the last saved state stays.
    """
    pairs = (photo if isinstance(photo, tuple) else (photo, None) for photo in held_out)
    photos = [(centre(photo), None) if lr is None else (photo, lr) for photo, lr in pairs]
    run.lock()
    try:
        started = time.perf_counter() - run.seconds()
        if not run.states():
            run.save(trainer)  # from now on the run can be resumed, wherever it is stopped
        with StopRequest() as request:
            while True:
                try:
                    if trainer.stage in stages:
                        train_stage(run, trainer, photos, started, request, bar)
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


class StopRequest:
    """Whether Ctrl-C or another signal has asked the training to stop, which it does after the current step.

    A second signal ends it at once.

    signal   the number of the first signal, or None
    says     whether a line tells the user
    """

    def __init__(self, says: bool = True) -> None:
        self.signal: int | None = None
        self.says = says
        self.before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # Python lets no other thread handle signals
            for number in (getattr(signal, name) for name in SIGNALS if hasattr(signal, name)):
                if signal.getsignal(number) not in (signal.SIG_IGN, None):  # nohup wants SIGHUP ignored
                    self.before[number] = signal.signal(number, self.receive)
        return self

    def receive(self, number: int, frame: Any) -> None:
        self.signal = number
        self.__exit__()
        if not self.says:
            return
        # Not print: the signal may have interrupted a print, which cannot be entered again. The terminal may be gone.
        with suppress(OSError):
            os.write(2, b"\nsaving after this step, then stopping (once more: at once)\n")

    def __exit__(self, *_: Any) -> None:
        while self.before:
            signal.signal(*self.before.popitem())


def roll_back(run: Run, trainer: Trainer) -> None:
    """Set the trainer back to a state before things went wrong, with other settings for the way on, and say so."""
    run.go_back(trainer)
    print(
        f"going back to step {trainer.step} of stage {trainer.stage}, to go on with half the learning rate and other "
        f"crops ({trainer.rollbacks} of {ROLLBACKS} times)",
        file=sys.stderr,
    )


def train_stage(
    run: Run,
    trainer: Trainer,
    photos: Sequence[Pair],
    started: float,
    request: StopRequest,
    bar: bool,
) -> None:
    """Train to the end of the trainer's stage.

    Raises DivergedError. If a signal asks to stop, saves the state and raises KeyboardInterrupt with its number.
    """
    stage, began = trainer.stage_config, time.perf_counter() - trainer.seconds
    take_step = steps_of(trainer)
    looks, first, cost = looks_due(stage, trainer), trainer.step, Cost()
    monitor, bicubic = Monitor(run.measured(trainer.stage, WINDOW, KEPT)), None
    total = None if stage.minutes else stage.steps
    progress = progress_bar(total=total, initial=trainer.step, desc=trainer.stage, unit="step", disable=not bar)
    with progress, Ahead(trainer) as ahead:

        def say(text):
            progress.write(text, file=sys.stderr)

        if isinstance(take_step, RecordedStep) and bar:
            progress.write(f"stage {trainer.stage}: {take_step.graph}")
        waiting, patience = [], Board.ROWS if trainer.board else 1  # to read a number is to wait for a GPU
        while trainer.progress < 1:
            with np.errstate(over="ignore", invalid="ignore"):  # the step itself finds and names what is not finite
                waiting.append(take_step())
            if stage.minutes:  # only then, or the same training would not end with the same state
                trainer.seconds = time.perf_counter() - began
            ended = trainer.progress >= 1
            late = stage.minutes and cost.besides > TENTH * cost.total()
            looked = ended or not late and looks_due(stage, trainer) > looks
            if looked:
                looks = looks_due(stage, trainer)
            if len(waiting) < patience and not (looked or request.signal):
                continue
            # one row a step, so that a GPU that has handed over its numbers has the next step to do meanwhile
            due = waiting if looked or request.signal else waiting[:1]
            for step, numbers in enumerate(due, trainer.step - len(waiting) + 1):
                with np.errstate(over="ignore", invalid="ignore"):
                    measured: dict[str, Any] = dict(numbers)
                states = monitor.add(measured)
                for sentence in monitor.news(states):
                    say(f"step {step}: {sentence}")
                if looked and step == trainer.step:
                    with cost.stopped():
                        measured["psnr"], bicubic = look(run, trainer, photos)
                measured["health"] = "" if states is None else "+".join(states) or "ok"
                measured |= {"rollbacks": trainer.rollbacks, "seconds": round(time.perf_counter() - started, 3)}
                run.append([{"stage": trainer.stage, "step": step, **measured}])
                show(
                    progress,
                    measured,
                    f"{min(trainer.seconds / 60, stage.minutes):.2g} of {stage.minutes:g}" if stage.minutes else "",
                )
            del waiting[: len(due)]
            if monitor.explodes and ended and trainer.config.on_nan == "rollback":
                raise DivergedError(
                    f"step {trainer.step} of stage {trainer.stage}: the stage ends while a gradient explodes; the "
                    "run's folder keeps the state that was last saved. Train with smaller --rates"
                )
            if looked or request.signal:
                if monitor.explodes and not ended:
                    say(f"step {trainer.step}: not saved, while a gradient explodes; the last saved state stays")
                else:
                    with cost.stopped():
                        run.save(trainer, kept=looked and not monitor.explodes)
            if request.signal:
                raise KeyboardInterrupt(request.signal)
            if looked:
                with cost.stopped():
                    rows = run.rows(POINTS)
                    draw_curves(run.folder / "curves.png", rows, bicubic)
                    if not ended:
                        renew_report(run, rows, bicubic, say)
        if trainer.step > first:
            n, batch = trainer.step - first, trainer.config.batch
            figures = cost.figures(n, batch, trainer.device, ahead.waited)
            run.add_cost(trainer.stage, first, trainer.step, trainer.device, figures)
            renew_report(run, run.rows(POINTS), bicubic, say)  # now that it can show what a step cost
            if bar:
                progress.write(in_words(trainer.stage, n, figures))
            if bar and isinstance(take_step, RecordedStep):
                progress.write(f"stage {trainer.stage}: {take_step.graph}")


def looks_due(stage: Stage, trainer: Trainer) -> int:
    """How many of the LOOKS at held-out photos the stage should have had by now, all but the one at its end."""
    if stage.minutes:
        return int(trainer.progress * LOOKS)
    return trainer.step // max(min(stage.steps // LOOKS, LONGEST), 1)


def show(progress: Any, measured: Mapping[str, Any], minutes: str) -> None:
    """Advance the progress bar, with the main figures beside it."""
    shown = {name: f"{measured[name]:.3g}" for name in ("loss_g", "d_real", "d_fake") if name in measured}
    if measured["health"] not in ("", "ok"):
        shown["health"] = measured["health"]
    if "psnr" in measured:
        progress.psnr = f"{measured['psnr']:.2f} dB"
    if minutes:
        shown["minutes"] = minutes
    progress.set_postfix(shown | {"psnr": getattr(progress, "psnr", "-")}, refresh=False)
    progress.update()


def look(run: Run, trainer: Trainer, photos: Sequence[Pair]) -> list[float]:
    """Draw a sample picture. Return [the generator's PSNR, bicubic's PSNR] on Y, the means over the held-out photos.

    In the GAN stage the picture also shows the result after stage 1.
    """
    border = trainer.config.generator.scale
    trials = [try_photo(trainer.best, photo, trainer.device, lr) for photo, lr in photos]
    scores = [[score(image, trial.hr, border) for image in (trial.sr, trial.bicubic)] for trial in trials]
    keep(run, trainer, trials, scores)
    first, (of_sr, of_bicubic) = trials[0], scores[0]
    enlarged = {"bicubic": (first.bicubic, of_bicubic)}
    if trainer.stage == "gan":
        start = load_generator(run.pretrained).to(trainer.device)
        before = upscale(start, first.lr, trainer.device)
        enlarged["stage 1"] = before, score(before, first.hr, border)
    enlarged[f"{trainer.stage}, step {trainer.step}"] = first.sr, of_sr
    draw_comparison(run.folder / "samples" / f"{trainer.stage}-{trainer.step:06d}.png", first.lr, first.hr, enlarged)
    return np.mean([[each.psnr_y for each in pair] for pair in scores], axis=0).tolist()
