"""Reads a lesson's README.md: its code cells, their outputs, and its excerpts of the library.

There are four kinds of fences, by the words after the three backquotes:

    python                       a cell: the cells run in order, in one namespace
    text output                  the output of the cell before it
    py source=FILE:OBJECT        an excerpt (`cuda source=...` for a kernel); a test compares it with the file
    anything else                text that is shown, never run
"""

import ast
import re
from pathlib import Path
from typing import NamedTuple

LESSONS = Path(__file__).resolve().parents[1]
REPOSITORY = LESSONS.parent
FENCE = re.compile(r"^```([^\n`]*)\n(.*?)^```[ \t]*$", re.MULTILINE | re.DOTALL)


class Lesson(NamedTuple):
    """A folder lessons/NN_name."""

    folder: Path

    @property
    def name(self):
        return self.folder.name

    @property
    def number(self):
        return int(self.name[:2])

    @property
    def readme(self):
        return self.folder / "README.md"

    @property
    def solution(self):
        """solution.py, or solution.cu if the exercise is a kernel."""
        return next(path for path in (self.folder / "solution.py", self.folder / "solution.cu") if path.is_file())

    @property
    def exercise(self):
        """The learner's file, which may not exist yet."""
        return self.folder / f"exercise{self.solution.suffix}"

    @property
    def title(self):
        """`Derivatives and how to check them`, from the line `# 1. Derivatives and how to check them`."""
        return re.search(r"^# \d+\. (.*)$", self.readme.read_text(encoding="utf-8"), re.MULTILINE)[1]


def find_lessons(folder=LESSONS):
    """All lessons, in order."""
    return [Lesson(path.parent) for path in sorted(Path(folder).glob("[0-9][0-9]_*/README.md"))]


class Fence(NamedTuple):
    """A fenced block: the words of its first line, its text, and where the text is in the document."""

    words: str
    text: str
    start: int  # the text's first character
    line: int  # the text's first line, counted from 1


def fences(document):
    return [
        Fence(match[1].strip(), match[2], match.start(2), document.count("\n", 0, match.start(2)) + 1)
        for match in FENCE.finditer(document)
    ]


def cells(document):
    """(the cell's fence, its output's fence or None) for each cell, in order."""
    found = fences(document)
    following = [*found[1:], None]
    return [
        (fence, after if after and after.words == "text output" else None)
        for fence, after in zip(found, following)
        if fence.words == "python"
    ]


def with_outputs(document, outputs):
    """The document with new texts in the `text output` fences. `outputs` has one text for each cell."""
    for (_, fence), printed in reversed(list(zip(cells(document), outputs, strict=True))):
        if fence:
            document = document[: fence.start] + printed + document[fence.start + len(fence.text) :]
    return document


# ---- Excerpts -----------------------------------------------------------------------------------------


def excerpts(document):
    """(fence, file, object) for each excerpt."""
    found = [(fence, re.search(r"\bsource=([^\s:]+):(\S+)", fence.words)) for fence in fences(document)]
    return [(fence, match[1], match[2]) for fence, match in found if match]


def source_of(path, name):
    """The dedented text of a function, class, Class.method or assignment in a .py file, or a function in a CUDA file.

    Raises ValueError if the file has no such object.
    """
    text = Path(path).read_text(encoding="utf-8")
    lines = python_lines(text, name) if Path(path).suffix == ".py" else cuda_lines(text, name)
    if lines is None:
        raise ValueError(f"{path} has no {name}")
    first, last = lines
    lines = text.splitlines()[first - 1 : last]
    indent = len(lines[0]) - len(lines[0].lstrip())
    return "\n".join(line[indent:] for line in lines) + "\n"


def python_lines(text, name):
    """The numbers of an object's first and last line, counted from 1; None if there is no such object."""
    body = ast.parse(text).body
    node = None
    for part in name.split("."):
        node = next((each for each in body if part in names_of(each)), None)
        if node is None:
            return None
        body = getattr(node, "body", [])
    decorators = getattr(node, "decorator_list", [])
    return min(each.lineno for each in [node, *decorators]), node.end_lineno


def names_of(node):
    """The names that a statement defines."""
    if isinstance(node, ast.Assign):
        return {target.id for target in node.targets if isinstance(target, ast.Name)}
    return {getattr(node, "name", None)}


def cuda_lines(text, name):
    """The same for a CUDA function, which starts at the left margin and ends with a brace there."""
    for start in re.finditer(rf"^(?![ \t#/}}]).*\b{re.escape(name)}\s*\(", text, re.MULTILINE):
        end = re.compile(r"^\}|;[ \t]*$", re.MULTILINE).search(text, start.end())
        if end and "{" in text[start.end() : end.end()]:
            # the lines above it that belong to it: template <...>
            first = start.start()
            while (above := text.rfind("\n", 0, max(first - 1, 0)) + 1) < first and text.startswith("template", above):
                first = above
            close = re.compile(r"^\}.*$", re.MULTILINE).search(text, start.end())
            return text.count("\n", 0, first) + 1, text.count("\n", 0, close.end()) + 1
    return None


GAP = re.compile(r"^\s*(?:#|//) \.\.\.$")


def excerpt_matches(excerpt, source):
    """Whether an excerpt has all the source's lines in order, except where `# ...` stands for lines left out."""
    lines, runs = source.splitlines(), [[]]
    for line in excerpt.splitlines():
        if GAP.match(line):
            runs.append([])
        else:
            runs[-1].append(line)
    position = 0
    for i, run in enumerate(runs):
        last = i == len(runs) - 1
        starts = [0] if i == 0 else range(position, len(lines) - len(run) + 1)
        if last and run:
            starts = [start for start in starts if start + len(run) == len(lines)]
        found = next((start for start in starts if lines[start : start + len(run)] == run), None)
        if found is None:
            return False
        position = found + len(run)
    return True
