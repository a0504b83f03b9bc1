"""Runs a lesson's cells as a script, and compares their output and pictures with those in its README.md."""

import contextlib
import io
import os
import re
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path

import numpy as np
from PIL import Image

import minisrgan.device  # noqa: F401  so that a lesson's bits do not depend on which of its cells imports it
from minisrgan.files import write_whole

from .document import REPOSITORY, cells, with_outputs

# Two pictures count as the same if the mean colours of their squares differ little in nearly all squares.
SQUARE = 8  # pixels on a side of a square
SHADE = 16  # levels of 255 by which two mean colours may differ
SHARE = 0.02  # the share of the squares that may differ more


class CellError(Exception):
    """A cell failed. The message is its traceback, with the README's line numbers."""


def execute(lesson, place):
    """Run a lesson's cells in `place`, a folder in the lesson's stead; yield each cell's output.

    Raises CellError with a traceback that names the README's lines.
    """
    import matplotlib

    matplotlib.use("agg")
    namespace = {"__name__": "__main__"}
    with contextlib.chdir(place), first_on_path(place):
        for cell, _ in cells(lesson.readme.read_text(encoding="utf-8")):
            printed = io.StringIO()
            try:
                code = compile("\n" * (cell.line - 1) + cell.text, str(lesson.readme), "exec")
                with contextlib.redirect_stdout(printed):
                    exec(code, namespace)
            except Exception as error:
                frames = error.__traceback__.tb_next  # without this function's own frame
                text = "".join(traceback.format_exception(type(error), error, frames))
                raise CellError(printed.getvalue() + text) from error
            yield printed.getvalue()


@contextlib.contextmanager
def first_on_path(folder):
    """Make the modules in `folder` importable, as they are in a notebook that runs there."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


@contextlib.contextmanager
def scratch_place(lesson):
    """A scratch folder in the lesson's stead. What the lesson reads by ../ is there; its pictures overwrite none."""
    with tempfile.TemporaryDirectory(prefix="lesson-") as top:
        place = Path(top, "lessons", lesson.name)
        (place / "images").mkdir(parents=True)
        for path in (*REPOSITORY.glob("[!.]*"), *REPOSITORY.glob("lessons/*.mplstyle")):
            if path.name != "lessons":
                Path(top, path.relative_to(REPOSITORY)).symlink_to(path)
        for path in (*lesson.folder.glob("*.cu"), *lesson.folder.glob("*.py")):  # the lesson's kernels and modules
            (place / path.name).symlink_to(path)
        yield place


def run(lesson, mode):
    """Run a lesson; return the differences, as lines of text.

    mode   "show" prints the output and puts the pictures into runs/lessons; "write" puts both into the lesson; "check"
           compares both with the lesson's
    """
    began = time.perf_counter()
    document = lesson.readme.read_text(encoding="utf-8")
    with scratch_place(lesson) as place:
        outputs = []
        for printed in execute(lesson, place):
            outputs.append(printed)
            print(printed, end="", flush=True)
        made = {path.name: path for path in sorted((place / "images").iterdir())}
        differences = []
        if mode == "check":
            differences = compare_outputs(document, outputs) + compare_pictures(lesson, made)
        elif mode == "write":
            write_whole(lesson.readme, with_outputs(document, outputs).encode())
            shutil.rmtree(lesson.folder / "images", ignore_errors=True)
            shutil.copytree(place / "images", lesson.folder / "images")
        elif made:
            shutil.copytree(place / "images", kept := REPOSITORY / "runs" / "lessons" / lesson.name, dirs_exist_ok=True)
            print(f"pictures: {os.path.relpath(kept)}", file=sys.stderr)
    print(f"lesson {lesson.number}: {time.perf_counter() - began:.1f} s", file=sys.stderr)
    return differences


# ---- Are they what the lesson shows? ------------------------------------------------------------------

NUMBER = re.compile(r"(?<![\w.])[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?(?!\w)", re.IGNORECASE)


def compare_outputs(document, outputs):
    return [
        f"README.md:{fence.line}: the cell prints\n{printed}where the lesson shows\n{fence.text}"
        for (_, fence), printed in zip(cells(document), outputs, strict=True)
        if fence and not same_output(printed, fence.text)
    ]


def same_output(printed, shown):
    """Whether two texts are the same, apart from small differences between machines.

    Numbers with a point or an exponent may differ by 5 %, or by one unit of the last digit shown.
    """
    printed, shown = (" ".join(text.split()) for text in (printed, shown))
    if NUMBER.sub("0", printed) != NUMBER.sub("0", shown):
        return False
    return all(map(same_number, NUMBER.findall(printed), NUMBER.findall(shown)))


def same_number(printed, shown):
    if shown.lstrip("+-").isdigit():
        return printed == shown
    mantissa, _, exponent = shown.lower().partition("e")
    digits = mantissa.partition(".")[2]
    unit = 10.0 ** (int(exponent or 0) - len(digits)) if digits else 0
    return abs(float(printed) - float(shown)) <= max(1.01 * unit, 0.05 * abs(float(shown)))


def compare_pictures(lesson, made):
    there = {path.name: path for path in (lesson.folder / "images").glob("*")}
    differences = [f"images/{name}: the lesson does not draw it" for name in sorted(there.keys() - made.keys())]
    for name, path in made.items():
        if name not in there:
            differences.append(f"images/{name}: drawn by the lesson, but not in the repository")
        elif (share := picture_difference(path, there[name])) > SHARE:
            differences.append(f"images/{name}: {share:.1%} of the picture differs from what the lesson draws")
    return [f"{each}; `python -m lessons run {lesson.number} --write` draws them again" for each in differences]


def picture_difference(one, other):
    """The share of two pictures that differs visibly; 1 if their sizes differ."""
    one, other = (np.asarray(Image.open(path).convert("RGB"), np.float32) for path in (one, other))
    if one.shape != other.shape:
        return 1.0
    height, width = (size - size % SQUARE for size in one.shape[:2])
    squares = (one - other)[:height, :width].reshape(height // SQUARE, SQUARE, width // SQUARE, SQUARE, 3)
    return float((np.abs(squares.mean(axis=(1, 3))).max(axis=-1) > SHADE).mean())
