"""Pages that the library itself has written, such as a diagnosis, stand in the site as they are, with their numbers beside them.

A link from a page to an HTML file below ``docs`` would become a download of that one file, under another address, from where its links to
its numbers lead nowhere. Here it stays the link that it is, as the site is laid out like ``docs``, and the file's folder is copied to its
place.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docutils import nodes
from sphinx.addnodes import download_reference

if TYPE_CHECKING:
    from sphinx.application import Sphinx

SUFFIXES = (".html", ".json", ".csv")


def keep_links(app: Sphinx, document: nodes.document) -> None:  # noqa: ARG001
    """Turn downloads of HTML files into plain links."""
    for node in list(document.findall(download_reference)):
        if node["reftarget"].endswith(".html"):
            node.replace_self(nodes.reference("", "", *node.children, refuri=node["reftarget"], internal=True))


def copy_pages(app: Sphinx, error: Exception | None) -> None:
    """Copy every HTML file below ``docs``, and the numbers in its folder."""
    if error is not None:
        return
    for folder in {file.parent for file in Path(app.srcdir).rglob("*.html")}:
        place = Path(app.outdir, folder.relative_to(app.srcdir))
        if place.parts[len(Path(app.outdir).parts)].startswith("_"):
            continue
        place.mkdir(parents=True, exist_ok=True)
        for file in folder.iterdir():
            if file.suffix in SUFFIXES:
                shutil.copy2(file, place)


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect to Sphinx, before it collects what is to be downloaded."""
    app.connect("doctree-read", keep_links, priority=100)
    app.connect("build-finished", copy_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
