"""Eight Gaussians on a ring: which losses and regularisers find all of them? (Metz et al. 2016 posed the puzzle.)

G makes points of the plane out of noise, and a D of the same size tells them from the ring's points. Each pair of an
adversarial loss and a regulariser plays the same number of steps, from the same G, on the same points. Whatever can go
wrong with an image GAN goes wrong here in seconds, where one can see it: G leaves modes out, runs from one mode to the
next, or scatters its points between them.
"""

import os
import signal
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from ..files import check_writable
from ..losses import ADVERSARIAL
from ..nn import Dense, LeakyReLU, Module, Sequential, SpectralNormed
from ..optim import Adam
from ..progress import progress_bar
from ..regularisers import REGULARISERS
from ..tensor import Tensor, grad, no_grad
from ..training.adversary import Adversary
from ..training.report import save_figure, write_csv

MODES, RADIUS, STD = 8, 2.0, 0.1
ANGLES = 2 * np.pi * np.arange(MODES) / MODES
CENTRES = RADIUS * np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)

NOISE, WIDTH = 16, 64  # numbers that G starts from; units of each hidden layer
NEGATIVE_SLOPE = 0.2  # of the rectifiers
SEEDS, BATCH = 3, 128
RATE, BETA1 = 5e-3, 0.0  # β₁ = 0: an average of old gradients points to where the other player no longer is
SAMPLES = 2000
LEAST_SHARE = 1 / MODES / 10  # the share of the samples from which a mode counts as found: a tenth of its own share
# Of the regularisers. They differ from those for images: a point has two numbers, and a crop thousands, over which a
# gradient is spread.
STRENGTHS = {"r1": 0.1, "gradient-penalty": 0.1, "instance-noise": 0.5}
PAIRS = (
    [(adversarial, "none") for adversarial in ADVERSARIAL]
    + [("non-saturating", regulariser) for regulariser in REGULARISERS if regulariser != "none"]
    + [("wasserstein", "gradient-penalty"), ("hinge", "spectral-norm"), ("relativistic", "r1")]  # usual pairs
)


class Outcome(NamedTuple):
    """How a game ended: the modes found, the share of samples within three deviations of a mode, the samples."""

    adversarial: str
    regulariser: str
    seed: int
    modes: int
    quality: float
    points: np.ndarray


def ring(rng: np.random.Generator, count: int) -> np.ndarray:
    """Random points of the ring, (count, 2)."""
    points = CENTRES[rng.integers(MODES, size=count)] + STD * rng.standard_normal((count, 2))
    return points.astype(np.float32)


def judge(points: np.ndarray) -> tuple[int, float]:
    """(modes found, share of the points within three standard deviations of a mode)."""
    distances = np.linalg.norm(points[:, None] - CENTRES, axis=2)
    good = distances.min(axis=1) <= 3 * STD
    shares = np.bincount(distances.argmin(axis=1)[good], minlength=MODES) / len(points)
    return int((shares >= LEAST_SHARE).sum()), float(good.mean())


class Perceptron(Module):
    """Dense layers with rectifiers between them: (N, sizes[0]) to (N, sizes[-1])."""

    def __init__(self, rng: np.random.Generator, sizes: Sequence[int], spectral_norm: bool = False):
        layers: list[Module] = []
        for cin, cout in zip(sizes, sizes[1:]):
            dense = Dense(rng, cin, cout, slope=NEGATIVE_SLOPE)
            layers += [SpectralNormed(rng, dense) if spectral_norm else dense, LeakyReLU(NEGATIVE_SLOPE)]
        self.net = Sequential(*layers[:-1])

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class PointDiscriminator(Perceptron):
    """Points, (N, 2), to a logit for each, (N,)."""

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x).reshape((len(x.data),))


def play(adversarial: str, regulariser: str, seed: int, steps: int) -> Outcome:
    """The Outcome after `steps` steps of D and of G in turn."""
    init_g, init_d, data, noise, tests = (np.random.default_rng([seed, i]) for i in range(5))
    kind, game = REGULARISERS[regulariser], ADVERSARIAL[adversarial]
    g = Perceptron(init_g, [NOISE, WIDTH, WIDTH, 2])
    d = PointDiscriminator(init_d, [2, WIDTH, WIDTH, 1], kind.needs.get("spectral_norm", False))
    adversary = Adversary(d, game, kind(noise, STRENGTHS.get(regulariser)))
    adam_g, adam_d = (Adam(each.named_parameters(), BETA1) for each in (g, d))

    def make(count: int, rng: np.random.Generator) -> Tensor:
        return g(Tensor(rng.standard_normal((count, NOISE), np.float32)))

    for step in range(steps):
        progress = step / steps
        made = make(BATCH, data)
        hr, sr = (adversary.disturb(each, progress) for each in (Tensor(ring(data, BATCH)), made))
        loss_d, penalty, *_ = adversary.discriminator_loss(hr, sr.detach())
        adam_d.step(grad(loss_d + penalty, d.parameters()), RATE)
        adam_g.step(grad(adversary.generator_loss(hr, sr), g.parameters()), RATE)
    with no_grad():
        points = make(SAMPLES, tests).data
    return Outcome(adversarial, regulariser, seed, *judge(points), points)


def play_all(steps: int) -> list[Outcome]:
    """The Outcomes of every pair and seed, in order. There is a process for each core."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the processes use all cores: threads of BLAS would get in their way
    games = [(*pair, seed, steps) for pair, seed in product(PAIRS, range(SEEDS))]
    ignore = signal.SIGINT, signal.SIG_IGN  # Ctrl-C is for the parent
    pool = ProcessPoolExecutor(mp_context=get_context("spawn"), initializer=signal.signal, initargs=ignore)
    try:
        return list(progress_bar(pool.map(play, *zip(*games)), total=len(games), unit="game"))
    except KeyboardInterrupt:
        for process in active_children():  # games that are running would go on to their end
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def modes(out: str | Path, steps: int) -> None:
    """Play, print the table, write the picture `out`, and beside it a CSV file with every game."""
    check_writable(out)
    outcomes = play_all(steps)
    print(f"{'adversarial':18}{'regulariser':20}{'modes of 8':>11}{'quality':>9}    {'of each seed'}")
    for pair in PAIRS:
        own = [each for each in outcomes if each[:2] == pair]
        each_seed = ", ".join(f"{each.modes} {each.quality:.0%}" for each in own)
        print(f"{pair[0]:18}{pair[1]:20}{mean(own, 'modes'):11.1f}{mean(own, 'quality'):9.0%}    {each_seed}")
    draw_gallery(out, [each for each in outcomes if each.seed == 0])
    rows = ((*each[:4], round(each.quality, 4)) for each in outcomes)
    write_csv(Path(out).with_suffix(".csv"), Outcome._fields[:5], rows)


def mean(outcomes: Sequence[Outcome], what: str) -> float:
    return float(np.mean([getattr(each, what) for each in outcomes]))


def draw_gallery(path: str | Path, outcomes: Sequence[Outcome]) -> None:
    """Draw the ring itself, and then the samples of each game on it."""
    real = ring(np.random.default_rng(0), SAMPLES)
    panels = [("the ring itself", real, *judge(real))]
    for each in outcomes:
        title = f"{each.adversarial}, {each.regulariser}".removesuffix(", none")
        panels.append((title, each.points, each.modes, each.quality))
    figure = Figure(figsize=(15, 9.6), layout="constrained")
    for axes, (title, points, found, quality) in zip(figure.subplots(3, -(-len(panels) // 3)).flat, panels):
        for centre in CENTRES:
            axes.add_patch(Circle(centre, 3 * STD, fill=False, edgecolor="#D55E00", linewidth=1))
        axes.plot(*points.T, ".", color="#0072B2", markersize=2, alpha=0.5)
        axes.set(xlim=(-3, 3), ylim=(-3, 3), xticks=[], yticks=[], aspect="equal", title=title)
        axes.set_xlabel(f"{found} of {MODES} modes, {quality:.0%} within 3 deviations")
    save_figure(figure, path)
