"""All commands under one parser."""

from __future__ import annotations

from typing import TYPE_CHECKING

from equimodal import __version__
from equimodal.cli import compare, data, demo, diagnose, evaluate, export, methods, rates, reproduce, simulate, study, train, watch
from equimodal.cli.parser import Parser, no_more

if TYPE_CHECKING:
    import argparse

__all__ = ["make_parser"]


def make_parser() -> Parser:
    """Return the parser of all commands."""
    parser = Parser(prog="equimodal", description="Balanced training of multimodal networks.")
    parser.add_argument("--version", action="version", version=f"equimodal {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", parser_class=Parser)
    for module in (demo, train, watch, evaluate, diagnose, export, compare, rates, study, reproduce, methods, data, simulate):
        module.add_parser(commands)

    def no_command(_: argparse.Namespace, extra: list[str]) -> int:
        no_more(extra, parser)
        parser.error(f"a command is needed: {', '.join(commands.choices)}")

    parser.set_defaults(run=no_command)
    return parser
