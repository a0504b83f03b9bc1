"""The page of a run, report.html in its folder: photos before and after, figures, curves, settings."""

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ConfigError
from ..names import STAGES
from ..pages.curves import Chart, Mark, charts, marks_of
from ..pages.markup import Html, code, element, joined, number, pairs, section, table, write_page
from ..pages.viewer import Item, over_time, viewer, within
from .config import TERMS, TrainConfig
from .health import STATES
from .looks import LABELS, Looks, read_looks
from .run import Run

POINTS = 2000  # about how many rows of the log are read
MOMENTS = 20  # the most that the slider over time shows
Rows = Sequence[Mapping[str, str]]


def write_report(
    run: Run, rows: Rows | None = None, bicubic: float | None = None, path: str | Path | None = None
) -> None:
    """Write the page of a run, from what its folder holds.

    rows      of the log, if they are at hand; the first stage's last is among them
    bicubic   the PSNR of bicubic, if it is at hand
    path      where to; by default report.html in the run's folder

    Raises ConfigError if the folder is no run's, or what it has kept is damaged.
    """
    config, about = run.config()
    rows = run.rows(POINTS) if rows is None else rows
    looks = read_looks(run)
    figures = looks.figures if looks else {}
    if bicubic is None and "bicubic" in figures:
        bicubic = figures["bicubic"]["mean"][0]
    parts = photos(looks, rows) if looks else []
    if looks:
        parts.append(section("Figures", table_of_figures(figures)))
    if rows:
        marks = marks_of(health(rows), {name: state.says for name, state in STATES.items()})
        parts.append(section("Curves", curves(rows, marks, bicubic), what_was_wrong(marks)))
    parts.append(section("The run", pairs(facts(run, config, rows, figures)), go_on(run)))
    parts.append(section("Settings", pairs(settings(config, about))))
    write_page(path or run.folder / "report.html", run.folder.resolve().name, subtitle(config, about, rows), *parts)


def renew_report(run: Run, rows: Rows, bicubic: float | None, say: Callable[[str], object]) -> None:
    """`write_report`, for a training, which goes on without it: `say` is told why."""
    try:
        write_report(run, rows, bicubic)
    except (ConfigError, OSError) as error:
        say(f"no report.html: {error}")


# ---- What the log says -----------------------------------------------------------------------------------


def steps_of(rows: Rows) -> tuple[list[int], dict[float, str]]:
    """(each row's step, counted over both stages; {the step after which the GAN stage began: "GAN"})."""
    pretrained = max((int(row["step"]) for row in rows if row["stage"] == "pretrain"), default=0)
    steps = [int(row["step"]) + pretrained * (row["stage"] == "gan") for row in rows]
    borders = {pretrained + 0.5: LABELS["gan"]} if pretrained and rows[-1]["stage"] == "gan" else {}
    return steps, borders


def series(rows: Rows, column: str) -> list[tuple[float, float]]:
    """The (step, value) points of a column, where it was measured."""
    return [(step, float(row[column])) for step, row in zip(steps_of(rows)[0], rows) if row[column] != ""]


def health(rows: Rows) -> list[tuple[float, list[str]]]:
    """(step, what was wrong) for each row."""
    return [(step, [each for each in row["health"].split("+") if each in STATES])
            for step, row in zip(steps_of(rows)[0], rows)]  # fmt: skip


def milliseconds(run: Run, rows: Rows, stage: str) -> float | None:
    """The milliseconds of a stage's step: by cost.csv or, before the stage's end, the median between a step and the
    next. What lies before and after a look is left out; None if nothing is left."""
    if seconds := run.step_seconds(stage):
        return 1e3 * seconds
    at = [(int(row["step"]), float(row["seconds"]), row["psnr"] != "") for row in rows
          if row["stage"] == stage and row["seconds"]]  # fmt: skip
    each = [
        1e3 * (then - now) / (after - step)
        for (step, now, looked), (after, then, looks) in zip(at, at[1:])
        if after > step and not (looked or looks)
    ]
    return float(np.median(each)) if each else None


def duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"


# ---- The parts of the page -------------------------------------------------------------------------------


def subtitle(config: TrainConfig, about: Mapping[str, Any], rows: Rows) -> str:
    """How far the run is."""
    if not rows:
        return "A run that has not taken a step yet."
    stage, step = rows[-1]["stage"], int(rows[-1]["step"])
    wanted = getattr(config, stage)
    of = f"{wanted.minutes:g} minutes" if wanted.minutes else f"{wanted.steps:,} steps"
    whole = not wanted.minutes and step >= wanted.steps and stage == about["stages"][-1]
    where = f"{'GAN stage' if stage == 'gan' else 'Stage 1'}, step {step:,}"
    where += f" ({of})" if wanted.minutes else f" of {of}"
    return f"{where}{', finished' if whole else ''}. {duration(float(rows[-1]['seconds'] or 0))} in all."


def items(looks: Looks) -> list[Item]:
    """The held-out photos of which images are kept, in all their versions."""
    found = []
    for i, name in enumerate(looks.names):
        below = {LABELS[key]: f"{number(looks.figures[key]['photos'][i])} dB" for key in LABELS if key in looks.figures}
        found.append(Item(name, looks.images(i), below, tuple(looks.figures["photos"][i]["place"])))
    return found


def photos(looks: Looks, rows: Rows) -> list[Html]:
    """Photos before and after, and how a detail of the first developed."""
    kept, _ = within(items(looks))
    result = "GAN" if "gan" in looks.figures else "stage 1"
    lead = (
        "Held-out photos, which the training never sees. Move the line; choose what is on either side of it; move the "
        "frame, and see its detail below or beside the photo. PSNR is on Y, of all that is shown here."
    )
    parts = [element("section", viewer(kept, "bicubic", result), element("p", lead, class_="note"))]
    psnr = {(row["stage"], int(row["step"])): row["psnr"] for row in rows if row["psnr"]}
    moments = [each for each in looks.moments() if each[:2] in psnr]  # the others are of steps that were taken back
    if len(moments) > MOMENTS:
        kept_at = np.linspace(0, len(moments) - 1, MOMENTS).round().astype(int)
        moments = [moments[i] for i in kept_at]
    if len(moments) > 1:
        frames = [
            (f"{LABELS[stage]}, step {step:,}", image, f"{float(psnr[stage, step]):.2f} dB")
            for stage, step, image in moments
        ]
        around = {LABELS[version]: looks.detail(0, version) for version in ("bicubic", "hr")}
        parts.append(
            section(
                "Over time",
                over_time(frames, around),
                lead="How a detail of the first photo developed. PSNR is the mean over all held-out photos.",
            )
        )
    return parts


def table_of_figures(figures: Mapping[str, Any]) -> Html:
    """The figures of bicubic and of each stage, as last measured."""
    named = figures.get("perceptual")
    head = ["", "PSNR Y", "PSNR RGB", "SSIM", *([f"{named} distance"] if named else [])]
    rows = []
    for key in ("bicubic", *STAGES):
        if key in figures:
            after = figures[key].get("step")
            label = LABELS[key] + (f", step {after:,}" if after else "")
            psnr_y, psnr_rgb, ssim, far = figures[key]["mean"]
            rows.append(
                [label, number(psnr_y), number(psnr_rgb), number(ssim, 4), *([number(far, 5)] if named else [])]
            )
    note = "Means over the middles of the held-out photos. More PSNR and SSIM are better"
    note += "; less distance is better. It is measured at the end of a stage." if named else "."
    return table(head, rows, note)


def curves(rows: Rows, marks: Sequence[Mark], bicubic: float | None) -> Html:
    """The curves of the log."""
    borders = steps_of(rows)[1]

    def of(names: Mapping[str, str]) -> dict[str, list[tuple[float, float]]]:
        return {name: series(rows, column) for name, column in names.items()}

    terms = {column: {term: f"{column}_{term}" for term in TERMS} for column in ("loss", "grad")}
    of_d = {"for HR": "d_real", "for SR": "d_fake", "right": "d_right"}
    level = None if bicubic is None or not np.isfinite(bicubic) else ("bicubic", bicubic)
    drawn = [
        Chart("PSNR of held-out photos", of({"PSNR": "psnr"}), level=level, unit="dB on Y"),
        Chart("Losses", of({**terms["loss"], "D": "loss_d"}), log=True),
        Chart("D's output, and how often it is right", of(of_d)),
        Chart("Gradients of G's terms at SR", of(terms["grad"]), log=True, unit="‖weight·∂L/∂SR‖"),
        Chart("Gradients in the parameters", of({"G": "grad_g", "D": "grad_d"}), log=True),
        Chart("Learning rate", of({"rate": "rate"}), log=True),
    ]
    return charts([each._replace(borders=borders, marks=marks) for each in drawn])


def what_was_wrong(marks: Sequence[Mark]) -> Html:
    """A table of what the training's health was, under the curves that mark it."""
    if not marks:
        return element("p", "Nothing was wrong on the way.", class_="note")
    rows = []
    for name in dict.fromkeys(mark.name for mark in marks):
        at = [f"{m.first:g}–{m.last:g}" if m.last > m.first else f"{m.first:g}" for m in marks if m.name == name]
        when = ", ".join(at[:6]) + (f" and {len(at) - 6} times more" if len(at) > 6 else "")
        rows.append([name, when, f"{STATES[name].says}. Try {STATES[name].remedy}."])
    caption = "What was wrong, and when: the bars at the foot of each curve"
    return element("div", table(["state", "steps", "what it means"], rows, caption), class_="words")


def facts(run: Run, config: TrainConfig, rows: Rows, figures: Mapping[str, Any]) -> Iterable[tuple[object, object]]:
    """Device, speed, memory and times."""
    if figures:
        yield "device", f"{figures['device']}: {figures['processor']}"
        yield "memory, at most", f"{figures['memory'] / 2**20:,.0f} MiB"
    before = 0.0
    for stage in STAGES:
        if each := milliseconds(run, rows, stage):
            yield f"{LABELS[stage]}: a step", f"{each:,.1f} ms, {1e3 * config.batch / each:,.0f} images a second"
        if of_stage := [float(row["seconds"] or 0) for row in rows if row["stage"] == stage]:
            yield f"{LABELS[stage]}: all", duration(max(of_stage) - before)
            before = max(of_stage)
    if figures:
        yield "last look", figures["updated"]
    yield "folder", str(run.folder.resolve())


def go_on(run: Run) -> Html:
    """How to go on with the run, and how to use it."""
    folder, weights = (shlex.quote(str(path)) for path in (run.folder, run.generator))
    return joined([
        element("h3", "Go on with it, and use it"),
        code(f"minisrgan train --resume {folder}\nminisrgan upscale photo.jpg --weights {weights}"),
    ])  # fmt: skip


def settings(config: TrainConfig, about: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """Every setting by its name, and how many photos there are."""
    for name, value in flat(asdict(config)):
        yield name, said(value)
    for name in ("data", "data_lr", "degrade", "weights"):
        if about.get(name):
            yield name, said(about[name])
    yield "photos to train on", str(len(about["photos"]))
    if "held_out" in about:
        yield "photos held out", str(len(about["held_out"]))


def said(value: Any) -> str:
    """A setting's value in words."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{name} {said(each)}" for name, each in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(said, value))
    return "–" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def flat(values: Mapping[str, Any], inside: str = "") -> Iterable[tuple[str, Any]]:
    """(name, value) of all entries, those within others by both names: "generator.channels"."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from flat(value, f"{inside}{name}.")
        else:
            yield f"{inside}{name}", value
