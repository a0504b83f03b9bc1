"""Rank 0 leads a training on several ranks, and the others follow it.

The leader alone has the run's folder, the log, the clock and the decisions: when to stop, to save, to go back. A
follower does what the leader says. Before each step all ranks exchange a few numbers: the leader says what comes, and a
follower says which signal, if any, has asked it to stop. When the leader's state has come from elsewhere (from a file,
from other weights, from going back), it hands all of it to the followers. So nobody else reads the run's folder, and a
run goes on with any number of ranks.
"""

import math
import signal
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress

import numpy as np

from ..errors import DivergedError
from ..models.architectures import Network
from .loader import Ahead
from .loop import StopRequest
from .measured import Measured
from .ranked import RankTrainer
from .run import set_state, state_of

STEP, STATE, END = range(3)  # what the leader says: take a step; take my state, and then a step; that was all
ANEW = 1000  # steps until the leader hands out its state again: processors of two kinds round in two ways
LATER = 1.0  # seconds until a follower passes a signal on: where all ranks have got it, the leader stops by itself


class Leader(RankTrainer):
    """Rank 0's trainer, which the training loop drives."""

    anew, inside = True, False  # the followers do not have this state; a step was begun, and perhaps not by all

    def start_from(self, generator: Network) -> None:
        super().start_from(generator)
        self.anew = True

    def pretrain_step(self) -> Measured:
        return self.together(super().pretrain_step)

    def gan_step(self) -> Measured:
        return self.together(super().gan_step)

    def together(self, step: Callable[[], Measured]) -> Measured:
        """Take this step with all ranks."""
        self.inside = True
        anew = self.anew or self.step % ANEW == 0
        _, signals = exchange(self, STATE if anew else STEP)
        if anew:
            hand_on(self)
            self.anew = False
        if signals:
            signal.raise_signal(signals[0])  # as if it had come to this process
        try:
            measured = step()
        except DivergedError:  # on all ranks alike, and the followers wait for what the leader makes of it
            self.inside = False
            raise
        self.inside = False
        return measured

    @contextmanager
    def leading(self) -> Generator[None, None, None]:
        """The followers are told when the block ends, however it ends, unless that is within a step."""
        try:
            yield
        finally:
            if not self.inside:
                exchange(self, END)


class Follower(RankTrainer):
    """Another rank's trainer."""

    def follow(self) -> None:
        """Take the steps that the leader takes, until it says that it was the last."""
        asked = math.inf  # when a signal asked this rank to stop
        quiet = np.errstate(over="ignore", invalid="ignore")
        with StopRequest(says=False) as request, Ahead(self), quiet:
            while True:
                if request.signal:
                    asked = min(asked, time.monotonic())
                late = time.monotonic() > asked + LATER
                said, _ = exchange(self, asked_by=request.signal if late and request.signal else 0)
                if said == END:
                    return
                if said == STATE:
                    hand_on(self)
                with suppress(DivergedError):
                    {"pretrain": self.pretrain_step, "gan": self.gan_step}[self.stage]()


def exchange(trainer: RankTrainer, says: int = STEP, asked_by: int = 0) -> tuple[int, list[int]]:
    """(What the leader says, the signals that the followers have got). The leader's seconds become everybody's."""
    rows = trainer.ranks.gather(np.array([says, trainer.seconds, asked_by]))
    said, trainer.seconds, _ = rows[0].tolist()
    return int(said), [int(each) for each in rows[:, 2] if each]


def hand_on(trainer: RankTrainer) -> None:
    """Set every rank to the leader's state."""
    ranks = trainer.ranks
    arrays, state = state_of(trainer)
    state = ranks.from_first(lambda: state)
    if ranks.rank:
        trainer.start_stage(state["stage"])
        arrays, _ = state_of(trainer)  # for their shapes
    sent = {name: ranks.broadcast(b"" if ranks.rank else array.tobytes()) for name, array in arrays.items()}
    if ranks.rank:
        own = {name: np.frombuffer(sent[name], each.dtype).reshape(each.shape) for name, each in arrays.items()}
        set_state(trainer, own, state)
