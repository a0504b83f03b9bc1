"""Writes Sphinx's input: the lessons as notebooks with their outputs, the other Markdown pages, the list of sources.

In the repository most pages are the README.md of a folder; on the site each has a name of its own:

    index                 lessons/README.md
    lessons/NN_name       lessons/NN_name/README.md
    project, docs/…       README.md, docs/*.md, and the others in PROJECT
    sources               every source file, with its first sentence; each has a page under sources/
"""

import ast
import html
import json
import os
import re
import shutil
from pathlib import Path
from urllib.parse import urldefrag

import nbformat

from ..document import REPOSITORY, cuda_lines, find_lessons, python_lines
from .links import EXTERNAL
from .markdown import change_links, parts
from .notebooks import EXCERPT, plain, printed, published
from .outputs import outputs

PROJECT = {  # the pages about the project, in the sidebar's order: file: its page on the site
    "README.md": "project",
    "docs/using.md": "docs/using",
    "docs/training.md": "docs/training",
    "docs/mathematics.md": "docs/mathematics",
    "docs/results.md": "docs/results",
    "docs/models.md": "docs/models",
    "docs/machines.md": "docs/machines",
    "docs/vgg.md": "docs/vgg",
    "docs/kernels.md": "docs/kernels",
    "docs/layout.md": "docs/layout",
    "kernels/README.md": "kernels/index",
    "kernels/cpu/README.md": "kernels/cpu",
    "CONTRIBUTING.md": "contributing",
    "CHANGELOG.md": "changes",
}
ROOMS = ("minisrgan", "kernels")  # all their sources have pages; other sources only if a page links to them
SUFFIXES = {".py", ".cu", ".cuh", ".h", ".cpp"}
TEXTS = SUFFIXES | {".json", ".csv", ".toml", ".mplstyle"}  # files that get a page if a page links to their folder
FIGURE = re.compile(r"^!\[([^\]]*)\]\((\S+)\)\n\n\*((?:[^\n]|\n(?!\n))+)\*[ \t]*$", re.MULTILINE)
MINUTES = re.compile(r"^\*About [^*]*\*$", re.MULTILINE)


class Site:
    """The pages of a repository at `root`, written to the folder `to`."""

    def __init__(self, to, root=REPOSITORY):
        self.root, self.to = Path(root), Path(to)
        self.lessons = find_lessons(self.root / "lessons")
        self.project = {origin: page for origin, page in PROJECT.items() if (self.root / origin).exists()}
        self.documents = {"lessons/README.md": "index.md"}
        self.documents |= {origin: f"{page}.md" for origin, page in self.project.items()}
        for lesson in self.lessons:
            self.documents[f"lessons/{lesson.name}/README.md"] = f"lessons/{lesson.name}.ipynb"
        self.files = {self.name(path) for room in ROOMS for path in self.root.glob(f"{room}/**/*")}
        self.files = {name for name in self.files if Path(name).suffix in SUFFIXES and "__pycache__" not in name}

    def name(self, path):
        """A file's path in the repository: minisrgan/losses.py."""
        return Path(os.path.relpath(path, self.root)).as_posix()

    # ---- Links ----

    def link(self, origin, picture, words, target):
        """A Markdown link of the document `origin`, changed for the site."""
        if "](" in words:
            words = change_links(words, lambda *inner: self.link(origin, *inner))
        if target.startswith((*EXTERNAL, "mailto:", "#")):
            return f"{picture}[{words}]({target})"
        path, anchor = urldefrag(target)
        goal = self.name(os.path.normpath(self.root / origin / ".." / path))
        page = self.documents[origin]
        if f"{goal}/README.md" in self.documents:  # GitHub shows a folder's README
            goal = f"{goal}/README.md"
        if goal in self.documents:
            return f"[{words}]({from_page(page, self.documents[goal])}{'#' + anchor if anchor else ''})"
        if picture or not is_text(self.root / goal):
            return f"{picture}[{words}]({self.copied(goal, page)})"
        return self.source_link(page, goal, words)

    def copied(self, name, page):
        """Copy a picture or another file that is not text; return its address on the page that shows or offers it."""
        to = self.to / "pictures" / name
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.root / name, to)
        return from_page(page, f"pictures/{name}")

    def source_link(self, page, name, words, line=None):
        """A link to a source's page, as HTML: these pages are not documents of Sphinx's."""
        if (self.root / name).is_dir():
            self.files |= {self.name(path) for path in (self.root / name).rglob("*") if path.suffix in TEXTS}
            address = from_page(page, f"sources.html#folder-{name.replace('/', '-')}")
        else:
            self.files.add(name)
            address = from_page(page, f"sources/{name}.html") + (f"#L-{line}" if line else "")
        return f'<a class="reference internal" href="{address}">{words}</a>'

    # ---- Pages ----

    def write(self, run=True):
        (self.to / "lessons").mkdir(parents=True)
        for origin, page in self.documents.items():
            if page.endswith(".md"):
                (self.to / page).parent.mkdir(exist_ok=True)
                text = self.markdown(origin, (self.root / origin).read_text(encoding="utf-8"))
                (self.to / page).write_text(text + (self.contents() if page == "index.md" else ""), encoding="utf-8")
        for lesson in self.lessons:
            nbformat.write(self.lesson(lesson, run), self.to / "lessons" / f"{lesson.name}.ipynb")
        (self.to / "sources.md").write_text(self.source_list(), encoding="utf-8")
        listed = {"root": str(self.root), "files": sorted(self.files), "published": published(self.root)}
        (self.to / "sources.json").write_text(json.dumps(listed), encoding="utf-8")

    def markdown(self, origin, text):
        """A document's text, or a part of it, with links, pictures and excerpts changed for the site."""
        return "".join(self.fence(origin, fence) if fence else self.text(origin, part) for fence, part in parts(text))

    def text(self, origin, text):
        text = change_links(text, lambda *link: self.link(origin, *link))
        return FIGURE.sub(figure, text)

    def fence(self, origin, fence):
        """A fence. An excerpt of a source file gets a caption that links to the source."""
        excerpt = EXCERPT.search(fence[3])
        language = fence[3].split()[0] if fence[3].strip() else "text"
        if language == "console" and not fence[4].startswith("$ "):  # commands without their output
            language = "sh"
        caption = ""
        if excerpt:
            name, thing = excerpt.groups()
            words = html.escape(f"{name}: {thing}" if thing else name)
            link = self.source_link(self.documents[origin], name, words, self.line(name, thing))
            caption = f'<p class="excerpt">{link}</p>\n\n'
        return f"{caption}{fence[1]}{fence[2]}{language}\n{fence[4]}{fence[1]}{fence[2]}"

    def line(self, name, thing):
        """The line on which a function or class begins; None if it is not known."""
        if not thing:
            return None
        text = (self.root / name).read_text(encoding="utf-8")
        lines = python_lines(text, thing) if name.endswith(".py") else cuda_lines(text, thing)
        return lines[0] if lines else None

    def lesson(self, lesson, run):
        """A lesson as a notebook with its outputs."""
        origin = f"lessons/{lesson.name}/README.md"
        notebook = plain(lesson)
        texts = iter(outputs(lesson, run))
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs = printed(next(texts))
            else:
                cell.source = self.markdown(origin, self.head(lesson, cell.source))
        return notebook

    def head(self, lesson, text):
        """Add a link to the lesson's notebook below the line that says how long the lesson takes."""
        address = f"../notebooks/{lesson.name}.ipynb"
        link = f'<a class="take-away" href="{address}" download>Notebook for Colab or Jupyter</a>'
        return MINUTES.sub(lambda match: f"{match[0]}\n\n{link}", text, count=1)

    def contents(self):
        """Tables of contents, which give the pages' order: for the sidebar, and for the links to previous and next."""
        contents = {
            "Lessons": [f"lessons/{lesson.name}" for lesson in self.lessons],
            "The project": [*self.project.values(), "sources"],
        }
        text = "\n"
        for caption, pages in contents.items():
            text += "\n".join(["", "```{toctree}", ":hidden:", f":caption: {caption}", "", *pages, "```", ""])
        return text

    # ---- Sources ----

    def source_list(self):
        folders = {}
        for name in sorted(self.files):
            folders.setdefault(os.path.dirname(name), []).append(name)
        text = "# Sources\n\nThe files as they were when this site was built.\n"
        marked = set()
        for folder, names in folders.items():
            above = {parent.as_posix() for parent in [Path(folder), *Path(folder).parents]} - marked
            marks = "".join(f'<span id="folder-{each.replace("/", "-")}"></span>' for each in sorted(above))
            marked |= above
            text += f"\n{marks}\n\n## {folder or 'The folder itself'}\n\n"
            for name in names:
                link = self.source_link("sources.md", name, f"<code>{os.path.basename(name)}</code>")
                text += f"- {link} {html.escape(first_sentence(self.root / name))}\n"
        return text


def figure(match):
    """A picture and its caption, as a directive of MyST."""
    alternative, target, caption = match.groups()
    return f"```{{figure}} {target}\n:alt: {' '.join(alternative.split())}\n\n{caption}\n```"


def from_page(page, target):
    """The relative address of one of the site's files, from one of its pages."""
    return os.path.relpath(target, os.path.dirname(page) or ".").replace(os.sep, "/")


def is_text(path):
    try:
        return path.is_dir() or bool(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        return False


def first_sentence(path):
    """The first sentence of a source file's docstring or header comment."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        words = ast.get_docstring(ast.parse(text)) or ""
    elif path.suffix in SUFFIXES:
        words = re.sub(r"^//[ \t]*", "", "".join(re.findall(r"\A(?://.*\n)+", text)), flags=re.MULTILINE)
    else:
        words = ""
    sentence = re.match(r".+?(?=[.:;](?:\s|$)|\n\s*\n|$(?!\n))", words.strip(), re.DOTALL)
    return " ".join(sentence[0].split()) if sentence else ""
