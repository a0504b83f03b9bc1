"""How a training is doing: what goes wrong between G and D, told from what each step measures.

What is measured in a step of the GAN stage, beside losses and norms of gradients:

    d_real, d_fake   what D says of HR and of SR, in the mean: a probability where the game has one, else the logit
    d_right          how often a random HR of the batch gets a higher logit than a random SR; a guess: 1/2
    d_doubt          how much D's loss still asks of D: the mean of n·|∂L_D/∂z| over all logits z, 1 where D cannot tell
    detail           how large what G adds to the bicubic enlargement is, beside what HR has more than it (1: as large)
    sameness         the correlation of what G adds to one crop with what it adds to another; 0 for what fits the crop
    drift            how far SR's mean colour is from LR's, in levels of 255, in the channel where it is farthest

A state is a function of the last WINDOW steps, of some figures compared with the first WINDOW steps of the stage. In
medians, so that a few odd batches do not raise an alarm.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import NamedTuple

import numpy as np

from ..arrays import Array, array_module, to_numpy
from ..losses import ADVERSARIAL
from ..models.generator import enlarge_bicubic
from ..tensor import Tensor, grad, no_grad

WINDOW = 50  # steps: of batches of 8 or 16, some hundred images, whose mean d_right errs by about 0.02
BLOCK, BLOCKS = 10, 20  # of steps, in which D's luck turns or does not
GRADIENTS = ("grad_g", "grad_d")  # whose growth is an explosion
PROBABLE = ("minimax", "non-saturating", "relativistic")  # the games in which D's logits stand for probabilities
UNSURE = {"minimax": 0.5, "non-saturating": 0.5, "least-squares": 0.5}  # n·|∂L_D/∂z| where D cannot tell; others: 1


def measure_discriminator(adversarial: str, real: Array, fake: Array) -> dict[str, float]:
    """d_real, d_fake, d_right and d_doubt, of the arrays of D's logits in the game of that name."""
    real, fake = (to_numpy(logits).astype(np.float64) for logits in (real, fake))
    says = real, fake
    if adversarial == "relativistic":
        says = real - fake.mean(), fake - real.mean()
    if adversarial in PROBABLE:
        says = [0.5 + 0.5 * np.tanh(z / 2) for z in says]  # σ(z), which so never overflows
    logits = [Tensor(z, requires_grad=True) for z in (real, fake)]
    asked = [abs(g.data).sum() for g in grad(ADVERSARIAL[adversarial].discriminator(*logits), logits)]
    higher = real[:, None] - fake
    return {
        "d_real": float(says[0].mean()),
        "d_fake": float(says[1].mean()),
        "d_right": float(((higher > 0) + 0.5 * (higher == 0)).mean()),
        "d_doubt": float(sum(asked) / 2 / UNSURE.get(adversarial, 1)),
    }


def measure_images(hr: Array, lr: Tensor, sr: Array) -> dict[str, float]:
    """detail, sameness and drift, of arrays of images; what cannot be said of them is left out.

    With a_i what G adds to crop i, less its mean, sameness is Σ_{i≠j}⟨a_i, a_j⟩/((n - 1)·Σ‖a_i‖²). An image fits its
    crop, so its a has no more to do with another's than chance; a pattern that G puts everywhere has.
    """
    xp, n = array_module(sr), len(sr)
    with no_grad():
        bicubic = enlarge_bicubic(lr, sr.shape[1] // lr.shape[1]).data * 2 - 1
    added, missing = (image - bicubic for image in (sr, hr))
    added, missing = (each - each.mean((1, 2), keepdims=True) for each in (added, missing))
    power, wanted, shared = (float((x * x).sum()) for x in (added, missing, added.sum(0)))
    measured = {"drift": float(127.5 * xp.abs((sr - bicubic).mean((0, 1, 2))).max())}
    if wanted > 0:
        measured["detail"] = (power / wanted) ** 0.5
    if power > 0 and n > 1:
        measured["sameness"] = (shared / power - 1) / (n - 1)
    return measured


class State(NamedTuple):
    """Something that can be wrong.

    holds      (recent, first) → whether it is; both {column: array}, of the last steps and of the stage's first
    says       a sentence for the user
    remedy     what to try
    """

    holds: Callable
    says: str
    remedy: str


def middle(rows: Mapping[str, np.ndarray], column: str) -> float:
    """The median of the last WINDOW values; NaN, which no threshold holds for, where nothing was measured."""
    return np.median(rows[column][-WINDOW:]) if len(rows.get(column, ())) else np.nan


def times_the_first(recent: Mapping[str, np.ndarray], first: Mapping[str, np.ndarray], column: str) -> float:
    """How large a column is beside what it was when the stage began; NaN where there is nothing to compare."""
    start = middle(first, column)
    return middle(recent, column) / start if start > 0 else np.nan


def turns(d_right: np.ndarray) -> int:
    """How often D's luck turned: blocks of steps in which D is right 3 times in 4, and those in which wrong as often,
    one after the other. (Where it only hovers about a guess, nothing turns.)"""
    blocks = d_right[-BLOCK * BLOCKS :]
    blocks = blocks[: len(blocks) // BLOCK * BLOCK].reshape(-1, BLOCK).mean(1)
    decided = [right > 0.5 for right in blocks if abs(right - 0.5) >= 0.25]
    return sum(a != b for a, b in zip(decided, decided[1:]))


STATES = {
    "not-finite": State(
        # the trainer stops before it takes a step with such a number; this is for any other log
        lambda recent, first: not all(np.isfinite(values).all() for values in recent.values()),
        "a loss or gradient is no longer a finite number",
        "smaller --rates, or --on-nan rollback",
    ),
    "d-winning": State(
        # Of D's loss 1/50 of what it asks of a D that cannot tell: D(HR) > 0.99 and D(SR) < 0.01 where the game has
        # probabilities. What D teaches then comes from how its last doubts vary, not from the images. (A Wasserstein
        # critic has no doubts to lose: it is meant to be as good as it can.)
        lambda recent, first: middle(recent, "d_doubt") < 0.02,
        "D is winning: it tells SR from HR with next to no doubt, so that its slope says little about how to do better",
        "a regulariser for D (--regulariser r1 or instance-noise), or a larger share or weight of the adversarial loss",
    ),
    "g-winning": State(
        # At rest d_right is 1/2, and its median over the window within 0.05 of that; 0.4 is no accident
        lambda recent, first: middle(recent, "d_right") < 0.4,
        "G is winning: D takes SR for real more often than HR, and leads G astray",
        "a smaller share or weight of the adversarial loss, or a larger D",
    ),
    "oscillation": State(
        # Two turns may be a slip and its repair; three within 200 steps are a rhythm
        lambda recent, first: turns(recent.get("d_right", np.zeros(0))) >= 3,
        "G and D go round in circles: D's luck turns again and again",
        "smaller --rates, --regulariser r1, or a longer average (--ema)",
    ),
    "vanishing-gradient": State(
        # Adam does not mind the size of all gradients together, but what is 1000 times less than it was is no longer
        # heard beside the other terms, and near the rounding errors of the larger numbers that it is a difference of
        lambda recent, first: any(times_the_first(recent, first, c) < 1e-3 for c in ("grad_adversarial", "grad_d")),
        "a gradient vanishes: G or D learns a thousand times less from the game than at first",
        "--adversarial non-saturating or least-squares, which do not saturate, or a regulariser for D",
    ),
    "exploding-gradient": State(
        # As a training settles, gradients shrink. Growth to 100 times is of the kind that goes on
        lambda recent, first: any(times_the_first(recent, first, c) > 100 for c in GRADIENTS),
        "a gradient explodes: it is a hundred times what it was at first",
        "smaller --rates, or a bound on D's slope (--regulariser spectral-norm or gradient-penalty)",
    ),
    "no-diversity": State(
        # Half of what G adds is the same whatever it is given; or it adds a 20th of what is missing, next to nothing
        lambda recent, first: middle(recent, "sameness") > 0.5 or middle(recent, "detail") < 0.05,
        "G has lost its diversity: what it adds to the bicubic enlargement is nearly the same whatever the image, or "
        "nearly nothing",
        "a larger weight of the content loss or a smaller one of the adversarial, and smaller --rates",
    ),
    "colour-drift": State(
        # A difference of 5 levels over a whole image is seen side by side; sound trainings stay below 2
        lambda recent, first: middle(recent, "drift") > 5,
        "the colours drift: SR as a whole has another colour than LR",
        "a share of the pixel loss (--share pixel=0.3)",
    ),
}
SUDDEN = 1000  # times the least of the first steps: batches differ by far less, explosions by far more
KEPT = BLOCK * BLOCKS  # the most steps back that a state looks
MEASURES = (
    "loss_g loss_d penalty grad_g grad_d grad_adversarial d_right d_doubt detail sameness drift".split()
)  # what the states, or the check for finite numbers, look at


def diagnose(recent: Collection[Mapping[str, float]], first: Collection[Mapping[str, float]]) -> list[str] | None:
    """The names of the states that hold, of rows {column: number}: the last KEPT, and the first WINDOW of the stage.

    None, where there are fewer than WINDOW: it is too early to say.
    """
    if len(recent) < WINDOW:
        return None
    columns = [
        {name: np.array([row[name] for row in rows if name in row]) for name in MEASURES} for rows in (recent, first)
    ]
    with np.errstate(invalid="ignore"):
        return [name for name, state in STATES.items() if state.holds(*columns)]


class Monitor:
    """The rows of a stage as they come, of which it keeps as many as `diagnose` needs.

    explodes   whether G's or D's gradient is now so large that this step's state is nothing to go back to: the alarm
               stands, or one of the last WINDOW gradients is SUDDEN times the least of the stage's first WINDOW
    """

    def __init__(self, rows: Iterable[Mapping[str, float]] = ()) -> None:
        self.first, self.recent, self.told, self.explodes = [], deque(maxlen=KEPT), set(), False
        for row in rows:
            self.add(row)

    def add(self, row: Mapping[str, float]) -> list[str] | None:
        """Take in {column: number} of a step; the names of the states that now hold, or None if it is too early."""
        if len(self.first) < WINDOW:
            self.first.append(row)
        self.recent.append(row)
        states = diagnose(self.recent, self.first)
        self.explodes = "exploding-gradient" in (states or ()) or any(map(self._sudden, GRADIENTS))
        return states

    def _sudden(self, column):
        first, last = (
            [row[column] for row in rows if row.get(column, 0) > 0] for rows in (self.first, [*self.recent][-WINDOW:])
        )
        return max(last, default=0) > SUDDEN * min(first, default=np.inf)

    def news(self, states: list[str] | None) -> list[str]:
        """Those of the states that were not told before, each as a sentence with what to try."""
        fresh = [name for name in states or () if name not in self.told]
        self.told.update(fresh)
        return [f"{STATES[name].says}. Try {STATES[name].remedy}." for name in fresh]
