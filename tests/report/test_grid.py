"""Tables of any kind: layout, what stays readable when it does not fit, and escaping in every shape."""

from __future__ import annotations

import csv
import io
import math
import unicodedata
from xml.etree import ElementTree

import pytest

from equimodal.errors import InputError
from equimodal.report.grid import Cell, Column, Grid


def grid(rows=(("MILES", 0.751), ("OGM", 0.639)), **changes):
    cells = tuple((Cell(name), Cell(f"{100 * value:.1f}", value, strong=place == 0)) for place, (name, value) in enumerate(rows))
    given = {"title": "Scores", "columns": (Column("Model"), Column("test", key="test_score")), "rows": cells, **changes}
    return Grid(**given)


def wide(columns=14):
    """Two groups of columns and a long text at the end."""
    names = [Column("Model")]
    names += [Column(f"score {place}", group="ours" if place < 6 else "paper: S-MNIST") for place in range(columns)]
    names += [Column("reason", left=True)]
    reason = "training diverged at epoch 2, batch 17: the loss is nan; the last good checkpoint stays " * 2
    row = (Cell("a method with a very long name that no half line can hold at all"), *[Cell("99.9 ± 0.1")] * columns, Cell(reason))
    return Grid("A wide table", tuple(names), (row, row), frozenset({1}), notes=("One note. " * 30,))


def cells_of(line):
    return sum(0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in line)


NASTY = 'a|b_c*d & <e> "f" $g$ {h} \\i #j %k ~l ^m [n] `o`\n中文\x1b[1m --'


def test_text_has_title_columns_rows_and_notes():
    table = grid(emphasis="best score", notes=("Two runs.",))
    assert str(table).splitlines() == [
        "Scores",
        "",
        "Model   test",
        "────────────",
        "MILES  *75.1",
        "OGM     63.9",
        "",
        "* best score.",
        "Two runs.",
    ]


def test_what_a_column_means_is_said_once_below():
    columns = (Column("Model"), Column("Δ", "image − audio", group="ours"), Column("Δ", "image − audio", group="paper"))
    table = Grid("Scores", columns, ((Cell("a"), Cell("+1.0"), Cell("+2.0")),))
    for shape in (table.text(), table.markdown(), table.latex(), table.html()):
        assert shape.count("image") == 1


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_no_line_is_wider_than_the_terminal(width):
    text = wide().text(width)
    assert max(map(cells_of, text.splitlines())) <= width


def test_wide_letters_and_one_endless_word_stay_within_the_width():
    table = Grid("表" * 60, (Column("名" * 50), Column("値" * 50)), ((Cell("行" * 50), Cell("数" * 50)),), notes=("語" * 90,))
    assert max(map(cells_of, table.text().splitlines())) <= 80


def test_each_block_repeats_the_names_of_the_rows_and_no_column_is_lost():
    text = wide().text()
    for place in range(14):
        assert text.count(f"score {place}\n") + text.count(f"score {place} ") >= 1
    blocks = [block for block in text.split("\n\n") if "─" in block]
    assert len(blocks) > 2
    assert all("a method with a very long name" in block for block in blocks)


def test_a_group_has_its_name_above_its_columns_in_every_block():
    names = ("multimodal", "image", "audio")
    columns = (
        Column("Model"),
        *(Column(name, group="ours") for name in names),
        *(Column(name, group="paper: S-MNIST") for name in names),
        *(Column(name, group="mean over fresh seeds") for name in names),
    )
    row = (Cell("MILES"), *[Cell("99.8")] * 6, *[Cell("99.8 ± 0.1")] * 3)
    lines = Grid("t", columns, (row,)).text().splitlines()
    assert "─ ours ─" in lines[2]
    assert "─ paper: S-MNIST ─" in lines[2]
    # The group starts where its first column does, and that column's header ends within it.
    start = lines[2].index("─ paper")
    assert lines[3][start:].split() == list(names)
    assert any("─ mean over fresh seeds ─" in line for line in lines[6:])


def test_a_group_that_is_wider_than_the_terminal_goes_on_in_as_few_blocks_as_can_be():
    columns = (Column("Model"), *(Column(f"{place}", group="a group with a long name") for place in range(10)))
    text = Grid("t", columns, ((Cell("MILES"), *[Cell("97.9 to 98.1")] * 10),)).text()
    # Five columns of 12 cells and their gaps stand beside the name.
    assert text.count("─ a group with a long name ─") == 2
    assert [line.split()[1:] for line in text.splitlines() if line.startswith("Model")] == [list("01234"), list("56789")]


def test_a_group_whose_name_is_longer_than_its_columns_keeps_its_name():
    columns = (Column("Model"), Column("p", group="paired t-test"), Column("q", group="paired t-test"))
    lines = Grid("t", columns, ((Cell("a"), Cell("1"), Cell("2")),)).text().splitlines()
    assert "─ paired t-test ─" in lines[2]


def test_a_long_text_goes_on_below_and_loses_nothing():
    reason = "training diverged at epoch 2 of 8 with the learning rate 0.01: the loss is not a number any more"
    columns = (Column("series"), Column("attempts"), Column("reason", left=True))
    rows = tuple((Cell(name), Cell("1"), Cell(reason)) for name in ("one", "two"))
    lines = Grid("Failures", columns, rows, frozenset({1})).text().splitlines()
    body = lines[4:]
    first, second = body[: body.index(lines[3])], body[body.index(lines[3]) + 1 :]
    assert [line.split()[0] for line in (first[0], second[0])] == ["one", "two"]
    said = " ".join(line[first[0].index("training") :].strip() for line in first)
    assert said == reason


def test_a_table_without_rows_has_its_header_and_its_notes_in_every_shape():
    empty = grid(rows=(), notes=("No trial failed.",))
    assert "Model  test" in empty.text()
    for shape in (empty.text(), empty.markdown(), empty.latex(), empty.html()):
        assert "No trial failed." in shape
    assert empty.csv() == "Model,test_score\n"
    ElementTree.fromstring(empty.html())


def test_csv_is_for_programs():
    cells = (Cell("a"), Cell("–"), Cell("33.3", 1 / 3), Cell("nan", math.nan), Cell("x", -0.0), Cell("2 of 3", 2))
    columns = tuple(Column(f"c{place}", shown=place < 3) for place in range(6))
    (row,) = csv.DictReader(io.StringIO(Grid("t", columns, (cells,)).csv()))
    assert row == {"c0": "a", "c1": "", "c2": repr(1 / 3), "c3": "", "c4": "0.0", "c5": "2"}


def test_columns_for_programs_alone_are_not_shown():
    table = Grid("t", (Column("a"), Column("hidden", shown=False), Column("b")), ((Cell("1"), Cell("secret"), Cell("2")),))
    for shape in (table.text(), table.markdown(), table.latex(), table.html()):
        assert "secret" not in shape
        assert "hidden" not in shape
    assert table.csv() == "a,hidden,b\n1,secret,2\n"


def test_markdown_is_a_table_of_pipes_with_the_emphasised_in_bold():
    lines = grid().markdown().splitlines()
    assert lines[:4] == ["| Model | test |", "| --- | ---: |", "| MILES | **75.1** |", "| OGM | 63.9 |"]


def test_markdown_names_the_group_of_a_column():
    table = Grid("t", (Column("a"), Column("b", group="paper")), ((Cell("1"), Cell("2")),))
    assert table.markdown().startswith("| a | b (paper) |")


def test_latex_has_rules_groups_and_bold():
    table = grid(columns=(Column("Model"), Column("test", group="paper: A_B")), rules=frozenset({1}))
    lines = table.latex().splitlines()
    assert r"\begin{tabular}{lr}" in lines
    assert r"\multicolumn{1}{c}{} & \multicolumn{1}{c}{paper: A\_B} \\" in lines
    assert r"\cmidrule(lr){2-2}" in lines
    assert r"MILES & \textbf{75.1} \\" in lines
    assert lines.index(r"\midrule", lines.index(r"\midrule") + 1) == lines.index(r"OGM & 63.9 \\") - 1


def test_html_has_a_caption_scopes_and_groups():
    columns = (Column("Model"), Column("x", group="ours"), Column("y", group="ours"), Column("reason", left=True))
    rows = tuple((Cell(name), Cell("1", strong=True), Cell("2"), Cell("r")) for name in "ab")
    table = ElementTree.fromstring(Grid("Scores", columns, rows, frozenset({1}), notes=("Note.",)).html())
    assert table.find("caption").text == "Scores. Note."
    upper, lower = table.findall("thead/tr")
    assert [(cell.get("scope"), cell.get("colspan"), cell.get("rowspan"), cell.text) for cell in upper] == [
        ("col", None, "2", "Model"),
        ("colgroup", "2", None, "ours"),
        ("col", None, "2", "reason"),
    ]
    assert [cell.text for cell in lower] == ["x", "y"]
    assert len(table.findall("tbody")) == 2
    assert [cell.get("scope") for cell in table.iter("th")][-1] == "row"
    assert table.find("tbody/tr/td/strong").text == "1"


def test_names_of_any_kind_are_escaped_in_every_shape():
    table = Grid(NASTY, (Column(NASTY), Column(NASTY, NASTY, group=NASTY)), ((Cell(NASTY), Cell(NASTY)),), notes=(NASTY,), emphasis=NASTY)
    parsed = ElementTree.fromstring(table.html())
    assert '<e> "f"' in parsed.find("tbody/tr/th").text
    assert "\x1b" not in table.text() + table.markdown() + table.latex() + table.html() + table.csv()
    row = table.markdown().splitlines()[2]
    assert r"a\|b\_c\*d &amp; &lt;e&gt;" in row
    assert len(table.markdown().splitlines()[:3]) == 3
    body = table.latex().splitlines()
    assert all(line.startswith("%") for line in body[:2])
    assert r"a\textbar{}b\_c*d \& \textless{}e\textgreater{}" in body[-3]
    assert len(list(csv.reader(io.StringIO(table.csv())))) == 2


def test_a_row_of_the_wrong_length_and_a_table_without_columns_are_refused():
    with pytest.raises(InputError, match=r"row 0 of the table 't' has 1 cells for 2 columns"):
        Grid("t", (Column("a"), Column("b")), ((Cell("1"),),))
    with pytest.raises(InputError, match="no column to show"):
        Grid("t", (Column("a", shown=False),), ())
