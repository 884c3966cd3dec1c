"""Formulas as MathML, which browsers draw by themselves: no script, no font, no network."""

import re

from docutils.nodes import SkipNode
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util import logging

# What LaTeX and MathJax know, and docutils by another name.
OTHER_NAMES = [(r"\\([bB]ig)(?![a-z])", r"\\\1l"), (r"\\dots(?![a-z])", r"\\ldots")]
logger = logging.getLogger(__name__)


def draw_inline(translator, node):
    """Write a formula within a line."""
    translator.body.append(markup(translator, node, is_display=False))
    raise SkipNode


def draw_display(translator, node):
    """Write a formula that stands by itself, in a box that scrolls where it is too narrow."""
    translator.body.append(f'<div class="math">{markup(translator, node, is_display=True)}</div>')
    raise SkipNode


def markup(translator, node, is_display):
    """Return a formula as MathML; what cannot be converted is a warning, and stands as typed."""
    formula = node.astext()
    for name, other in OTHER_NAMES:
        formula = re.sub(name, other, formula)
    try:
        written = tex2mathml(formula, as_block=is_display)
    except MathError as error:
        logger.warning("%s In the formula %r", error, formula, location=node)
        return f"<code>{translator.encode(formula)}</code>"
    # Bars of norms keep their size: browsers would stretch the left one, which has no subscript.
    return re.sub('(<mo(?: class="mathopen")?)>‖', r'\1 stretchy="false">‖', written)


def setup(app):
    """Register the renderer under the name that `html_math_renderer` gives."""
    app.add_html_math_renderer("mathml", (draw_inline, None), (draw_display, None))
    return {"parallel_read_safe": True}
