"""Sphinx extension: mathematics as MathML, made while the site is built. The reader's browser needs no script."""

from docutils import nodes
from math_core import LatexError, LatexToMathML
from sphinx.util import logging

CONVERTER = LatexToMathML(fancy_error=False)


def convert(writer, node, displaystyle):
    """Write the node's formula. One that is no LaTeX is a warning, so the site is not built with it."""
    latex = node.astext()
    try:
        return CONVERTER.convert_with_local_state(latex, displaystyle=displaystyle)
    except LatexError as error:
        logging.getLogger(__name__).warning("not LaTeX: %s: %s", latex, error, location=node)
        return writer.encode(latex)


def inline(writer, node):
    writer.body.append(convert(writer, node, False))
    raise nodes.SkipNode


def display(writer, node):
    formula = convert(writer, node, True)
    # it scrolls where a screen is too narrow for it, and the keyboard can scroll it too
    writer.body.append(f'<div class="formula" tabindex="0">{formula}</div>\n')
    raise nodes.SkipNode


def setup(app):
    app.add_html_math_renderer("mathml", (inline, None), (display, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
