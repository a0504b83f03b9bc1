"""Pictures and tables of a training: its measurements, and a photo as it enlarges it.

A file that cannot be written completely is not written at all.
"""

import csv
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO, StringIO
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from ..files import write_whole
from ..imaging.metrics import Score
from ..imaging.patches import place_of_most_contrast
from .config import TERMS
from .health import STATES

DETAIL = 96  # the side of the enlarged detail, in HR pixels


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure as PNG."""
    FigureCanvasAgg(figure)
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    write_whole(path, buffer.getvalue())


def write_csv(path: str | Path, columns: Sequence[str], rows: Iterable[Sequence]) -> None:
    """Write a table as CSV."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    write_whole(path, text.getvalue().encode())


def draw_comparison(
    path: Path | str, lr: np.ndarray, hr: np.ndarray, enlarged: Mapping[str, tuple[np.ndarray, Score]]
) -> None:
    """Draw LR, the images `enlarged` from it and HR side by side; below, the detail of each where LR has most contrast.

    enlarged   {name: (image, its Score)}
    """
    scale = hr.shape[0] // lr.shape[0]
    top, left = (scale * place for place in place_of_most_contrast(lr, min(DETAIL // scale, *lr.shape[:2])))
    panels = {"LR": (lr.repeat(scale, 0).repeat(scale, 1), "")}
    for name, (image, figures) in enlarged.items():
        panels[name] = image, f"{figures.psnr_y:.2f} dB, SSIM {figures.ssim_y:.3f}"
    panels["HR"] = hr, ""
    height = 3 * hr.shape[0] / hr.shape[1]
    figure = Figure(figsize=(3 * len(panels), height + 3.7), layout="constrained")
    axes = figure.subplots(2, len(panels), squeeze=False, height_ratios=[height, 3])
    for (name, (image, caption)), whole, detail in zip(panels.items(), *axes):
        whole.imshow(image)
        whole.set_title(name, fontsize=12)
        whole.set_xlabel(caption, fontsize=10)  # the figures are those of the whole photo
        whole.add_patch(Rectangle((left, top), DETAIL, DETAIL, fill=False, edgecolor="yellow", linewidth=1.2))
        detail.imshow(image[top : top + DETAIL, left : left + DETAIL], interpolation="nearest")
        for each in (whole, detail):
            each.set(xticks=[], yticks=[])
    save_figure(figure, path)


def draw_curves(path: Path | str, rows: Sequence[Mapping[str, str]], bicubic: float | None = None) -> None:
    """Draw the log over the steps of both stages: losses, the gradient norms of G's terms at SR, D's output, gradient
    norms in the parameters, PSNR beside bicubic's, and what was wrong when.

    Rows may be missing, but not the first stage's last.
    """
    figure = Figure(figsize=(11, 10), layout="constrained")
    panels = [
        ("losses", [*(f"loss_{term}" for term in TERMS), "loss_d"], "log"),
        ("gradient norms of G's terms at SR: ‖weight·∂L/∂SR‖", [f"grad_{term}" for term in TERMS], "log"),
        ("D's output for HR and SR; how often it is right", ["d_real", "d_fake", "d_right"], "linear"),
        ("gradient norms in the parameters", ["grad_g", "grad_d"], "log"),
        ("PSNR of held-out photos, dB on Y", ["psnr"], "linear"),
        ("health: what was wrong, and when", [], "linear"),
    ]
    pretrained = max((int(row["step"]) for row in rows if row["stage"] == "pretrain"), default=0)
    steps = [int(row["step"]) + pretrained * (row["stage"] == "gan") for row in rows]
    gan = pretrained if pretrained and rows[-1]["stage"] == "gan" else None
    grid = figure.subplots(3, 2, sharex=True).flat
    for axes, (title, columns, scale) in zip(grid, panels):
        for column in columns:
            points = [(step, float(row[column])) for step, row in zip(steps, rows) if row[column] != ""]
            points = [(step, value) for step, value in points if value > 0 or scale == "linear"]
            if points:
                axes.plot(*zip(*points), label=column, linewidth=1, marker="o" if column == "psnr" else None, ms=3)
        if columns == ["psnr"] and bicubic is not None and np.isfinite(bicubic):
            axes.axhline(bicubic, label="bicubic", color="grey", linestyle="--", linewidth=1)
        if not columns:
            draw_health(axes, steps, rows)
        elif axes.lines:
            axes.set_yscale(scale)
            axes.legend(fontsize=8)
        if gan:
            axes.axvline(gan + 0.5, color="grey", linestyle=":", linewidth=1)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.tick_params(labelbottom=True)  # a shared axis would hide them
        axes.set_title(title, fontsize=11)
        axes.set_xlabel("step (dotted: the GAN stage begins)" if gan else "step", fontsize=9)
    save_figure(figure, path)


def draw_health(axes: Axes, steps: Sequence[int], rows: Sequence[Mapping[str, str]]) -> None:
    """Draw a line for each state in the log, with a mark at each step at which the state held."""
    names = [name for name in STATES if any(name in row["health"].split("+") for row in rows)]
    for height, name in enumerate(names):
        held = [step for step, row in zip(steps, rows) if name in row["health"].split("+")]
        axes.plot(held, [height] * len(held), "|", label=name, color="#D55E00", ms=9)
    axes.set_yticks(range(len(names)), names, fontsize=9)
    axes.set_ylim(-0.5, max(len(names), 1) - 0.5)
    if not names:
        axes.text(0.5, 0.5, "nothing", transform=axes.transAxes, ha="center", va="center", color="grey")
