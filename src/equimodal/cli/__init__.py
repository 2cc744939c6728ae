"""The command line. Nothing here imports torch before a command runs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from equimodal.cli.parser import make_parser
from equimodal.errors import InputError, MissingDependency

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code: 0, or 2 after one line about bad input, or 130 when interrupted."""
    parser = make_parser()
    try:
        known, extra = parser.parse_known_args(arguments)
        code: int = known.run(known, extra)
    except (InputError, MissingDependency) as error:
        print(f"equimodal: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        print(f"equimodal: {error.strerror or error}{where}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("equimodal: interrupted; the same command goes on from the last finished epoch", file=sys.stderr)
        return 130
    return code
