"""What a piece of work launches, and when: each kernel's start and duration, as a picture.

On a GPU an event is recorded in the stream before and after each launch, and the GPU itself takes the times; on a CPU a
launch returns when its kernel has ended, and the clock takes them. Only our own kernels are seen. In the gaps run
CuPy's, or the GPU waits for Python.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from ..device import launch as launching
from ..training.report import save_figure

LANES = 16  # of the kernels that take most time; the others share one


class Launch(NamedTuple):
    """A kernel's name, and when it started and how long it ran, in seconds from the first launch."""

    kernel: str
    start: float
    seconds: float


class Clock:
    """Moments of a CPU."""

    now = staticmethod(time.perf_counter)

    @staticmethod
    def between(start: float, end: float) -> float:
        return end - start


class GPUClock:
    """Moments of a GPU: events in its stream."""

    @staticmethod
    def now() -> Any:
        import cupy

        event = cupy.cuda.Event()
        event.record()
        return event

    @staticmethod
    def between(start: Any, end: Any) -> float:
        import cupy

        end.synchronize()
        return cupy.cuda.get_elapsed_time(start, end) / 1000


def record(work: Callable[[], object], device: str) -> list[Launch]:
    """Do the work, and return its launches in their order."""
    clock = GPUClock if device == "cuda" else Clock
    seen: list[tuple[str, Any, Any]] = []

    def watch(name: str, run: Callable[[Sequence], None], moving: Sequence) -> None:
        start = clock.now()
        run(moving)
        seen.append((name, start, clock.now()))

    with launching.watched_by(watch):
        work()
    return [Launch(name, clock.between(seen[0][1], start), clock.between(start, end)) for name, start, end in seen]


def summary(launches: Sequence[Launch]) -> dict[str, dict[str, float]]:
    """{kernel: {"launches": …, "ms": …}}, that with the most time first."""
    total: dict[str, dict[str, float]] = {}
    for kernel, _, seconds in launches:
        entry = total.setdefault(kernel, {"launches": 0, "ms": 0.0})
        entry["launches"] += 1
        entry["ms"] += 1e3 * seconds
    return dict(sorted(total.items(), key=lambda item: -item[1]["ms"]))


def draw_timeline(path: str | Path, title: str, launches: Sequence[Launch]) -> None:
    """Draw a lane for each kernel, with a bar for each launch; above them all of them in one lane."""
    kernels = summary(launches)
    lanes = list(kernels)[:LANES]
    end = max(launch.start + launch.seconds for launch in launches)
    busy = sum(launch.seconds for launch in launches)
    figure = Figure(figsize=(14, 1.8 + 0.33 * (len(lanes) + 2)), layout="constrained")
    axes = figure.subplots()
    labels = ["all", *(label(name, kernels[name]) for name in lanes)]
    if others := {name: entry for name, entry in kernels.items() if name not in lanes}:
        labels.append(label("others", together(others)))
    for launch in launches:
        lane = lanes.index(launch.kernel) + 1 if launch.kernel in lanes else len(lanes) + 1
        color = f"C{(lane - 1) % 10}" if launch.kernel in lanes else "grey"
        bar = [(1e3 * launch.start, 1e3 * launch.seconds)]
        for height in (0, lane):
            axes.broken_barh(bar, (height - 0.4, 0.8), facecolor=color, edgecolor=color, linewidth=0.4)
    axes.set_yticks(range(len(labels)), labels, fontsize=9)
    axes.invert_yaxis()
    axes.set_xlim(0, 1e3 * end)
    axes.set_xlabel("milliseconds")
    said = f"{len(launches):,} launches in {1e3 * end:,.1f} ms, our kernels run {busy / end:.0%} of it"
    axes.set_title(f"{title}: {said}")
    save_figure(figure, path)


def together(kernels: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    return {name: float(np.sum([entry[name] for entry in kernels.values()])) for name in ("launches", "ms")}


def label(name: str, entry: Mapping[str, float]) -> str:
    return f"{name}: {entry['launches']:.0f} in {entry['ms']:,.1f} ms"
