"""Reading YAML 1.2, in which 1e-3 is a number."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

from equimodal.errors import InputError, require

__all__ = ["read_yaml"]


def read_yaml(path: Path) -> dict[str, Any]:
    """Return a YAML file's mapping.

    :raises InputError: for a file that is missing, no YAML, or no mapping.
    """
    yaml = require("ruamel.yaml", extra="cli")
    try:
        found = yaml.YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
        json.dumps(found, default=str, skipkeys=True)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    except (yaml.error.YAMLError, ValueError, RecursionError) as error:
        place = getattr(error, "problem_mark", None)
        where = f", line {place.line + 1}" if place is not None else ""
        raise InputError(f"{path} cannot be read as YAML{where}: {getattr(error, 'problem', None) or error}") from None
    if not isinstance(found, dict):
        holds = "is empty" if found is None else f"holds {textwrap.shorten(repr(found), 60)}"
        raise InputError(f"{path} {holds}: a mapping of options is needed, such as 'epochs: 20'")
    return found
