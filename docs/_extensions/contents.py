"""The site's contents are the links of index.md, section by section, so that a page is listed in one place only.

On a code host ``docs/index.md`` is a plain page of tables. For the site, every link that begins a row of a table becomes an entry of the
navigation, under the heading of its section.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROW = re.compile(r"^\| \[[^\]]*\]\(([^)#]+)\.md\)", re.MULTILINE)
SECTION = re.compile(r"^## (.+)\n((?:(?!## ).*\n?)*)", re.MULTILINE)


def sections(text: str) -> dict[str, list[str]]:
    """Return the pages that each section of the index lists, every page once, where it comes first."""
    found: dict[str, list[str]] = {}
    seen: set[str] = set()
    for heading, body in SECTION.findall(text):
        pages = [page for page in dict.fromkeys(ROW.findall(body)) if page not in seen]
        seen.update(pages)
        if pages:
            found[heading] = pages
    return found


def add_contents(app: Sphinx, page: str, source: list[str]) -> None:
    """Append the tables of contents to the index."""
    if page == app.config.root_doc:
        for heading, pages in sections(source[0]).items():
            source[0] += "\n".join(("", "```{toctree}", ":hidden:", f":caption: {heading}", "", *pages, "```", ""))


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect to Sphinx."""
    app.connect("source-read", add_contents)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
