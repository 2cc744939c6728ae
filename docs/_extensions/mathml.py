"""Formulas as MathML, which browsers draw themselves: the site needs no script and nothing from the network."""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING, Any

from docutils import nodes
from docutils.utils.math import MathError, pick_math_environment, wrap_math_code
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util import logging

if TYPE_CHECKING:
    from sphinx.application import Sphinx

logger = logging.getLogger(__name__)

# What the converter of docutils does not know by this name.
SPELLINGS = {r"\big": r"\bigl", r"\dots": r"\ldots"}
ACCENTED = re.compile(r"(\\(?:tilde|hat|bar|dot) ?\{?\w\}?)")


def mathml(node: nodes.Element, block: bool) -> str:
    """Return the MathML of a formula, or its source where it cannot be converted, with a warning."""
    # The converter of docutils sets the index of an accented letter beneath it, unless letter and accent are one group.
    source = ACCENTED.sub(r"{\1}", node.astext())
    for one, other in SPELLINGS.items():
        source = re.sub(re.escape(one) + r"(?![a-zA-Z])", lambda _, other=other: other, source)
    if block and pick_math_environment(source).startswith("align"):
        source = wrap_math_code(source, as_block=True)
    try:
        return tex2mathml(source, as_block=block)
    except MathError as error:
        logger.warning("formula %r cannot be shown: %s", node.astext(), error, location=node)
        return f"<code>{escape(node.astext())}</code>"


def visit_inline(translator: Any, node: nodes.math) -> None:
    """Write a formula in the text."""
    translator.body.append(mathml(node, block=False))
    raise nodes.SkipNode


def visit_block(translator: Any, node: nodes.math_block) -> None:
    """Write a formula of its own."""
    translator.body.append(translator.starttag(node, "div", CLASS="math-block"))
    translator.body.append(mathml(node, block=True))
    translator.body.append("</div>\n")
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the renderer under the name ``mathml``."""
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
