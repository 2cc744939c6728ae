"""``equimodal methods``: what there is, and what each option means."""

from __future__ import annotations

import argparse
import inspect
import re
import textwrap
import unicodedata
from typing import Any

from equimodal.cli.parser import WIDTH, Parser, no_more, say

__all__ = ["add_parser", "plain_text"]

_FIDELITY = {
    "exact": "exact: as paper or authors' code say; departures stand on the method's page",
    "reconstructed": "reconstructed: the source leaves something open, which the method's page names",
}


def add_parser(commands: Any) -> None:
    """Declare the command."""
    parser: Parser = commands.add_parser(
        "methods", help="list the methods, or explain one", description="List the methods, or explain one and its options."
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="the method to explain, or module:Class")
    parser.set_defaults(run=run, parser=parser)


def run(arguments: argparse.Namespace, extra: list[str]) -> int:
    """Print a few lines per method, or one method with its options."""
    no_more(extra, arguments.parser)
    from equimodal.methods import methods

    if arguments.name is None:
        found = methods.classes()
        wide = max(10, *map(len, found))
        say(f"{'name':<{wide}} {'fidelity':<13} what it does")
        for name, method in found.items():
            summary = next(iter(_description(method)), "")
            say(_filled(f"{name:<{wide}} {getattr(method, 'fidelity', ''):<13} {summary}", wide + 15))
        say("\nequimodal methods NAME explains one")
    else:
        say("\n".join(_page(methods.get(arguments.name), arguments.name)))
    return 0


def _page(method: Any, name: str) -> list[str]:
    """Return the lines that explain a method."""
    lines = [f"{name}: {getattr(method, 'title', method.__name__)}"]
    for paragraph in _description(method):
        lines += ["", _filled(paragraph)]
    if method.option_names():
        defaults = method.defaults()
        lines += ["", "options"]
        for option in method.option_names():
            default = f"default {defaults[option]!r}" if option in defaults else "required"
            space = f"; searched: {method.search_space[option]}" if option in method.search_space else ""
            lines.append(f"  --method.{option}  ({default}{space})")
            if meaning := _meaning(method, option):
                lines.append(textwrap.indent(textwrap.fill(meaning, WIDTH - 6, break_on_hyphens=False), " " * 6))
    lines.append("")
    for label, text in {"source": getattr(method, "paper", None), "fidelity": _FIDELITY.get(getattr(method, "fidelity", ""))}.items():
        if text:
            lines.append(_filled(f"{label:<9} {text}", 10))
    return [*lines, f"more      python -m pydoc {method.__module__}"]


def _description(method: Any) -> list[str]:
    """Return the first paragraphs of a class's docstring as plain text, as far as they are running text."""
    paragraphs = []
    for paragraph in re.split(r"\n\s*\n", inspect.getdoc(method) or ""):
        if re.match(r"\s|:|\.\.|>>>", paragraph):
            break
        paragraphs.append(plain_text(paragraph))
    return paragraphs


def _meaning(method: Any, option: str) -> str:
    """Return what ``:param option:`` says, in the method's own docstring or in one of its module's."""
    module = inspect.getmodule(method)
    classes = [value for value in vars(module).values() if isinstance(value, type) and value.__module__ == method.__module__]
    for cls in (method, *classes):
        found = re.search(rf"^:param {option}: (.*?)(?=^\S|\Z)", inspect.getdoc(cls) or "", re.MULTILINE | re.DOTALL)
        if found:
            return plain_text(found[1])
    return ""


def _filled(text: str, indent: int = 0) -> str:
    return textwrap.fill(text, WIDTH, subsequent_indent=" " * indent, break_on_hyphens=False)


def plain_text(markup: str) -> str:
    r"""Return reStructuredText as one plain paragraph: names without their roles, Greek letters for their TeX names.

    >>> plain_text(":class:`~equimodal.MILES` keeps ``lr`` unless :math:`\\delta > \\tau`,\n    see *there*")
    'MILES keeps lr unless δ > τ, see there'
    """
    text = re.sub(r":math:`([^`]*)`", lambda found: _plain_formula(found[1]), markup)
    text = re.sub(r":[a-z:]+:`~(?:[^`]*\.)?([^`]*)`", r"\1", text)
    text = re.sub(r":[a-z:]+:`([^`]*)`", r"\1", text)
    text = re.sub(r"``([^`]*)``|`([^`]*)`", lambda found: found[1] or found[2] or "", text)
    text = re.sub(r"\*(\w[^*\n]*)\*", r"\1", text)
    return " ".join(text.split())


def _plain_formula(formula: str) -> str:
    def letter(found: re.Match[str]) -> str:
        try:
            return unicodedata.lookup(f"greek small letter {found[1].replace('lambda', 'lamda')}")
        except KeyError:
            return {"le": "≤", "ge": "≥"}.get(found[1], found[1])

    return re.sub(r"\\([a-z]+)", letter, formula).replace("{", "").replace("}", "")
