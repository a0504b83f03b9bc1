"""The trainer's steps on a GPU, each as one CUDA graph (device/graph.py).

Python does its own part of each step: it chooses the crops, counts, and puts what changes from step to step where the
graph reads it. The rest of `pretrain_step` or `gan_step` is recorded as it stands.
"""

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from typing import Any

from ..arrays import Array
from ..device.graph import StepGraph, graph_problem
from ..imaging.pixels import hr_from_uint8, lr_from_uint8
from ..regularisers import GradientPenalty, InstanceNoise
from ..tensor import Tensor
from .measured import Measured
from .ranked import RankTrainer
from .trainer import Trainer

DRAWING = GradientPenalty, InstanceNoise  # regularisers that draw numbers on the host in each step


def steps_of(trainer: Trainer) -> Callable[[], Measured]:
    """The trainer's step in its stage, as a function: on a GPU recorded, where that can be."""
    step = {"pretrain": trainer.pretrain_step, "gan": trainer.gan_step}[trainer.stage]
    return RecordedStep(trainer, step) if trainer.device == "cuda" else step


def problem_of(trainer: Trainer) -> str | None:
    """Why the trainer's step cannot be recorded, in a few words; None if it can."""
    if isinstance(trainer, RankTrainer):
        return "several ranks exchange their gradients in each step"
    if trainer.stage == "gan" and isinstance(trainer.adversary.regulariser, DRAWING):
        return f"{trainer.config.regulariser} draws numbers on the host in each step"
    return graph_problem()


class RecordedStep:
    """A step of a trainer on a GPU, as a function. It is for one stage, and ends with `trainer.start_stage`."""

    def __init__(self, trainer: Trainer, step: Callable[[], Measured]) -> None:
        self.trainer, self.step = trainer, step
        rates = {trainer.adam_g: lambda: trainer.rate}
        if trainer.stage == "gan":
            rates = {trainer.adam_d: lambda: trainer.d_rate} | rates
        self.rates = rates
        modules = trainer.generator, trainer.discriminator
        state = [slot for module in modules for slot in module.state_slots().values()]
        self.graph = StepGraph(self.compute, state, problem_of(trainer))

    def __call__(self) -> Measured:
        trainer = self.trainer
        if self.graph.problem:
            return self.step()
        trainer.begin_step()
        for adam, rate in self.rates.items():
            adam.prepare(rate())
        crops = trainer.choose_crops()
        trainer.measured.waiting = list(self.graph(trainer.photos.hr(crops), trainer.photos.lr(crops)))
        return trainer.finish_step()

    def compute(self, hr: Array, lr: Array) -> list:
        """The device's part of a step, from photos as bytes. Returns what it measured: `Measured.waiting`."""
        trainer = self.trainer
        board, measured = trainer.board, trainer.measured
        assert board
        measured.waiting, board.fresh, board.column = [], [], 0  # a recording that failed may have left some
        with ExitStack() as stack:
            for adam in self.rates:
                stack.enter_context(replaced(adam, prepare=nothing))
            stack.enter_context(
                replaced(
                    trainer,
                    begin_step=nothing,
                    choose_crops=nothing,
                    sample_hr=lambda _: Tensor(hr_from_uint8(hr)),
                    downsample=lambda _: Tensor(lr_from_uint8(lr)),
                    finish_step=board.note,
                )
            )
            self.step()
        return measured.waiting


def nothing(*_: Any) -> None:
    """What Python has done already, or does later."""


@contextmanager
def replaced(thing: Any, **methods: Callable) -> Generator[None, None, None]:
    """Within the block, `thing` has these methods instead of its own."""
    vars(thing).update(methods)
    try:
        yield
    finally:
        for name in methods:
            del vars(thing)[name]
