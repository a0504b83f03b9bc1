"""What limits a convolution: the rate of arithmetic, or that of memory? Williams, Waterman and Patterson 2009.

    rate ≤ min(peak, bandwidth·I)        I = operations / bytes

Bytes are those of the arrays, each read or written once. The roofs are measured: the bandwidth by a copy of large
arrays, of which each byte is read and written, and the peak of a precision by a large product of matrices.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ..arrays import array_module, to_device
from ..training.report import save_figure

MARKERS = {"forward": "o", "InputGrad": "<", "WeightGrad": "s"}


def copying(size: int, device: str, threads: int) -> Callable[[], object]:
    """Work that copies `size` bytes: on a CPU in so many threads, since one may not use all of the memory's width."""
    source = to_device(np.zeros(size // 4, np.float32), device)
    target = array_module(source).ones_like(source)
    if device == "cuda":
        return lambda: array_module(source).copyto(target, source)
    pool = ThreadPoolExecutor(threads)
    parts = list(zip(np.array_split(target, threads), np.array_split(source, threads)))
    return lambda: list(pool.map(lambda part: np.copyto(*part), parts))


def multiplying(side: int, device: str) -> Callable[[], object]:
    """Work that multiplies two float32 matrices of side × side, by BLAS or cuBLAS."""
    a = to_device(np.full((side, side), 1e-3, np.float32), device)
    out = array_module(a).empty_like(a)
    return lambda: array_module(a).matmul(a, a, out=out)


def draw_roofline(path: str | Path, title: str, roofs: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
    """Draw convolutions below their roofs: filled marks are ours, hollow ones PyTorch's.

    roofs   {"copy, GB/s": …, "peaks, GFLOP/s": {precision: …}}
    rows    with "direction", "intensity" (operations per byte), "precision", and {who: GFLOP/s} in "gflops"
    """
    figure = Figure(figsize=(10, 7), layout="constrained")
    axes = figure.subplots()
    intensities = np.array([row["intensity"] for row in rows])
    x = np.geomspace(min(intensities.min() / 2, 1), intensities.max() * 4, 200)
    peaks = roofs["peaks, GFLOP/s"]
    colors = {name: f"C{i}" for i, name in enumerate(dict.fromkeys([*peaks, *(row["precision"] for row in rows)]))}
    for name, peak in peaks.items():
        axes.loglog(
            x, np.minimum(peak, roofs["copy, GB/s"] * x), color=colors[name], label=f"{name}: {peak:,.4g} GFLOP/s"
        )
    for name in [name for name in colors if name not in peaks]:
        axes.plot([], [], color=colors[name], label=f"{name}: no roof was measured")
    for row in rows:
        for who, rate in row["gflops"].items():
            color = colors[row["precision"]]
            face = color if who == "ours" else "none"
            axes.plot(row["intensity"], rate, MARKERS[row["direction"]], color=color, markerfacecolor=face, ms=7)
    for direction, marker in MARKERS.items():
        axes.plot([], [], marker, color="grey", label=direction)
    axes.plot([], [], "o", color="grey", markerfacecolor="none", label="hollow: PyTorch's")
    axes.set_xlabel(f"operations per byte; the slope is the copy's {roofs['copy, GB/s']:,.3g} GB/s")
    axes.set_ylabel("GFLOP/s, by the definition's operations")
    axes.set_title(title)
    axes.grid(which="both", alpha=0.2)
    axes.legend(fontsize=9)
    save_figure(figure, path)
