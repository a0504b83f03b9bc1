"""Eight Gaussians on a ring: which losses and regularisers find all of them? (Metz et al. 2016 posed the puzzle.)

G makes points of the plane out of noise, and a D that is as small tells them from the ring's. Each pair of an
adversarial loss and a regulariser plays the same number of steps, from the same G, on the same points. All that
can go wrong with an image GAN goes wrong here in seconds, where it can be seen: G leaves modes out, runs from one to
the next, or scatters its points between them.
"""

import csv
import io
import os
import signal
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from ..files import check_writable, write_whole
from ..losses import ADVERSARIAL
from ..nn import Dense, LeakyReLU, Module, Sequential, SpectralNormed
from ..optim import Adam
from ..progress import progress_bar
from ..regularisers import REGULARISERS
from ..tensor import Tensor, grad, no_grad
from ..training.adversary import Adversary
from ..training.report import save_figure

MODES, RADIUS, STD = 8, 2.0, 0.1
ANGLES = 2 * np.pi * np.arange(MODES) / MODES
CENTRES = RADIUS * np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)

NOISE, WIDTH, SLOPE = 16, 64, 0.2  # numbers that G starts from; units of both hidden layers; of the rectifiers
SEEDS, BATCH = 3, 128
RATE, BETA1 = 5e-3, 0.0  # β₁ = 0, since an average of old gradients points where the other player no longer is
SAMPLES = 2000
LEAST = 1 / MODES / 10  # of the samples, for a mode to count as found: a tenth of its share
# of regularisers: a point has two numbers, where a crop has thousands to share a gradient out over
STRENGTHS = {"r1": 0.1, "gradient-penalty": 0.1, "instance-noise": 0.5}
PAIRS = (
    [(adversarial, "none") for adversarial in ADVERSARIAL]
    + [("non-saturating", regulariser) for regulariser in REGULARISERS if regulariser != "none"]
    + [("wasserstein", "gradient-penalty"), ("hinge", "spectral-norm"), ("relativistic", "r1")]  # as they are used
)


class Outcome(NamedTuple):
    """What a game came to: the modes found, the share of samples within three deviations of one, some samples."""

    adversarial: str
    regulariser: str
    seed: int
    modes: int
    quality: float
    points: np.ndarray


def ring(rng, count):
    """Points of the ring, (count, 2)."""
    points = CENTRES[rng.integers(MODES, size=count)] + STD * rng.standard_normal((count, 2))
    return points.astype(np.float32)


def judge(points):
    """(modes found, share of the points within three standard deviations of one)."""
    distances = np.linalg.norm(points[:, None] - CENTRES, axis=2)
    good = distances.min(axis=1) <= 3 * STD
    shares = np.bincount(distances.argmin(axis=1)[good], minlength=MODES) / len(points)
    return int((shares >= LEAST).sum()), float(good.mean())


class Perceptron(Module):
    """Dense layers with rectifiers between them: (N, sizes[0]) to (N, sizes[-1])."""

    def __init__(self, rng, sizes, spectral_norm=False):
        layers = []
        for cin, cout in zip(sizes, sizes[1:]):
            dense = Dense(rng, cin, cout, slope=SLOPE)
            layers += [SpectralNormed(rng, dense) if spectral_norm else dense, LeakyReLU(SLOPE)]
        self.net = Sequential(*layers[:-1])

    def forward(self, x):
        return self.net(x)


class PointDiscriminator(Perceptron):
    """(N, 2) to a logit each, (N,)."""

    def forward(self, x):
        return self.net(x).reshape((len(x.data),))


def play(adversarial, regulariser, seed, steps):
    """The Outcome of `steps` steps of D and of G in turn."""
    init_g, init_d, data, noise, tests = (np.random.default_rng([seed, i]) for i in range(5))
    kind, game = REGULARISERS[regulariser], ADVERSARIAL[adversarial]
    g = Perceptron(init_g, [NOISE, WIDTH, WIDTH, 2])
    d = PointDiscriminator(init_d, [2, WIDTH, WIDTH, 1], kind.needs.get("spectral_norm", False))
    adversary = Adversary(d, game, kind(noise, STRENGTHS.get(regulariser)))
    adam_g, adam_d = (Adam(each.named_parameters(), BETA1) for each in (g, d))

    def make(count, rng):
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


def play_all(steps):
    """The Outcomes of every pair and seed, in order; a process for each core."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the processes have the cores: threads of BLAS would fight for them
    games = [(*pair, seed, steps) for pair, seed in product(PAIRS, range(SEEDS))]
    quiet = {"initializer": signal.signal, "initargs": (signal.SIGINT, signal.SIG_IGN)}  # Ctrl-C is the parent's
    pool = ProcessPoolExecutor(mp_context=get_context("spawn"), **quiet)
    try:
        return list(progress_bar(pool.map(play, *zip(*games)), total=len(games), unit="game"))
    except KeyboardInterrupt:
        for process in active_children():  # the games that run would go on to their end
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def modes(out, steps):
    """Play, say the table, and write the picture `out` and a CSV file with every game beside it."""
    check_writable(out)
    outcomes = play_all(steps)
    print(f"{'adversarial':18}{'regulariser':20}{'modes of 8':>11}{'quality':>9}    {'of each seed'}")
    for pair in PAIRS:
        own = [each for each in outcomes if each[:2] == pair]
        each_seed = ", ".join(f"{each.modes} {each.quality:.0%}" for each in own)
        print(f"{pair[0]:18}{pair[1]:20}{mean(own, 'modes'):11.1f}{mean(own, 'quality'):9.0%}    {each_seed}")
    draw_gallery(out, [each for each in outcomes if each.seed == 0])
    write_table(Path(out).with_suffix(".csv"), outcomes)


def mean(outcomes, what):
    return np.mean([getattr(each, what) for each in outcomes])


def write_table(path, outcomes):
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(Outcome._fields[:5])
    table.writerows((*each[:4], round(each.quality, 4)) for each in outcomes)
    write_whole(path, text.getvalue().encode())


def draw_gallery(path, outcomes):
    """The samples of each game on the ring, after the ring itself."""
    real = ring(np.random.default_rng(0), SAMPLES)
    panels = [("the ring itself", real, judge(real))]
    panels += [
        (f"{each.adversarial}, {each.regulariser}", each.points, (each.modes, each.quality)) for each in outcomes
    ]
    panels = [(title.removesuffix(", none"), *rest) for title, *rest in panels]
    figure = Figure(figsize=(15, 9.6), layout="constrained")
    for axes, (title, points, (found, quality)) in zip(figure.subplots(3, -(-len(panels) // 3)).flat, panels):
        for centre in CENTRES:
            axes.add_patch(Circle(centre, 3 * STD, fill=False, edgecolor="#D55E00", linewidth=1))
        axes.plot(*points.T, ".", color="#0072B2", markersize=2, alpha=0.5)
        axes.set(xlim=(-3, 3), ylim=(-3, 3), xticks=[], yticks=[], aspect="equal", title=title)
        axes.set_xlabel(f"{found} of {MODES} modes, {quality:.0%} within 3 deviations")
    save_figure(figure, path)
