"""Original files as people download them: finding them, reading them, and saying in one line what is wrong with one."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from equimodal.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Damaged", "is_html", "listed", "locate", "read_bytes", "sha256_of", "unusable"]

_HEAD = 512


class Damaged(InputError):
    """One original file cannot be used; the others may."""


def locate(folder: Path, names: Sequence[str], what: str) -> Path:
    """Return the folder itself, or the one in it, that holds a file or folder of the given name.

    :param folder: the folder that the user named.
    :param names: paths relative to the folder sought, such as ``"AudioWAV"`` or ``"wiki_image_text/raw_features.mat"``; the first
        that exists answers.
    :param what: what is sought, for the message.
    :returns: the path of the name that was found.
    :raises InputError: when there is no such folder, or it holds none of the names.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is {'no folder' if folder.exists() else 'not there'}: name the folder that holds {what}")
    for name in names:
        if (folder / name).exists():
            return folder / name
    raise InputError(f"{folder} does not hold {what}: {' or '.join(names)} is needed there")


def listed(folder: Path, pattern: str) -> list[Path]:
    """Return the files below a folder that a pattern matches, sorted by their path; hidden ones are left out.

    :raises InputError: when the folder cannot be read.
    """
    try:
        return sorted(path for path in folder.glob(pattern) if path.is_file() and not path.name.startswith("."))
    except OSError as error:
        raise InputError(f"{folder} cannot be read ({error.strerror or error})") from None


def read_bytes(path: Path, what: str) -> bytes:
    """Return a file's content.

    :param what: what it is, for the message, such as ``"recording"``.
    :raises Damaged: when the file is missing, empty or unreadable, an HTML page or a pointer of Git LFS.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise Damaged(f"{what} {path} is missing") from None
    except OSError as error:
        raise Damaged(f"{what} {path} cannot be read ({error.strerror or error})") from None
    if not content:
        raise Damaged(f"{what} {path} is empty: get it anew")
    if instead := _in_its_place(content):
        raise Damaged(f"{what} {path} is {instead}")
    return content


def sha256_of(path: Path, what: str = "") -> str:
    """Return the sha256 of a file, in hexadecimal digits.

    :param what: what it is, for the message.
    :raises InputError: when it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{what} {path} cannot be read ({error.strerror or error})".lstrip()) from None


def unusable(path: Path, what: str, reason: object = "") -> Damaged:
    """Return the error for a file that a library could not read, which may be another thing in its place, such as an HTML page.

    :param reason: what the library said.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        head = b""
    if instead := _in_its_place(head):
        return Damaged(f"{what} {path} is {instead}")
    said = " ".join(str(reason).split()).replace(f"'{path}'", "it").replace(str(path), "it")
    return Damaged(f"{what} {path} is cut short or damaged{f' ({said})' if said else ''}: get it anew")


def is_html(content: bytes) -> bool:
    """Tell whether a file's beginning is that of an HTML page: what servers send where they refuse a download.

    >>> is_html(b"<!DOCTYPE html><html>"), is_html(b"RIFF")
    (True, False)
    """
    head = content[:_HEAD].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return head.startswith((b"<!doctype html", b"<html"))


def _in_its_place(content: bytes) -> str | None:
    """Return what stands where a file should be, from its beginning, if it is one of the usual things."""
    if is_html(content):
        return "an HTML page, not data: the download was refused or asks for a login; get it anew"
    if content.startswith(b"version https://git-lfs"):
        return "a pointer of Git LFS, not the file itself: run 'git lfs pull' in the clone that it came with"
    return None
