"""A picture of every adversarial loss and of its derivative, drawn from the Ops themselves."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ..losses import ADVERSARIAL, Adversarial
from ..tensor import Tensor, grad
from ..training.report import save_figure

LOGITS = np.linspace(-5, 5, 201)
HEIGHTS = {"loss": (-5.5, 8), "derivative in the logit": (-2.4, 2.4)}
# Colours of Okabe and Ito, which colour-blind people can tell apart, and lines that differ without colour
LOOKS = {
    "D's loss, of a real image": {"color": "#56B4E9", "linestyle": "-", "linewidth": 4},
    "D's loss, of a made image": {"color": "#D55E00", "linestyle": "--", "linewidth": 2},
    "G's loss, of a made image": {"color": "black", "linestyle": ":", "linewidth": 2},
}


def sides(game: Adversarial) -> dict[str, Callable[[Tensor], Tensor]]:
    """The losses of a game, each as a function of the logit of one image. The logit of the other image is 0."""
    zero = Tensor(np.zeros(1))
    functions = (
        lambda z: game.discriminator(z, zero),
        lambda z: game.discriminator(zero, z),
        lambda z: game.generator_loss(lambda logits: logits, zero, z),
    )
    return dict(zip(LOOKS, functions))


def along(loss: Callable[[Tensor], Tensor]) -> np.ndarray:
    """The values of a function of one logit at LOGITS, and its derivatives: (2, len(LOGITS))."""
    points = []
    for logit in LOGITS:
        z = Tensor(np.array([logit]), requires_grad=True)
        value = loss(z)
        points.append((value.item(), grad(value, z)[0].item()))
    return np.array(points).T


def draw_losses(path: str | Path) -> None:
    """Draw each adversarial loss, and below it its derivative."""
    figure = Figure(figsize=(16, 6), layout="constrained")
    axes = figure.subplots(2, len(ADVERSARIAL), sharex=True, sharey="row")
    for column, (name, game) in zip(axes.T, ADVERSARIAL.items()):
        column[0].set_title(name, fontsize=13)
        for side, loss in sides(game).items():
            for panel, curve in zip(column, along(loss)):
                panel.plot(LOGITS, curve, **LOOKS[side], label=side)
    for row, (what, limits) in zip(axes, HEIGHTS.items()):
        row[0].set_ylabel(what, fontsize=12)
        for panel in row:
            panel.set(ylim=limits, xticks=[-4, -2, 0, 2, 4])
            panel.axhline(0, color="grey", linewidth=0.8, zorder=0)
            panel.axvline(0, color="grey", linewidth=0.8, zorder=0)
    figure.supxlabel("logit z of the image; that of the other image is 0", fontsize=12)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3, fontsize=12)
    save_figure(figure, path)
