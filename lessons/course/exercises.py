"""Exercises. The learner's file is made from solution.py, so the two always fit each other.

The part that the learner writes is between two comments (`//` in a kernel):

    # >>> Return the difference quotient
    return (f(x + h) - f(x - h)) / (2 * h)
    # <<<
"""

import json
import re
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from minisrgan.errors import MinisrganError
from minisrgan.files import write_whole

MARKED = re.compile(r"^([ \t]*)(#|//) >>> ([^\n]*)\n(.*?)^[ \t]*\2 <<<[^\n]*\n", re.MULTILINE | re.DOTALL)


class LessonError(MinisrganError):
    """A lesson's command cannot do what it was asked to do."""


class Mistake(NamedTuple):
    """A wrong solution: `text`, which occurs once in the solution, is replaced by `instead`. The check must call the
    mistake `kind`."""

    kind: str
    text: str
    instead: str


def stub(solution):
    """The text of the learner's file, made from the solution's text."""

    def to_do(match):
        indent, comment, task = match.group(1, 2, 3)
        lines = f"{indent}{comment} TODO: {task}\n"
        return lines + f'{indent}raise NotImplementedError("{task}")\n' if comment == "#" else lines

    return MARKED.sub(to_do, solution)


def solved(solution):
    """The solution's text without the markers."""
    return MARKED.sub(lambda match: match[4], solution)


def is_stub(lesson, path):
    return Path(path).read_bytes() == stub(read(lesson.solution)).encode()


def read(path):
    """The text of a file. Raises LessonError if it is not UTF-8: Python and the compiler would misread it."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")  # sig: some editors begin a file with a byte order mark
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:  # UTF-16 without its byte order mark
        raise LessonError(f"{path}: is not saved as UTF-8, but in another encoding: save it as UTF-8")
    return text


def start(lesson):
    """Make the learner's file unless it exists; return (its path, whether it is new)."""
    if lesson.exercise.exists():
        return lesson.exercise, False
    write_whole(lesson.exercise, stub(read(lesson.solution)).encode())
    return lesson.exercise, True


def reset(lesson):
    """Make the learner's file again. Old code is kept in a file of another name, which is returned; None if none was."""
    kept = None
    if lesson.exercise.exists() and not is_stub(lesson, lesson.exercise):
        names = (lesson.exercise.with_name(f"exercise-{n}{lesson.exercise.suffix}") for n in range(1, 10**6))
        kept = lesson.exercise.rename(next(name for name in names if not name.exists()))
    write_whole(lesson.exercise, stub(read(lesson.solution)).encode())
    return kept


def hints(lesson):
    """The hints in hints.md: [(name, text)]."""
    found = re.findall(r"^## ([^\n]*)\n(.*?)(?=^## |\Z)", read(lesson.folder / "hints.md"), re.MULTILINE | re.DOTALL)
    return [(name.strip(), text.strip("\n").rstrip()) for name, text in found]


# ---- Progress -----------------------------------------------------------------------------------------


class Progress:
    """What the learner has done, kept in a file: {lesson: {"attempts", "hints", "started", "passed", "solution"}}."""

    def __init__(self, path):
        self.path = Path(path)
        try:
            self.lessons = json.loads(read(path)) if self.path.exists() else {}
            if not isinstance(self.lessons, dict) or not all(isinstance(each, dict) for each in self.lessons.values()):
                raise ValueError("this program did not write it")
        except (OSError, ValueError) as error:
            raise LessonError(f"{path} cannot be read ({error}): repair it, or move it away to start again") from None

    def of(self, lesson):
        return {"attempts": 0, "hints": 0} | self.lessons.get(lesson.name, {})

    def note(self, lesson, **changes):
        """Record changes for a lesson. The value "now" stands for the current time."""
        now = datetime.now().isoformat(timespec="seconds")
        changes = {key: now if value == "now" else value for key, value in changes.items()}
        self.lessons[lesson.name] = self.of(lesson) | changes
        write_whole(self.path, (json.dumps(self.lessons, indent=2) + "\n").encode())

    def current(self, lessons):
        """The lesson that was started last and is not passed yet; None if there is none."""
        open_ones = [each for each in lessons if "started" in self.of(each) and "passed" not in self.of(each)]
        return max(open_ones, key=lambda each: self.of(each)["started"], default=None)
