"""Figures as SVG: real text, the page's own text colour, names for screen readers, and no identifier twice in a page."""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from equimodal._files import write_whole
from equimodal.errors import InputError, require
from equimodal.report.style import INK, SETTINGS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from os import PathLike

    from matplotlib.figure import Figure

__all__ = ["drawing", "figure_to_svg", "write_figure"]

SVG = "http://www.w3.org/2000/svg"
XLINK = "http://www.w3.org/1999/xlink"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
# A file of its own has no page to take its colours from.
STANDALONE_STYLE = "svg{color:#1b1f24;background:#fff}@media (prefers-color-scheme:dark){svg{color:#e4e6e9;background:#15181c}}"
NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


@contextmanager
def drawing() -> Iterator[None]:
    """Draw with this package's settings, whatever the user's own style files say."""
    style = require("matplotlib.style", extra="plots")
    with style.context(["default", SETTINGS]), warnings.catch_warnings():
        # The text stays text: a letter that matplotlib's own font lacks is drawn by the reader's.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from font", category=UserWarning)
        yield


def figure_to_svg(figure: Figure, title: str, description: str = "", *, identifier: str | None = None, standalone: bool = False) -> str:
    """Return a figure as one ``<svg>`` element, the same text for the same figure.

    Black becomes ``currentColor`` and the background stays transparent, so that the figure follows a light or a dark page. The element
    has ``role="img"`` with the title and the description as its name and text for screen readers.

    :param figure: a matplotlib figure, such as those of ``equimodal.report.figures``.
    :param title: what the figure shows, in a few words.
    :param description: what can be seen in it, for those who do not see it.
    :param identifier: the prefix of all identifiers inside, unique in a page; by default derived from the content.
    :param standalone: whether the text is to be a file of its own: with an XML declaration, a size, and its own light and dark colours.
    """
    buffer = io.BytesIO()
    with drawing():
        figure.savefig(buffer, format="svg", transparent=True, metadata=NO_METADATA)
    content = buffer.getvalue()
    prefix = identifier or "figure-" + hashlib.sha256(content + title.encode() + description.encode()).hexdigest()[:10]
    root = ElementTree.fromstring(content)
    _drop_stylesheet(root)
    _plain_names(root)
    _own_identifiers(root, prefix)
    for element in root.iter():
        _tidy(element)
    width, height = root.attrib.pop("width"), root.attrib.pop("height")
    attributes = {"xmlns": SVG, "viewBox": root.attrib["viewBox"], "role": "img", "aria-labelledby": f"{prefix}-title {prefix}-description"}
    if standalone:
        attributes |= {"width": width, "height": height}
    attributes |= {"fill": "currentColor", "stroke-linejoin": "round", "font-family": FONT}
    root.attrib.clear()
    root.attrib.update(attributes)
    _describe(root, prefix, title, description, standalone=standalone)
    text = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n' if standalone else text


def write_figure(path: str | PathLike[str], figure: Figure, title: str, description: str = "") -> Path:
    """Write a figure as ``.svg``, ``.png`` or ``.pdf``, by the path's suffix.

    :raises InputError: for another suffix, or when the file cannot be written.
    """
    suffix = Path(path).suffix.lower()
    if suffix == ".svg":
        return write_whole(path, figure_to_svg(figure, title, description, standalone=True))
    if suffix not in (".png", ".pdf"):
        raise InputError(f"{str(path)!r} has no suffix of a figure: give a path that ends in .svg, .png or .pdf")
    metadata = (
        {"Software": None, "Title": title}
        if suffix == ".png"
        else {"CreationDate": None, "Creator": None, "Producer": None, "Title": title}
    )
    buffer = io.BytesIO()
    with drawing():
        figure.savefig(buffer, format=suffix[1:], dpi=200, metadata=metadata)
    return write_whole(path, buffer.getvalue())


def _drop_stylesheet(root: ElementTree.Element) -> None:
    # In a page its rule for "*" would reach every other element.
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{{{SVG}}}style", f"{{{SVG}}}metadata"):
                parent.remove(child)
    for child in list(root):
        if child.tag == f"{{{SVG}}}defs" and not len(child):
            root.remove(child)


def _plain_names(root: ElementTree.Element) -> None:
    for element in root.iter():
        element.tag = element.tag.removeprefix(f"{{{SVG}}}")
        if f"{{{XLINK}}}href" in element.attrib:
            element.attrib["href"] = element.attrib.pop(f"{{{XLINK}}}href")


def _own_identifiers(root: ElementTree.Element, prefix: str) -> None:
    used = set()
    for element in root.iter():
        for key, value in element.attrib.items():
            reference = re.fullmatch(r"#(.+)|url\(#(.+)\)", value)
            if reference:
                used.add(reference[1] or reference[2])
                element.attrib[key] = value.replace("#", f"#{prefix}-")
    for element in root.iter():
        identifier = element.attrib.pop("id", None)
        if identifier in used:
            element.attrib["id"] = f"{prefix}-{identifier}"


def _tidy(element: ElementTree.Element) -> None:
    attributes = element.attrib
    if "style" in attributes:
        declarations = [part.strip() for part in attributes["style"].split(";")]
        kept = [part.replace(INK, "currentColor") for part in declarations if part and not part.startswith("font-family")]
        attributes["style"] = "; ".join(kept)
    if "rotate(-0 " in attributes.get("transform", ""):
        del attributes["transform"]
    for key in ("d", "x", "y"):
        if key in attributes:
            attributes[key] = re.sub(r"\s+", " ", re.sub(r"-?\d+\.\d+", _hundredths, attributes[key])).strip()
    if element.tag != "text":
        element.text = None
    element.tail = None


def _hundredths(match: re.Match[str]) -> str:
    return f"{round(float(match[0]), 2) + 0.0:g}"


def _describe(root: ElementTree.Element, prefix: str, title: str, description: str, *, standalone: bool) -> None:
    head = [("title", title), ("desc", description or title)]
    for position, (tag, text) in enumerate(head):
        element = ElementTree.Element(tag, {"id": f"{prefix}-{'title' if tag == 'title' else 'description'}"})
        element.text = text
        root.insert(position, element)
    if standalone:
        style = ElementTree.Element("style")
        style.text = STANDALONE_STYLE
        root.insert(len(head), style)
