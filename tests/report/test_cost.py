"""What runs cost, and how tables show it."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from equimodal.errors import InputError
from equimodal.report import Cost, group_rows

from .examples import MODALITIES, comparison, demo, priced, run

SCORES = {"multimodal": 0.9, "image": 0.8, "audio": 0.5}


def trained(label, seed=0, **cost):
    return priced(run(label, SCORES, label=label, epochs=4, seed=seed), **cost)


def rows_of_csv(table):
    return {row["model"]: row for row in csv.DictReader(io.StringIO(table.csv()))}


def shown_costs(table, label):
    return next(line for line in table.text().splitlines() if line.startswith(label)).split()[-2:]


def test_a_runs_cost_is_that_of_its_epochs_and_of_trainings_beside_it():
    assert trained("joint", seconds=2.5, steps=10).cost == Cost(10.0, 40)
    assert trained("gblend", seconds=2.5, steps=10, side_steps=23).cost == Cost(10.0, 132)


def test_a_cost_that_was_not_recorded_throughout_is_unknown():
    old = trained("joint", seconds=2.5, steps=None)
    assert old.cost == Cost(10.0, None)
    assert replace(old, epochs=[*old.epochs[:3], {**old.epochs[3], "seconds": None}]).cost == Cost(None, None)
    assert replace(old, epochs=[]).cost == Cost(None, None)
    # One epoch with steps among others without is no total either.
    assert replace(old, epochs=[*old.epochs[:3], {**old.epochs[3], "steps": 10}]).cost.steps is None


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), "3", True])
def test_a_cost_is_a_number(value):
    for seconds, steps in ((value, 1), (1.0, value)):
        with pytest.raises(InputError, match="give a number of at least 0") as caught:
            Cost(seconds, steps)
        assert "\n" not in str(caught.value)


def test_costs_stand_relative_to_the_mean_of_the_reference():
    runs = [
        *(trained("joint", seed, seconds=seconds) for seed, seconds in enumerate((1.0, 2.0, 3.0))),
        *(trained("slow", seed, seconds=seconds, side_steps=140) for seed, seconds in enumerate((6.0, 7.0, 8.0))),
    ]
    table = group_rows(runs, MODALITIES, relative_to="joint")
    assert [table.relative_cost(row) for row in table.rows] == [Cost(1.0, 1.0), Cost(3.5, 3.0)]
    assert shown_costs(table, "joint") == ["1.00", "1.00"]
    assert shown_costs(table, "slow") == ["3.50", "3.00"]


def test_work_before_the_runs_is_added_to_each_of_them():
    runs = [trained(label, seed, seconds=2.5, steps=10) for label in ("joint", "mslr-k") for seed in range(2)]
    table = group_rows(runs, MODALITIES, relative_to="joint", extra_costs={"mslr-k": Cost(15.0, 100)})
    assert table.rows[1].cost == Cost(25.0, 140.0)
    assert table.relative_cost(table.rows[1]) == Cost(2.5, 3.5)
    assert "for mslr-k, work before it" in table.note
    # What is not known cannot be added.
    table = group_rows(runs, MODALITIES, relative_to="joint", extra_costs={"mslr-k": Cost(15.0, None)})
    assert table.relative_cost(table.rows[1]) == Cost(2.5, None)
    assert shown_costs(table, "mslr-k") == ["2.50", "–"]


def test_the_note_says_what_costs_cover():
    table = group_rows([trained("joint", seconds=2.5, steps=1000)], MODALITIES, relative_to="joint")
    assert table.note == (
        "One run per row: differences may be chance. Cost covers all epochs of a run and trainings beside it; ×joint: as a multiple of "
        "joint's mean (10 s and 4,000 optimizer steps). Seconds compare only within one machine and one setting."
    )
    for text in (table.text(), table.markdown(), table.html(), table.latex()):
        assert "Seconds compare only within one machine and one setting." in re.sub(r"\s+", " ", text)


def test_without_a_reference_nothing_is_said_of_costs():
    plain, table = group_rows(demo(epochs=3), MODALITIES), group_rows([priced(one) for one in demo(epochs=3)], MODALITIES)
    for shape in ("text", "markdown", "html", "latex", "csv"):
        text = getattr(table, shape)()
        assert text == getattr(plain, shape)()
        assert not re.search("cost|seconds|steps|×", text, re.IGNORECASE)


def test_old_runs_have_a_dash():
    table = group_rows([trained("joint", steps=None), trained("vanilla", steps=None)], MODALITIES, relative_to="joint")
    assert shown_costs(table, "joint") == shown_costs(table, "vanilla") == ["1.00", "–"]
    assert rows_of_csv(table)["joint"]["steps"] == rows_of_csv(table)["joint"]["relative_steps"] == ""
    assert "optimizer steps" not in table.note


def test_names_have_one_line_where_they_fit():
    runs = [trained("joint", steps=140), trained("vanilla")]
    table = group_rows(runs, MODALITIES, relative_to="joint")
    assert table.text(80).splitlines()[3].split() == ["Model", "multimodal", "image", "audio", "−", "audio)", "×joint", "×joint"]
    assert table.text(90).splitlines()[2].endswith("audio  Δ (image − audio)  seconds ×joint  steps ×joint")
    assert shown_costs(table, "vanilla") == ["1.00", "0.50"]


def test_a_comparison_fits_eighty_columns_in_one_block():
    lines = group_rows(comparison(), MODALITIES, relative_to="joint").text().splitlines()
    assert max(map(len, lines)) <= 80
    # Names of two lines, where those of one would not fit.
    header = lines.index(next(line for line in lines if line.startswith("Model")))
    assert lines[header].split() == ["Model", "multimodal", "image", "audio", "−", "audio)", "×joint", "×joint"]
    assert lines[header - 1].split() == ["Δ", "(image", "seconds", "steps"]
    shown = [line.split("  ")[0] for line in lines[header + 1 :] if line and not line.startswith("─")]
    assert shown[:4] == ["image alone", "audio alone", "vanilla", "joint"]
    assert shown[12] == "MILES"
    assert sum(line.startswith("Model") for line in lines) == 1


@pytest.mark.parametrize("reference", ["joint", "x" * 60])
@pytest.mark.parametrize("width", [60, 80, 100])
@pytest.mark.parametrize("count", [2, 3, 8])
def test_both_cost_columns_stay_in_one_block(count, width, reference):
    names = [f"sensor_{number}" for number in range(count)]
    final = {"multimodal": 0.9, **dict.fromkeys(names, 0.5)}
    runs = [priced(run(label, final, label=label, seed=seed)) for label in (reference, "miles+ogm-ge") for seed in range(3)]
    lines = group_rows(runs, names, relative_to=reference).text(width).splitlines()
    assert max(map(len, lines)) <= width
    assert any("seconds" in line and "steps" in line for line in lines)


def test_csv_has_seconds_and_steps_and_their_multiples_in_full():
    runs = [*(trained("joint", seed, seconds=0.1 + seed / 7) for seed in range(3)), trained("gblend", seconds=1.7, side_steps=11)]
    table = group_rows(runs, MODALITIES, relative_to="joint")
    joint, gblend = rows_of_csv(table)["joint"], rows_of_csv(table)["gblend"]
    assert float(joint["seconds"]) == table.rows[0].cost.seconds == pytest.approx(4 * (0.1 + 1 / 7))
    assert float(gblend["steps"]) == 4 * 81
    assert float(gblend["relative_seconds"]) == table.rows[1].cost.seconds / table.rows[0].cost.seconds
    assert float(gblend["relative_steps"]) == 81 / 70
    assert {row["relative_to"] for row in (joint, gblend)} == {"joint"}


def test_markdown_and_html_have_the_columns():
    table = group_rows(comparison(seeds=1), MODALITIES, relative_to="joint")
    assert "| Δ (image − audio) | seconds ×joint | steps ×joint |" in table.markdown()
    root = ElementTree.fromstring(table.html())
    assert ["".join(cell.itertext()) for cell in root.findall("thead/tr/th")][-2:] == ["seconds×joint", "steps×joint"]
    assert all(len(row) == 7 for row in root.iter("tr"))
    hostile = "<b>\n& co"
    root = ElementTree.fromstring(group_rows([trained(hostile)], MODALITIES, relative_to=hostile).html())
    assert [cell.tag for cell in root.findall("thead/tr/th")[-1]] == ["br"]


def test_a_unimodal_model_can_be_the_reference():
    table = group_rows(comparison(seeds=1), MODALITIES, relative_to="image alone")
    assert table.relative_cost(table.rows[1]) == Cost(1.0, 1.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"relative_to": "jont"}, r"relative to 'jont', which has no finished run: did you mean 'joint'\?"),
        ({"relative_to": "waiting"}, "'waiting', which has no finished run: wait for its first result"),
        ({"relative_to": "joint", "extra_costs": {"mslr": Cost(1.0, 1)}}, "given for 'mslr', and no run has that label: known: joint"),
        ({"relative_to": "joint", "extra_costs": {"joint": 3.0}}, "the extra cost of 'joint' is 3.0: give a Cost"),
        ({"extra_costs": {"joint": Cost(1.0, 1)}}, "table without costs: name the row to compare with as relative_to"),
    ],
)
def test_bad_input_is_answered_in_one_line(options, message):
    waiting = run("waiting", SCORES, epochs=2, finished=False)
    with pytest.raises(InputError, match=message) as caught:
        group_rows([trained("joint"), waiting], MODALITIES, **options)
    assert "\n" not in str(caught.value)
