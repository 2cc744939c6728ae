"""``equimodal methods``: what there is, and what each option means."""

from __future__ import annotations

import argparse
import inspect
from typing import Any

from equimodal.cli.parser import Parser, no_more, say

__all__ = ["add_parser"]


def add_parser(commands: Any) -> None:
    """Declare the command."""
    parser: Parser = commands.add_parser("methods", help="list the methods, or explain one", description=__doc__)
    parser.add_argument("name", nargs="?", metavar="NAME", help="the method to explain")
    parser.set_defaults(run=run, parser=parser)


def run(arguments: argparse.Namespace, extra: list[str]) -> int:
    """Print one line per method, or one method's page."""
    no_more(extra, arguments.parser)
    from equimodal.methods import methods

    if arguments.name is None:
        say(f"{'name':<10} {'fidelity':<14} what it does")
        for name, method in methods.classes().items():
            summary = (inspect.getdoc(method) or "").splitlines()[0]
            say(f"{name:<10} {method.fidelity:<14} {summary}")
        say("\nequimodal methods NAME explains one")
        return 0
    chosen = methods.get(arguments.name)
    say(f"{chosen.name}: {chosen.title} ({chosen.fidelity})")
    say(f"source: {chosen.paper}\n")
    say(inspect.getdoc(chosen) or "")
    if chosen.option_names():
        say("\noptions:")
        defaults = chosen.defaults()
        for name in chosen.option_names():
            default = f"default {defaults[name]!r}" if name in defaults else "required"
            space = f", searched in {chosen.search_space[name]!r}" if name in chosen.search_space else ""
            say(f"  --method.{name:<16} {default}{space}")
    return 0
