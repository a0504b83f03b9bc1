"""Curves as SVG: what was measured against the step, with marks where something was wrong."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from .markup import Html, element, joined

WIDTH, HEIGHT = 480, 230  # of a chart, in its own units
LEFT, RIGHT, TOP, BOTTOM = 52, 10, 10, 30  # its margins
POINTS = 300  # the most of a curve: more than one for every second pixel shows nothing more
COLORS = 8  # page.css has so many

Points = Sequence[tuple[float, float]]


class Mark(NamedTuple):
    """From one step to another something was wrong: its name, and a sentence on it."""

    first: float
    last: float
    name: str
    says: str


class Chart(NamedTuple):
    """Curves over a common axis.

    curves   {name: (x, y) points}
    log      whether the axis of y is logarithmic; points of 0 or less are then left out
    level    (name, y) of a line to compare with
    borders  {x: what begins there}
    """

    title: str
    curves: Mapping[str, Points]
    log: bool = False
    level: tuple[str, float] | None = None
    borders: Mapping[float, str] = {}
    marks: Sequence[Mark] = ()
    x_name: str = "step"
    unit: str = ""


def thinned(points: Points, most: int = POINTS) -> tuple[Points, int]:
    """(at most so many points, of how many each is the mean)."""
    each = max(-(-len(points) // most), 1)
    groups = [points[start : start + each] for start in range(0, len(points), each)]
    return [(group[-1][0], sum(y for _, y in group) / len(group)) for group in groups], each


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers from `low` to `high`: multiples of 1, 2 or 5 times a power of ten."""
    least = (high - low) / most
    power = 10.0 ** math.floor(math.log10(least))
    step = next(power * k for k in (1, 2, 5, 10) if power * k >= least * (1 - 1e-9))
    return [step * i for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten between two exponents; within one decade also their doubles and fives."""
    exponents = range(math.ceil(low - 1e-9), math.floor(high + 1e-9) + 1)
    if len(exponents) >= 2:
        every = -(-len(exponents) // 6)
        return [float(k) for k in exponents if k % every == 0]
    near = [math.log10(k) + e for e in range(math.floor(low), math.floor(high) + 1) for k in (1, 2, 3, 5, 7)]
    return [each for each in near if low <= each <= high]


def short(value: float) -> str:
    """A number in few characters."""
    if value and not 1e-3 <= abs(value) < 1e5:
        mantissa, _, exponent = f"{value:.3g}".partition("e")
        return f"{mantissa}e{int(exponent)}" if exponent else mantissa
    return f"{value:.4g}"


def chart(drawn: Chart) -> Html:
    """A chart, with a legend; the script adds a reading of the values under the pointer. Nothing, if there is nothing
    to show."""
    there = {
        name: [(x, y) for x, y in points if math.isfinite(y) and (y > 0 or not drawn.log)]
        for name, points in drawn.curves.items()
    }
    thin = {name: thinned(points) for name, points in there.items() if points}
    curves, most = {name: points for name, (points, _) in thin.items()}, max((n for _, n in thin.values()), default=1)
    if not curves:
        return Html("")
    places = [x for points in curves.values() for x, _ in points] + [each.last for each in drawn.marks]
    heights = [y for points in curves.values() for _, y in points]
    if drawn.level and math.isfinite(drawn.level[1]):
        heights.append(drawn.level[1])
    turn = math.log10 if drawn.log else float
    x0, x1 = min(places), max(places)
    y0, y1 = turn(min(heights)), turn(max(heights))
    x1 = x1 if x1 > x0 else x0 + 1
    pad = 0.06 * (y1 - y0) or abs(y0) * 0.05 or 0.5
    y0, y1 = y0 - pad, y1 + pad

    def across(x: float) -> float:
        return LEFT + (x - x0) / (x1 - x0) * (WIDTH - LEFT - RIGHT)

    def down(y: float) -> float:
        return HEIGHT - BOTTOM - (y - y0) / (y1 - y0) * (HEIGHT - TOP - BOTTOM)

    parts = []
    for y in log_ticks(y0, y1) if drawn.log else ticks(y0, y1):
        at = f"{down(y):.1f}"
        parts.append(element("line", class_="grid", x1=LEFT, x2=WIDTH - RIGHT, y1=at, y2=at))
        text = short(10.0**y if drawn.log else y)
        parts.append(element("text", text, x=LEFT - 6, y=f"{down(y) + 4:.1f}", text_anchor="end"))
    for x in ticks(x0, x1):
        parts.append(element("text", f"{x:g}", x=f"{across(x):.1f}", y=HEIGHT - 10, text_anchor="middle"))
    for x, name in drawn.borders.items():
        at = f"{across(x):.1f}"
        parts.append(element("line", class_="border", x1=at, x2=at, y1=TOP, y2=HEIGHT - BOTTOM))
        parts.append(element("text", name, class_="border", x=f"{across(x) + 4:.1f}", y=TOP + 11))
    if drawn.level and math.isfinite(drawn.level[1]):
        at = f"{down(turn(drawn.level[1])):.1f}"
        parts.append(element("line", class_="level", x1=LEFT, x2=WIDTH - RIGHT, y1=at, y2=at))
    legend = []
    for n, (name, points) in enumerate(curves.items()):
        line = " ".join(f"{across(x):.1f},{down(turn(y)):.1f}" for x, y in points)
        parts.append(element("polyline", class_=f"curve c{n % COLORS}", points=line))
        if len(points) <= 40:
            parts += [
                element("circle", class_=f"c{n % COLORS}", cx=f"{across(x):.1f}", cy=f"{down(turn(y)):.1f}", r=2)
                for x, y in points
            ]
        legend.append(element("li", name, class_=f"c{n % COLORS}"))
    if drawn.level:
        legend.append(element("li", f"{drawn.level[0]} {short(drawn.level[1])}", class_="level"))
    parts += [mark(each, across, HEIGHT - BOTTOM - 5) for each in drawn.marks]
    data = {
        "left": LEFT, "right": WIDTH - RIGHT, "x0": x0, "x1": x1, "x": drawn.x_name,
        "curves": {name: [[x, float(f"{y:.5g}")] for x, y in points] for name, points in curves.items()},
        "marks": [each[:3] for each in drawn.marks],
    }  # fmt: skip
    svg = element("svg", *parts, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=drawn.title)
    caption = element(
        "figcaption",
        element("b", drawn.title),
        element("span", ", ".join(filter(None, [drawn.unit, f"means of {most} steps" * (most > 1)])), class_="unit"),
        element("ul", *legend),
        element("output", class_="reading"),
    )
    return element("figure", caption, svg, class_="chart", data_chart=json.dumps(data))


def mark(each: Mark, across: Callable[[float], float], y: float) -> Html:
    """A bar where something was wrong, with its name under the pointer."""
    where = f"step {each.first:g}" if each.first == each.last else f"steps {each.first:g} to {each.last:g}"
    x, end = across(each.first), across(each.last)
    says = element("title", f"{each.name}, {where}: {each.says}")
    return element("rect", says, class_="mark", x=f"{x - 1:.1f}", y=y, width=f"{end - x + 2:.1f}", height=5)


def charts(drawn: Sequence[Chart]) -> Html:
    """Charts side by side, as far as there is room."""
    return element("div", joined(map(chart, drawn)), class_="charts")


def marks_of(rows: Sequence[tuple[float, Sequence[str]]], says: Mapping[str, str]) -> list[Mark]:
    """The marks of (step, names of what is wrong there). Steps that follow each other closely make one mark.

    says   {name: a sentence}
    """
    if not rows:
        return []
    near = max((rows[-1][0] - rows[0][0]) / 100, 1)
    found: list[Mark] = []
    for name in dict.fromkeys(name for _, names in rows for name in names):
        first = last = None
        for step in (step for step, names in rows if name in names):
            if first is None or last is None or step - last > near:
                if first is not None and last is not None:
                    found.append(Mark(first, last, name, says.get(name, "")))
                first = step
            last = step
        if first is not None and last is not None:
            found.append(Mark(first, last, name, says.get(name, "")))
    return sorted(found)
