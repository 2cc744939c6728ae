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


def tabular(
    header: Sequence[str],
    body: Sequence[Sequence[str]],
    rules: Collection[int],
    comment: str,
    *,
    left: Collection[int] = (0,),
    groups: Sequence[tuple[str, int]] = (),
) -> str:
    r"""Return a ``tabular`` with the rules of booktabs: some columns flush left, by default the first, all others flush right.

    :param header: the names of the columns, escaped.
    :param body: the rows, escaped.
    :param rules: the positions of the rows that have a ``\midrule`` above them, besides the one below the header.
    :param comment: a line to put above, as a comment.
    :param left: the columns that are flush left.
    :param groups: what stands above the header, from left to right: an escaped name, which may be empty, and over how many columns.
    """
    columns = "".join("l" if column in left else "r" for column in range(len(header)))
    lines = [f"% {comment}", r"% needs \usepackage{booktabs}", rf"\begin{{tabular}}{{{columns}}}", r"\toprule"]
    if any(name for name, _ in groups):
        lines += [_row([rf"\multicolumn{{{count}}}{{c}}{{{name}}}" for name, count in groups]), _group_rules(groups)]
    lines += [_row(header), r"\midrule"]
    for position, row in enumerate(body):
        if position in rules:
            lines.append(r"\midrule")
        lines.append(_row(row))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _group_rules(groups: Sequence[tuple[str, int]]) -> str:
    rules, first = [], 1
    for name, count in groups:
        rules += [rf"\cmidrule(lr){{{first}-{first + count - 1}}}"] if name else []
        first += count
    return " ".join(rules)


def _row(cells: Sequence[str]) -> str:
    return rf"{' & '.join(cells)} \\"
