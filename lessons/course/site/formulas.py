"""Sphinx extension: mathematics by a copy of MathJax in the site itself, and formulas checked while the site is built.

MathJax works in the reader's browser, so a formula that it cannot read would be seen by readers alone. Hence the check,
by another reader of LaTeX, and by the words that MathJax knows.
"""

import functools
import re
import shutil
from importlib.metadata import distribution
from pathlib import Path

from docutils import nodes
from math_core import LatexError, LatexToMathML
from sphinx.util import logging

MATHJAX = "sphinx-mathjax-offline"  # the package that brings it
SCRIPT = "tex-svg.js"  # draws its letters itself: a browser may refuse fonts to a page that is a file


def keep_together(app, document):
    """Let no line begin with the comma or point after a formula."""
    for node in list(document.findall(nodes.math)):
        following = node.next_node(descend=False, siblings=True)
        ending = re.match(r"[.,;:!?)\]’”-]+", following) if isinstance(following, nodes.Text) else None
        if ending:
            both = nodes.inline("", "", node.deepcopy(), nodes.Text(ending[0]), classes=["together"])
            following.parent.replace(following, nodes.Text(following[ending.end() :]))
            node.parent.replace(node, both)


def check(app, document):
    converter = LatexToMathML(fancy_error=False)
    known = words(mathjax())
    for node in document.findall(lambda node: isinstance(node, nodes.math | nodes.math_block)):
        latex = node.astext()
        faults = [f"MathJax has no \\{name}" for name in re.findall(r"\\([A-Za-z]+)", latex) if name not in known]
        latex = re.sub(r"\\cr\b", r"\\\\", latex)  # the same; a lesson has \cr, since GitHub loses a backslash of two
        try:
            converter.convert_with_local_state(latex, displaystyle=isinstance(node, nodes.math_block))
        except LatexError as error:
            faults.append(str(error))
        for fault in faults:
            logging.getLogger(__name__).warning("not LaTeX: %s: %s", latex, fault, location=node)


@functools.cache
def words(path):
    """Every word of MathJax's script: the names of all that it knows are among them."""
    return frozenset(re.findall(r"[A-Za-z]+", path.read_text(encoding="utf-8")))


def mathjax():
    return Path(distribution(MATHJAX).locate_file(f"{MATHJAX}/static/mathjax/{SCRIPT}"))


def copy_mathjax(app):
    (app.outdir / "_static").mkdir(parents=True, exist_ok=True)
    shutil.copy(mathjax(), app.outdir / "_static" / SCRIPT)


def setup(app):
    app.connect("doctree-read", check)
    app.connect("doctree-read", keep_together)
    app.connect("builder-inited", copy_mathjax)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
