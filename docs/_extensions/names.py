"""Cross-references as they are written in docstrings: by the name that is at hand in the module, public or not.

A class stands in the reference under its public name (``equimodal.MILES``), and is referred to under any: ``MILES`` beside it, its true
home ``equimodal.methods.miles.MILES``, or the annotation of an argument. Names of other packages stay plain text. What is written by hand
and leads nowhere remains a warning, which the build takes as an error.
"""

from __future__ import annotations

import importlib
import sys
from functools import cache
from typing import TYPE_CHECKING, Any

from sphinx.util.nodes import make_refnode

if TYPE_CHECKING:
    from docutils.nodes import Element
    from sphinx.addnodes import pending_xref
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

OTHERS = {"torch", *sys.stdlib_module_names}
"""Packages whose names may be written in roles, and are not linked."""

NAMES: dict[str, list[str]] = {}


@cache
def find(name: str) -> Any:
    """Return the object of a dotted name, or None."""
    module, _, rest = name.rpartition(".")
    if not module:
        return None
    try:
        return getattr(importlib.import_module(module), rest)
    except (ImportError, AttributeError):
        return getattr(find(module), rest, None)


def is_end(name: str, target: str) -> bool:
    """Tell whether a full name ends in another, such as ``equimodal.nn.JointFusion.fuse`` in ``JointFusion.fuse``."""
    return name == target or name.endswith(f".{target}")


def candidates(names: list[str], reference: pending_xref) -> list[str]:
    """Return which of the documented names that end alike a reference may mean."""
    target = reference["reftarget"].lstrip(".")
    if found := [name for name in names if is_end(name, target)]:
        inside = [name for name in found if reference.get("py:class") and is_end(name, f"{reference['py:class']}.{target}")]
        return inside or found
    meant = find(target) if names else None
    return [] if meant is None else [name for name in names if find(name) is meant]


def index(app: Sphinx, env: BuildEnvironment) -> None:  # noqa: ARG001
    """Note all documented names by their last part, once all pages have been read."""
    NAMES.clear()
    for name in env.domains.python_domain.objects:
        NAMES.setdefault(name.rpartition(".")[2], []).append(name)


def resolve(app: Sphinx, env: BuildEnvironment, reference: pending_xref, content: Element) -> Element | None:
    """Return a link to the documented object that a name stands for, the most public one where there are several."""
    if reference.get("refdomain") != "py":
        return None
    alike = NAMES.get(reference["reftarget"].rpartition(".")[2], [])
    if names := candidates(alike, reference):
        name = min(names, key=lambda name: (name.count("."), name))
        entry = env.domains.python_domain.objects[name]
        return make_refnode(app.builder, reference["refdoc"], entry.docname, entry.node_id, content, name)
    by_hand = "refexplicit" in reference  # references made from annotations have no such attribute
    other = reference["reftarget"].partition(".")[0] in OTHERS
    return content if other or not by_hand else None


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect to Sphinx."""
    app.connect("env-check-consistency", index)
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
