"""Checks one file in a process of its own, so that a crash or an endless loop does no harm.

    python -m lessons.course.examine lessons/01_derivatives lessons/01_derivatives/exercise.py verdict.json

The Verdict is written to verdict.json.
"""

import importlib.util
import json
import linecache
import signal
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from typing import NamedTuple

import minisrgan.device  # noqa: F401  as where lessons run

from .checking import Wrong
from .document import REPOSITORY
from .exercises import is_stub, read

PATIENCE = 120  # seconds


class Verdict(NamedTuple):
    """`kind` is None if all is right, otherwise the kind of mistake; `message` explains it."""

    kind: str | None
    message: str = ""


def examine(lesson, path, patience=PATIENCE):
    """The Verdict on a file. Its output goes where this process' output goes. Raises LessonError if it is not UTF-8."""
    if is_stub(lesson, path):
        return Verdict("unfinished", "nothing is written yet: look for TODO.")
    read(path)  # raises LessonError, which explains the encoding
    with tempfile.TemporaryDirectory(prefix="lesson-") as folder:
        report = Path(folder, "verdict.json")
        command = [sys.executable, "-m", "lessons.course.examine", lesson.folder, Path(path).resolve(), report]
        try:
            ran = subprocess.run(command, cwd=REPOSITORY, timeout=patience)
        except subprocess.TimeoutExpired:
            return Verdict("timeout", f"not finished after {patience} s: is there an endless loop?")
        if ran.returncode < 0:
            name = signal.Signals(-ran.returncode).name
            return Verdict("crash", f"the process was ended by {name}: memory outside of an array was used.")
        if not report.is_file():
            return Verdict("error", f"the process ended with status {ran.returncode} before the check was done.")
        return Verdict(**json.loads(report.read_text(encoding="utf-8")))


def judge(folder, path):
    try:
        check = load(folder / "check.py", "check").check
        check(load(path, "exercise") if path.suffix == ".py" else path)
    except Wrong as wrong:
        return Verdict(wrong.kind, wrong.message)
    except NotImplementedError as error:
        return Verdict("unfinished", f"{error}{line_text(error, path)}")
    except SyntaxError as error:
        return Verdict("syntax", f"line {error.lineno}, `{(error.text or '').strip()}`: {error.msg}")
    except (Exception, SystemExit) as error:
        notes = "".join(f" ({note})" for note in getattr(error, "__notes__", []))
        return Verdict("error", f"{type(error).__name__}: {error}{line_text(error, path)}{notes}")
    return Verdict(None)


def line_text(error, path):
    """Where an error was raised: the last line of the learner's file in its traceback; if none, the check's line."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename == str(path)]
    frame = (own or frames)[-1]
    line = linecache.getline(frame.filename, frame.lineno).strip()
    return f", line {frame.lineno}{'' if own else f' of {Path(frame.filename).name}'}: `{line}`"


def load(path, name):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look it up there
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    folder, path, report = map(Path, sys.argv[1:])
    Path(report).write_text(json.dumps(judge(folder, path)._asdict()), encoding="utf-8")
