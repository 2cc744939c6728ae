"""The command line. Nothing here imports torch before a command runs."""

from __future__ import annotations

import os
import sys
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from equimodal.cli.commands import make_parser
from equimodal.errors import InputError, MissingDependency

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code.

    It is 0; 2 after one line about bad input; 130 when interrupted; 141 when nobody reads the output any more, as for other programs.

    :param arguments: the words after the program's name; by default those it was started with.
    """
    try:
        try:
            with _current_folder():
                return _run(arguments)
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except BrokenPipeError:
        _discard_unwritten_output()
        return 141
    except (InputError, MissingDependency) as error:
        return _refuse(str(error))
    except OSError as error:
        _discard_unwritten_output()
        return _refuse(": ".join(map(str, filter(None, (error.filename, error.strerror or error)))))
    except (MemoryError, RuntimeError) as error:
        if not _out_of_memory(error):
            raise
        return _refuse("out of memory: choose a smaller batch or model")
    except KeyboardInterrupt as interruption:
        kept = interruption.args[0] if interruption.args else "the same command goes on from what was finished"
        print(f"equimodal: interrupted; {kept}", file=sys.stderr)
        return 130


@contextmanager
def _current_folder() -> Iterator[None]:
    """Look for "module:Class" in the current folder too, as under python -m; last, so that nothing there hides another module."""
    try:
        here = str(Path.cwd())
    except OSError:  # it has been removed
        here = ""
    if not here or here in sys.path or "" in sys.path:
        yield
        return
    sys.path.append(here)
    try:
        yield
    finally:
        sys.path.remove(here)


def _run(arguments: Sequence[str] | None) -> int:
    # Without NumPy, which the core does not need, torch remarks on its lack; what needs it says so in a line of its own.
    warnings.filterwarnings("ignore", message="Failed to initialize NumPy")
    try:
        known, extra = make_parser().parse_known_args(arguments)
    except SystemExit as exit_:  # after --help and --version
        return int(exit_.code or 0)
    try:
        code: int = known.run(known, extra)
    except KeyboardInterrupt as interruption:
        # Not every command goes on where it was; such a one says what it leaves.
        raise KeyboardInterrupt(*([known.interrupted] if hasattr(known, "interrupted") else [])) from interruption
    return code


def _refuse(message: str) -> int:
    print(f"equimodal: {' '.join(message.split())}", file=sys.stderr)
    return 2


def _discard_unwritten_output() -> None:
    """Let output that cannot be written go nowhere, or the interpreter complains about it when it ends."""
    try:
        sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    except AttributeError:  # there is no standard output
        pass


def _out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says so: torch raises a plain RuntimeError where the machine's memory is used up."""
    said = str(error).lower()
    return isinstance(error, MemoryError) or any(words in said for words in ("out of memory", "can't allocate memory", "not enough memory"))
