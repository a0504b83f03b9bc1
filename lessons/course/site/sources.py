"""Sphinx extension: a page for each source file, with an anchor for each line: sources/minisrgan/losses.py.html#L-12.

pages.py lists the files in sources.json, beside the pages.
"""

import html
import json
from pathlib import Path

from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import TextLexer, get_lexer_by_name, get_lexer_for_filename
from pygments.util import ClassNotFound

CUDA = {".cu", ".cuh"}


def lexer(path):
    if path.suffix in CUDA:
        return get_lexer_by_name("cuda")
    try:
        return get_lexer_for_filename(path.name)
    except ClassNotFound:
        return TextLexer()


def page(root, name, published):
    """The body of a file's page."""
    text = (root / name).read_text(encoding="utf-8")
    code = highlight(text, lexer(Path(name)), HtmlFormatter(linespans="L", cssclass="highlight source-file"))
    link = f'<p><a href="{published}/blob/main/{name}">{name} in the repository</a></p>' if published else ""
    # so that a long path can break after a slash
    title = html.escape(name).replace("/", "/<wbr>")
    return f'<section><h1 class="source-name">{title}</h1>\n{link}{code}</section>'


def pages(app):
    listed = json.loads((Path(app.srcdir) / "sources.json").read_text(encoding="utf-8"))
    for name in listed["files"]:
        body = page(Path(listed["root"]), name, listed["published"])
        yield f"sources/{name}", {"title": name, "body": body}, "page.html"


def setup(app):
    app.connect("html-collect-pages", pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
