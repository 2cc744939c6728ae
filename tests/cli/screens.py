"""A terminal in a few lines: what a program that redraws in place leaves on a screen of a size."""

from __future__ import annotations

import re

_PARTS = re.compile(r"\x1b\[(\d*)([A-Za-z])|([\r\n])|([^\x1b\r\n])")


class Terminal:
    """Keeps the lines of a screen, breaks those that are too long, and scrolls.

    :param columns: cells of a line.
    :param rows: lines.
    """

    def __init__(self, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        self.lines = [""]
        self.row = self.column = 0
        self.lost: list[str] = []
        """The lines that scrolled off its top."""

    def write(self, text: str) -> None:
        for number, letter, control, character in _PARTS.findall(text):
            if letter == "F":
                self.row, self.column = max(self.row - int(number or 1), 0), 0
            elif letter == "J":
                self.lines = [*self.lines[: self.row], self.lines[self.row][: self.column]]
            elif letter:
                raise AssertionError(f"an escape sequence that this terminal does not know: {letter}")
            elif control == "\r":
                self.column = 0
            elif control == "\n":
                self._down()
            else:
                self._put(character)

    def _put(self, character: str) -> None:
        if self.column == self.columns:
            self._down()
        line = self.lines[self.row].ljust(self.column)
        self.lines[self.row] = line[: self.column] + character + line[self.column + 1 :]
        self.column += 1

    def _down(self) -> None:
        self.row, self.column = self.row + 1, 0
        if self.row == len(self.lines):
            self.lines.append("")
        if len(self.lines) > self.rows:
            self.lost.append(self.lines.pop(0))
            self.row -= 1

    def __str__(self) -> str:
        return "\n".join(self.lines)
