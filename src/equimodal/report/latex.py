"""Tables for LaTeX documents that use the package booktabs."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

__all__ = ["escape", "tabular"]

# Greek letters and signs by their commands, since not every font and engine has them; all other letters stay as they are, in UTF-8.
GREEK = zip("αβδηλμρστΔ", ["alpha", "beta", "delta", "eta", "lambda", "mu", "rho", "sigma", "tau", "Delta"], strict=True)
SIGNS = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    **{letter: rf"$\{name}$" for letter, name in GREEK},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "−": "$-$",
    "+": "$+$",
    "²": "$^2$",
    "–": "--",
    "—": "---",
    "…": r"\dots{}",
}


def escape(text: str) -> str:
    r"""Return a text as LaTeX prints it.

    >>> escape("50 % of a_b, τ = 0.2, 98.4 ± 0.2")
    '50 \\% of a\\_b, $\\tau$ = 0.2, 98.4 $\\pm$ 0.2'

    :param text: in one line.
    """
    # Two hyphens in a row would become a dash.
    parted = re.sub("-(?=-)", "-\0", text)
    escaped = "".join(SIGNS.get(letter, letter) for letter in parted).replace("\0", "{}")
    # After the end of a row either would belong to it.
    return re.sub(r"^\s*([\[*])", r"{\1}", escaped)


def tabular(header: Sequence[str], body: Sequence[Sequence[str]], rules: Collection[int], comment: str) -> str:
    r"""Return a ``tabular`` with the rules of booktabs: the first column flush left, all others flush right.

    :param header: the names of the columns, escaped.
    :param body: the rows, escaped.
    :param rules: the positions of the rows that have a ``\midrule`` above them, besides the one below the header.
    :param comment: a line to put above, as a comment.
    """
    lines = [f"% {comment}", r"% needs \usepackage{booktabs}", rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}", r"\toprule"]
    lines += [_row(header), r"\midrule"]
    for position, row in enumerate(body):
        if position in rules:
            lines.append(r"\midrule")
        lines.append(_row(row))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _row(cells: Sequence[str]) -> str:
    return rf"{' & '.join(cells)} \\"
