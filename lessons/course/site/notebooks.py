"""The lessons as notebooks for Colab: `make notebooks` writes build/notebooks/NN_name.ipynb.

A notebook has a first cell that sets it up (lessons/course/colab.py), then the lesson with its outputs and pictures,
and at the end the exercise: the learner's file as a cell, and the commands that check it and give hints.
"""

import base64
import os
import re
import tomllib
from pathlib import Path
from urllib.parse import urldefrag

import jupytext
import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

from ..document import REPOSITORY, cells, find_lessons
from ..exercises import read, stub
from .links import EXTERNAL
from .markdown import change_links, parts

SHOWN = re.compile(r"\A```text output\n.*?^```[ \t]*\n*", re.MULTILINE | re.DOTALL)
NAVIGATION = re.compile(r"(?:\A|\n)\[(?:←|All lessons)[^\n]*\s*\Z")
EXCERPT = re.compile(r"\bsource=([^\s:]+)(?::(\S+))?")
LANGUAGES = {"py": "python", "cuda": "cpp"}  # names that notebooks can highlight

SET_UP = """\
# Run this cell first: it finds or downloads minisrgan, and chooses the device.
import subprocess
import sys
from pathlib import Path

from IPython.display import Image

REPOSITORY = "{repository}"  # the address of minisrgan's git repository
LESSON = "{lesson}"

here = Path.cwd()
places = [here, *here.parents, here / "minisrgan"]
root = next((place for place in places if (place / "lessons" / LESSON).is_dir()), None)
if root is None:
    if not REPOSITORY:
        raise RuntimeError("minisrgan is not here: set REPOSITORY above to its address, or put its folder beside this")
    root = here / "minisrgan"
    subprocess.run(["git", "clone", "--quiet", "--depth=1", REPOSITORY, str(root)], check=True)
sys.path.insert(0, str(root))

from lessons.course.colab import set_up

set_up(LESSON)"""


def published(root=REPOSITORY):
    """The repository's public address, or "": [tool.minisrgan] in pyproject.toml."""
    settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    return settings.get("tool", {}).get("minisrgan", {}).get("repository", "").rstrip("/")


def plain(lesson):
    """The notebook that Jupytext makes of a lesson, without outputs and without the links to its neighbours."""
    notebook = jupytext.reads(read(lesson.readme), "md")
    notebook.metadata.pop("jupytext", None)
    for before, cell in zip(notebook.cells, notebook.cells[1:]):
        if cell.cell_type == "markdown":
            text = SHOWN.sub("", cell.source) if before.cell_type == "code" else cell.source
            cell.source = NAVIGATION.sub("", text)
    for i, cell in enumerate(notebook.cells):
        cell.id = f"cell-{i}"  # Jupytext's ids are random
    notebook.cells = [cell for cell in notebook.cells if cell.source.strip()]
    return notebook


def printed(text):
    return [new_output("stream", name="stdout", text=text)] if text else []


def notebook(lesson, root=REPOSITORY):
    """A lesson's notebook for Colab."""
    result = plain(lesson)
    address = published(root)
    shown = iter(cells(read(lesson.readme)))
    before = None
    for cell in result.cells:
        if cell.cell_type == "code":
            _, output = next(shown)
            cell.outputs = printed(output.text if output else "")
        else:
            cell.source = markdown(cell.source, lesson, before, root, address)
        before = cell
    first = new_code_cell(SET_UP.format(repository=address, lesson=lesson.name), id="set-up")
    title, *others = split_title(result.cells)
    result.cells = [cell for cell in (title, first, *others, *exercise(lesson)) if cell.source.strip()]
    result.metadata["colab"] = {"provenance": [], "name": f"{lesson.name}.ipynb"}
    nbformat.validate(result)
    return result


def split_title(found):
    """The cells, of which the first is split in two: the title with the text below it, and the rest."""
    title, heading, rest = found[0].source.partition("\n## ")
    rest = new_markdown_cell((heading + rest).strip(), id="rest")
    return [new_markdown_cell(title.strip(), id="title"), rest, *found[1:]]


def exercise(lesson):
    """The last cells: the learner's file, and the commands that check it and give hints."""
    if not any(lesson.folder.glob("solution.*")):
        return []
    text = f"## Write it here\n\nThe cell writes `{lesson.exercise.name}`. Change it, run it, then check it."
    run = '!"{sys.executable}" -m lessons'  # the notebook's own Python; `python` may be another
    return [
        new_markdown_cell(text, id="write"),
        new_code_cell(f"%%writefile {lesson.exercise.name}\n{stub(read(lesson.solution)).rstrip()}", id="exercise"),
        *[new_code_cell(f"{run} {command} {lesson.number}", id=command) for command in ("check", "hint")],
    ]


def markdown(text, lesson, before, root, address):
    """Markdown for a notebook that stands alone. A picture that the cell `before` draws becomes that cell's output."""

    def link(picture, words, target):
        if target.startswith((*EXTERNAL, "mailto:", "#")):
            return f"{picture}[{words}]({target})"
        path, anchor = urldefrag(target)
        goal = Path(os.path.normpath(lesson.folder / path))
        name = goal.relative_to(root).as_posix()
        if picture:
            return "" if show(before, path, goal, words) else f"![{words}]({data_address(goal)})"
        if address:
            return f"[{words}]({address}/blob/main/{name}{'#' + anchor if anchor else ''})"
        is_clear = goal.name in words or goal.name == "README.md"  # the words name the file, or it is another lesson
        return words if is_clear else f"{words} (`{name}`)"

    text = "".join(fence_text(fence) if fence else change_links(part, link) for fence, part in parts(text))
    return text.strip()


def fence_text(fence):
    words = fence[3].split()
    language = LANGUAGES.get(words[0], words[0]) if words else "text"
    excerpt = EXCERPT.search(fence[3])
    caption = f"`{excerpt[1]}`{', `' + excerpt[2] + '`' if excerpt[2] else ''}:\n\n" if excerpt else ""
    return f"{caption}{fence[1]}{fence[2]}{language}\n{fence[4]}{fence[1]}{fence[2]}"


def show(cell, path, picture, alternative):
    """Make the cell show this picture too, here and whenever it runs, if it draws it. Returns whether it does."""
    if cell is None or cell.cell_type != "code" or path not in cell.source:
        return False
    cell.source += f'\ndisplay(Image("{path}"))'
    data = {"image/png": base64.b64encode(picture.read_bytes()).decode()}
    about = {"image/png": {"alt": " ".join(alternative.split())}}
    cell.outputs.append(new_output("display_data", data=data, metadata=about))
    return True


def data_address(picture):
    return f"data:image/{picture.suffix[1:]};base64,{base64.b64encode(picture.read_bytes()).decode()}"


def write_notebooks(to, root=REPOSITORY):
    """Write a notebook for each lesson into a folder; return their paths."""
    to.mkdir(parents=True, exist_ok=True)
    paths = []
    for lesson in find_lessons(root / "lessons"):
        paths.append(to / f"{lesson.name}.ipynb")
        nbformat.write(notebook(lesson, root), paths[-1])
    return paths


def main():
    paths = write_notebooks(REPOSITORY / "build" / "notebooks")
    print(f"{len(paths)} notebooks in {os.path.relpath(REPOSITORY / 'build' / 'notebooks')}")


if __name__ == "__main__":
    main()
