"""Tables for LaTeX: their structure, and names that LaTeX would take for commands."""

from __future__ import annotations

import re

import pytest

from equimodal.report import RunRecord, group_rows
from equimodal.report.latex import escape

from .examples import MODALITIES, comparison, result_record

SCORES = {"multimodal": 0.9, "image": 0.8, "audio": 0.85}


def record(label, scores=SCORES):
    return RunRecord(label, label, result=result_record(label, 0, 5, 3, scores))


def parsed(text):
    """Split a tabular into its column letters and its lines: rules by name, rows as lists of cells."""
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    letters, inside = re.fullmatch(r"\\begin\{tabular\}\{(\w+)\}\n(.*)\n\\end\{tabular\}", body.strip(), re.DOTALL).groups()
    lines = []
    for line in inside.splitlines():
        if line in (r"\toprule", r"\midrule", r"\bottomrule"):
            lines.append(line[1:])
        else:
            assert line.endswith(r" \\"), "every row ends"
            lines.append(re.split(r"(?<!\\) & ", line.removesuffix(r" \\")))
    return letters, lines


def test_rules_stand_where_booktabs_has_them():
    runs = [record("image alone", {"multimodal": 0.95, "image": 0.95}), record("joint"), record("MILES", {**SCORES, "multimodal": 0.92})]
    letters, lines = parsed(group_rows(runs, MODALITIES).latex())
    assert letters == "lrrrr"
    assert lines == [
        "toprule",
        ["Model", "multimodal", "image", "audio", r"$\Delta$ (image $-$ audio)"],
        "midrule",
        ["image alone", "--", "95.0", "--", "--"],
        "midrule",
        ["joint", "90.0", "80.0", "85.0", "$-$5.0"],
        ["MILES", r"\textbf{92.0}", "80.0", "85.0", "$-$5.0"],
        "bottomrule",
    ]


def test_methods_alone_have_one_rule_below_the_header():
    assert parsed(group_rows([record("a"), record("b")], MODALITIES).latex())[1].count("midrule") == 1


def test_a_comparison_with_intervals_and_costs():
    text = group_rows(comparison(), MODALITIES, relative_to="joint").latex()
    letters, lines = parsed(text)
    rows = [line for line in lines if isinstance(line, list)]
    assert letters == "lrrrrrr"
    assert {len(row) for row in rows} == {7}
    assert rows[0][-2:] == [r"seconds $\times$joint", r"steps $\times$joint"]
    assert rows[-1][0] == "MILES"
    assert all(re.fullmatch(r"(\\textbf\{)?\d+\.\d \$\\pm\$ \d+\.\d\}?", row[1]) for row in rows[3:])
    assert sum(r"\textbf" in cell for row in rows for cell in row) == 1
    comments = [line for line in text.splitlines() if line.startswith("%")]
    assert "Test accuracy (%). Means over 5 runs" in comments[0]
    assert r"\usepackage{booktabs}" in comments[1]
    # Every sign of the package's own is one that all engines know.
    assert "\n".join(line for line in text.splitlines() if not line.startswith("%")).isascii()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a_b & 50 % of #1 {x}", r"a\_b \& 50 \% of \#1 \{x\}"),
        (r"$\alpha$", r"\$\textbackslash{}alpha\$"),
        ("~^", r"\textasciitilde{}\textasciicircum{}"),
        ("a<b>|c", r"a\textless{}b\textgreater{}\textbar{}c"),
        ("MILES τ=0.2, μ=0.5", r"MILES $\tau$=0.2, $\mu$=0.5"),
        ("--lr 1", "-{}-lr 1"),
        ("---", "-{}-{}-"),
        ("[2pt] late", "{[}2pt] late"),
        ("* ours", "{*} ours"),
        ("Zürich 音", "Zürich 音"),
    ],
)
def test_names_are_printed_as_they_are(name, expected):
    assert escape(name) == expected
    assert parsed(group_rows([record(name)], MODALITIES).latex())[1][3][0] == expected


def test_a_name_with_line_breaks_ends_no_row_and_no_comment():
    names = ["one\ntwo", "audio"]
    runs = [record("a\n% b\r\nc", {"multimodal": 0.9, names[0]: 0.8, "audio": 0.5})]
    runs = [RunRecord(one.label, one.method, result={**one.result, "metric": "my\nscore"}) for one in runs]
    text = group_rows(runs, names).latex()
    assert parsed(text)[1][3][0] == r"a \% b  c"
    assert len(text.splitlines()) == 9
