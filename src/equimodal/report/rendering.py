"""Filling the templates of pages: escaped, strict, and all with one style sheet."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from typing import Any

from equimodal.errors import require

__all__ = ["rendered", "template_file"]


def rendered(template: str, content: Mapping[str, Any]) -> str:
    """Return a template's text with its gaps filled; ``style`` is the style sheet of all pages.

    :param template: the file's name.
    :param content: what fills the gaps; text is escaped.
    :raises MissingDependency: without Jinja.
    """
    jinja = require("jinja2", extra="plots")
    environment = jinja.Environment(
        autoescape=True, undefined=jinja.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    return str(environment.from_string(template_file(template)).render({**content, "style": template_file("style.css")}))


def template_file(name: str) -> str:
    """Return a file that lies among the templates as it is, such as a script."""
    return resources.files("equimodal.report").joinpath("templates", name).read_text(encoding="utf-8")
