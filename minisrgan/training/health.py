"""A training's health: recognises what goes wrong between G and D, from the measurements of each step.

A step of the GAN stage measures, in addition to losses and gradient norms:

    d_real, d_fake   D's mean output for HR and for SR: a probability if the game has one, else the logit
    d_right          how often a random HR of the batch gets a higher logit than a random SR; guessing gives 1/2
    d_doubt          how much D's loss still asks of D: the mean of n·|∂L_D/∂z| over all logits z; 1 if D cannot tell
    detail           the size of what G adds to the bicubic enlargement, relative to what HR has beyond it (1: as large)
    sameness         the correlation of what G adds to one crop with what it adds to another; 0 if it fits each crop
    drift            the distance of SR's mean colour from LR's, in levels of 255, in the channel where it is largest

A state holds or not, depending on the medians of the last WINDOW steps; some figures are compared with the medians of
the stage's first WINDOW steps. Medians, so that a few odd batches do not raise an alarm.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import NamedTuple

import numpy as np

from ..arrays import Array, to_numpy
from ..losses import ADVERSARIAL
from ..measures import moments_beyond
from ..models.generator import enlarge_bicubic
from ..tensor import Tensor, grad, no_grad

WINDOW = 50  # steps; with batches of 8 or 16 that is some hundred images, whose mean d_right errs by about 0.02
BLOCK_STEPS, BLOCKS = 10, 20  # `changes_of_winner` looks at so many blocks of so many steps
GRADIENTS = ("grad_g", "grad_d")  # the norms whose growth is an explosion
PROBABLE = ("minimax", "non-saturating", "relativistic")  # the games in which D's logits stand for probabilities
UNSURE = {"minimax": 0.5, "non-saturating": 0.5, "least-squares": 0.5}  # n·|∂L_D/∂z| if D cannot tell; other games: 1


def measure_discriminator(adversarial: str, real: Array, fake: Array) -> dict[str, float]:
    """d_real, d_fake, d_right and d_doubt, from arrays of D's logits in the game named `adversarial`."""
    real, fake = (to_numpy(logits).astype(np.float64) for logits in (real, fake))
    outputs = real, fake
    if adversarial == "relativistic":
        outputs = real - fake.mean(), fake - real.mean()
    if adversarial in PROBABLE:
        outputs = [0.5 + 0.5 * np.tanh(z / 2) for z in outputs]  # σ(z), in a form that never overflows
    logits = [Tensor(z, requires_grad=True) for z in (real, fake)]
    gradient_sums = [abs(g.data).sum() for g in grad(ADVERSARIAL[adversarial].discriminator(*logits), logits)]
    higher = real[:, None] - fake
    return {
        "d_real": float(outputs[0].mean()),
        "d_fake": float(outputs[1].mean()),
        "d_right": float(((higher > 0) + 0.5 * (higher == 0)).mean()),
        "d_doubt": float(sum(gradient_sums) / 2 / UNSURE.get(adversarial, 1)),
    }


def image_moments(hr: Array, lr: Tensor, sr: Array) -> tuple[Array, ...]:
    """What `measure_images` is computed from: arrays of one number each, from batches of images (measures.py)."""
    with no_grad():
        bicubic = enlarge_bicubic(lr, sr.shape[1] // lr.shape[1]).data
    return moments_beyond(bicubic, hr, sr)


def measure_images(n: int, *moments: Array) -> dict[str, float]:
    """detail, sameness and drift, from the `image_moments` of n images. A measure that these images do not define is
    left out.

    Let a_i be what G adds to crop i, less its mean. Then sameness is Σ_{i≠j}⟨a_i, a_j⟩/((n - 1)·Σ‖a_i‖²). If each a_i
    fits its own crop, two of them correlate only by chance. A pattern that G draws everywhere makes them correlate.
    """
    power, wanted, shared, drift = map(float, moments)
    measured = {"drift": drift}
    if wanted > 0:
        measured["detail"] = (power / wanted) ** 0.5
    if power > 0 and n > 1:
        measured["sameness"] = (shared / power - 1) / (n - 1)
    return measured


class State(NamedTuple):
    """Something that can be wrong.

    holds      a function (recent, first) → whether it is wrong; both are {column: array}, of the last steps and of the
               stage's first steps
    says       a sentence for the user
    remedy     what the user can try
    """

    holds: Callable
    says: str
    remedy: str


def window_median(rows: Mapping[str, np.ndarray], column: str) -> float:
    """The median of a column's last WINDOW values; NaN if there are none: every comparison with NaN is false."""
    return np.median(rows[column][-WINDOW:]) if len(rows.get(column, ())) else np.nan


def times_the_first(recent: Mapping[str, np.ndarray], first: Mapping[str, np.ndarray], column: str) -> float:
    """How many times as large a column is as when the stage began; NaN if there is nothing to compare with."""
    start = window_median(first, column)
    return window_median(recent, column) / start if start > 0 else np.nan


def changes_of_winner(d_right: np.ndarray) -> int:
    """How often D changed between winning and losing.

    D wins in a block of steps if it is right at least 3 times in 4, and loses if it is wrong that often. The blocks
    between, in which D is hardly better than a guess, are passed over.
    """
    blocks = d_right[-BLOCK_STEPS * BLOCKS :]
    blocks = blocks[: len(blocks) // BLOCK_STEPS * BLOCK_STEPS].reshape(-1, BLOCK_STEPS).mean(1)
    decided = [right > 0.5 for right in blocks if abs(right - 0.5) >= 0.25]
    return sum(a != b for a, b in zip(decided, decided[1:]))


STATES = {
    "not-finite": State(
        # The trainer stops before it takes a step with such a number; this is for logs from elsewhere.
        lambda recent, first: not all(np.isfinite(values).all() for values in recent.values()),
        "a loss or gradient is no longer a finite number",
        "smaller --rates, or --on-nan rollback",
    ),
    "d-winning": State(
        # D's loss asks for 1/50 of what it asks of a D that cannot tell. If the game has probabilities, D(HR) > 0.99
        # and D(SR) < 0.01. G's gradient then depends on how D's last doubts vary, and hardly on the images. (This never
        # holds for a Wasserstein critic: it is meant to be as good as it can, and its doubt stays 1.)
        lambda recent, first: window_median(recent, "d_doubt") < 0.02,
        "D is winning: it hardly doubts which images are SR, so its gradient tells G little about how to improve",
        "a regulariser for D (--regulariser r1 or instance-noise), or a larger share or weight of the adversarial loss",
    ),
    "g-winning": State(
        # In balance d_right is 1/2, and its median over the window is within 0.05 of that; 0.4 is not by chance.
        lambda recent, first: window_median(recent, "d_right") < 0.4,
        "G is winning: D takes SR for real more often than HR, and leads G astray",
        "a smaller share or weight of the adversarial loss, or a larger D",
    ),
    "oscillation": State(
        # Two changes may be a slip and its repair; three within 200 steps are a rhythm.
        lambda recent, first: changes_of_winner(recent.get("d_right", np.zeros(0))) >= 3,
        "G and D go round in circles: D wins and loses again and again",
        "smaller --rates, --regulariser r1, or a longer average (--ema)",
    ),
    "vanishing-gradient": State(
        # Adam ignores a common factor of all gradients. But a gradient 1000 times smaller than before no longer counts
        # beside the other terms, and it comes near the rounding errors of the numbers whose difference it is.
        lambda recent, first: any(times_the_first(recent, first, c) < 1e-3 for c in ("grad_adversarial", "grad_d")),
        "a gradient vanishes: G or D learns a thousand times less from the game than at first",
        "--adversarial non-saturating or least-squares, which do not saturate, or a regulariser for D",
    ),
    "exploding-gradient": State(
        # As a training settles, gradients shrink. Growth to 100 times is of the kind that goes on.
        lambda recent, first: any(times_the_first(recent, first, c) > 100 for c in GRADIENTS),
        "a gradient explodes: it is a hundred times what it was at first",
        "smaller --rates, or a bound on D's gradient (--regulariser spectral-norm or gradient-penalty)",
    ),
    "no-diversity": State(
        # Half of what G adds does not depend on its input; or G adds only a 20th of what is missing, next to nothing.
        lambda recent, first: window_median(recent, "sameness") > 0.5 or window_median(recent, "detail") < 0.05,
        "G has lost its diversity: what it adds to the bicubic enlargement is nearly the same whatever the image, or "
        "nearly nothing",
        "a larger weight of the content loss or a smaller one of the adversarial, and smaller --rates",
    ),
    "colour-drift": State(
        # A difference of 5 levels over a whole image is visible side by side; sound trainings stay below 2.
        lambda recent, first: window_median(recent, "drift") > 5,
        "the colours drift: SR as a whole has another colour than LR",
        "a share of the pixel loss (--share pixel=0.3)",
    ),
}
SUDDEN = 1000  # times the least of the first steps: batches differ by far less, explosions by far more
KEPT = BLOCK_STEPS * BLOCKS  # the most steps that a state looks back
# the columns that the states, or the check for finite numbers, look at
MEASURES = "loss_g loss_d penalty grad_g grad_d grad_adversarial d_right d_doubt detail sameness drift".split()


def diagnose(recent: Collection[Mapping[str, float]], first: Collection[Mapping[str, float]]) -> list[str] | None:
    """The names of the states that hold; None if there are fewer than WINDOW rows, when it is too early to say.

    recent   the last KEPT rows, {column: number}
    first    the stage's first WINDOW rows
    """
    if len(recent) < WINDOW:
        return None
    columns = [
        {name: np.array([row[name] for row in rows if name in row]) for name in MEASURES} for rows in (recent, first)
    ]
    with np.errstate(invalid="ignore"):
        return [name for name, state in STATES.items() if state.holds(*columns)]


class Monitor:
    """Takes in the rows of a stage one by one, and keeps as many as `diagnose` needs.

    explodes   whether G's or D's gradient is now so large that the run should not go back to this state later: either
               "exploding-gradient" holds, or one of the last WINDOW gradient norms is more than SUDDEN times the least
               of the stage's first WINDOW
    """

    def __init__(self, rows: Iterable[Mapping[str, float]] = ()) -> None:
        self.first, self.recent, self.told, self.explodes = [], deque(maxlen=KEPT), set(), False
        for row in rows:
            self.add(row)

    def add(self, row: Mapping[str, float]) -> list[str] | None:
        """Add a step's {column: number}; return the names of the states that now hold, or None if it is too early."""
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
        """A sentence, with advice, for each of the states that was not reported before."""
        fresh = [name for name in states or () if name not in self.told]
        self.told.update(fresh)
        return [f"{STATES[name].says}. Try {STATES[name].remedy}." for name in fresh]
