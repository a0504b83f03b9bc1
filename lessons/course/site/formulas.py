"""Sphinx extension: shows mathematics with a copy of MathJax in the site, and checks formulas while the site is built.

MathJax runs in the reader's browser, so only readers would notice a formula that it cannot show. Therefore each formula
is checked here: another LaTeX parser has to accept it, and MathJax has to know its commands.
"""

import functools
import re
import shutil
from importlib.metadata import distribution
from pathlib import Path

from docutils import nodes
from math_core import LatexError, LatexToMathML
from sphinx.util import logging

MATHJAX = "sphinx-mathjax-offline"  # the package that has it
SCRIPT = "tex-svg.js"  # draws letters as shapes: a browser may refuse to load fonts for a page that is a local file


def keep_together(app, document):
    """Keep the punctuation after a formula on the formula's line."""
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
        latex = re.sub(r"\\cr\b", r"\\\\", latex)  # the same; lessons use \cr, since GitHub turns \\ into \
        try:
            converter.convert_with_local_state(latex, displaystyle=isinstance(node, nodes.math_block))
        except LatexError as error:
            faults.append(str(error))
        for fault in faults:
            logging.getLogger(__name__).warning("not LaTeX: %s: %s", latex, fault, location=node)


@functools.cache
def words(path):
    """Every word in MathJax's script. The names of all the commands that it knows are among them."""
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
