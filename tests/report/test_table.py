"""Tables of scores: values, layout and escaping."""

from __future__ import annotations

import csv
import io
from xml.etree import ElementTree

import pytest

from equimodal.errors import InputError
from equimodal.report import RunRecord, group_rows

from .examples import MODALITIES, demo, result_record, run

# Table II of the paper, S-MNIST, with Table I's unimodal models above.
SMNIST = [
    ("image alone", {"multimodal": 0.99, "image": 0.99}),
    ("audio alone", {"multimodal": 0.889, "audio": 0.889}),
    ("vanilla", {"multimodal": 0.984, "image": 0.985, "audio": 0.539}),
    ("MILES", {"multimodal": 0.998, "image": 0.988, "audio": 0.849}),
]


def record(label, scores, seed=0, **changes):
    return RunRecord(label, label, result={**result_record(label, seed, 5, 3, scores), **changes})


def smnist(seeds=(0,)):
    shifts = {0: 0.0, 1: 0.001, 2: -0.001}
    return [
        record(label, {name: score + shifts[seed] for name, score in scores.items()}, seed) for seed in seeds for label, scores in SMNIST
    ]


def rows_of_csv(table):
    return list(csv.DictReader(io.StringIO(table.csv())))


def test_text_is_the_papers_table():
    assert group_rows(smnist(), ["image", "audio"]).text().splitlines() == [
        "Test accuracy (%)",
        "",
        "Model        multimodal  image  audio  Δ (image − audio)",
        "────────────────────────────────────────────────────────",
        "image alone           –   99.0      –                  –",
        "audio alone           –      –   88.9                  –",
        "────────────────────────────────────────────────────────",
        "vanilla            98.4   98.5   53.9              +44.6",
        "MILES             *99.8   98.8   84.9              +13.9",
        "",
        "* best multimodal score. One run per row: differences may be chance.",
    ]


def test_delta_is_signed_and_follows_the_given_order():
    table = group_rows([record("MILES", {"multimodal": 0.751, "audio": 0.599, "video": 0.608})], ["audio", "video"])
    assert table.rows[0].difference.mean == pytest.approx(-0.009)
    assert "−0.9" in table.text()
    swapped = group_rows([record("MILES", {"multimodal": 0.751, "audio": 0.599, "video": 0.608})], ["video", "audio"])
    assert "+0.9" in swapped.text()


def test_delta_of_three_modalities_is_first_minus_last():
    table = group_rows([record("a", {"multimodal": 0.9, "audio": 0.2, "text": 0.8, "image": 0.9})], ["text", "image", "audio"])
    assert table.difference_name == "Δ (text − audio)"
    assert table.rows[0].difference.mean == pytest.approx(0.6)


def test_no_sign_at_zero():
    text = group_rows([record("a", {"multimodal": 0.5, "image": 0.4996, "audio": 0.5})], MODALITIES).text()
    assert text.splitlines()[4].endswith(" 0.0")


def test_unimodal_rows_stand_first_and_have_one_score():
    table = group_rows(smnist()[::-1], ["image", "audio"])
    assert [row.label for row in table.rows] == ["audio alone", "image alone", "MILES", "vanilla"]
    assert [value is None for value in table.rows[0].modalities] == [True, False]
    assert table.rows[0].multimodal is table.rows[0].difference is None


def test_unimodal_models_under_one_label_stay_apart():
    runs = [record("unimodal", {"multimodal": 0.9, name: 0.9}) for name in MODALITIES]
    assert [row.label for row in group_rows(runs, MODALITIES).rows] == ["unimodal (image)", "unimodal (audio)"]


def test_several_seeds_make_one_row_with_a_paired_interval():
    table = group_rows(smnist(seeds=(0, 1, 2)), ["image", "audio"])
    assert [row.count for row in table.rows] == [3, 3, 3, 3]
    vanilla = table.rows[2]
    assert vanilla.multimodal.mean == pytest.approx(0.984)
    assert vanilla.multimodal.half_width == pytest.approx(4.3027 * 0.001 / 3**0.5, rel=1e-4)
    # Both heads move together, so their difference does not move.
    assert vanilla.difference.half_width == pytest.approx(0.0, abs=1e-12)
    assert "98.4 ± 0.2" in table.text()
    assert "Means over 3 runs per row" in table.text()


def test_unequal_numbers_of_runs_are_shown():
    table = group_rows([*smnist(seeds=(0, 1)), record("vanilla", SMNIST[2][1], seed=7)], ["image", "audio"])
    assert table.text().splitlines()[2].endswith("runs")
    assert "Means over 2 to 3 runs" in table.note


def test_all_that_show_the_best_score_are_marked_and_a_single_row_is_not():
    scores = {"multimodal": 0.9004, "image": 0.5, "audio": 0.5}
    tied = group_rows(
        [record("a", scores), record("b", {**scores, "multimodal": 0.8996}), record("c", {**scores, "multimodal": 0.89})], MODALITIES
    )
    assert tied.best() == {0, 1}
    assert group_rows([record("a", scores)], MODALITIES).best() == frozenset()


def test_a_missing_score_is_a_dash():
    table = group_rows([record("a", {"multimodal": 0.9, "image": 0.8, "audio": None})], MODALITIES)
    assert table.rows[0].difference is None
    assert table.text().splitlines()[4].split() == ["a", "90.0", "80.0", "–", "–"]


def test_unfinished_runs_are_left_out():
    assert [row.label for row in group_rows([run("joint", SMNIST[2][1], finished=False), *smnist()], ["image", "audio"]).rows][
        -1
    ] == "MILES"
    assert group_rows([run("joint", SMNIST[2][1], finished=False)], ["image", "audio"]).rows == ()


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("count", [2, 5, 8])
def test_text_fits_eighty_columns(count, seeds):
    names = [f"a modality with a long name {number}" if number == 3 else f"sensor_{number}" for number in range(count)]
    runs = [
        run(label, {"multimodal": 0.9, **dict.fromkeys(names, 0.5)}, seed=seed, label=label)
        for seed in range(seeds)
        for label in ("joint", "x" * 60)
    ]
    lines = group_rows(runs, names).text().splitlines()
    assert max(map(len, lines)) <= 80
    shown = " ".join(lines)
    assert all(name[:20] in shown for name in names)


def test_wide_letters_keep_the_columns_straight():
    lines = group_rows([record("音声", SMNIST[2][1]), record("ab", SMNIST[3][1])], ["image", "audio"]).text().splitlines()
    assert lines[4].index("98.4") + 2 == lines[5].index("99.8")


def test_control_characters_do_not_break_lines():
    assert len(group_rows([record("a\n\x1b[31mb", SMNIST[2][1])], ["image", "audio"]).text().splitlines()) == 7


def test_markdown():
    text = group_rows(smnist(), ["image", "audio"]).markdown()
    assert "| Model | multimodal | image | audio | Δ (image − audio) |\n| --- | ---: | ---: | ---: | ---: |" in text
    assert "| MILES | **99.8** | 98.8 | 84.9 | +13.9 |" in text
    assert r"| a\|b &lt;b&gt; \*c\* |" in group_rows([record("a|b <b> *c*", SMNIST[2][1])], ["image", "audio"]).markdown()


def test_csv_is_for_programs():
    rows = rows_of_csv(group_rows(smnist(seeds=(0, 1, 2)), ["image", "audio"]))
    assert [row["model"] for row in rows] == ["image alone", "audio alone", "vanilla", "MILES"]
    assert (rows[0]["kind"], rows[0]["runs"]) == ("unimodal", "3")
    assert rows[0]["multimodal"] == rows[0]["audio"] == ""
    assert float(rows[3]["difference"]) == pytest.approx(13.9)
    assert float(rows[3]["multimodal_half_interval"]) == pytest.approx(0.2484, abs=1e-4)
    assert rows_of_csv(group_rows([record('a,"b"', SMNIST[2][1])], ["image", "audio"]))[0]["model"] == 'a,"b"'


def test_html_is_escaped_and_marks_headers():
    table = group_rows([record("<b>x</b> & y", SMNIST[2][1]), *smnist()], ["image", "audio"])
    root = ElementTree.fromstring(table.html())
    assert [cell.text for cell in root.findall("thead/tr/th")] == ["Model", "multimodal", "image", "audio", "Δ"]
    assert "Δ is image − audio" in root.find("caption").text
    assert len(root.findall("tbody")) == 2
    labels = [cell.text for cell in root.findall("tbody/tr/th[@scope='row']")]
    assert labels == ["image alone", "audio alone", "<b>x</b> & y", "vanilla", "MILES"]
    assert [cell.text for cell in root.iter("strong")] == ["99.8"]


def test_other_splits():
    table = group_rows(demo(), MODALITIES, split="val")
    assert table.title == "Validation accuracy (%)"
    assert table.rows[2].multimodal.mean == pytest.approx(demo()[2].result["scores"]["val"]["multimodal"])


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ([record("a", SMNIST[2][1]), record("b", SMNIST[2][1], dataset="other")], "different data sets"),
        ([record("a", SMNIST[2][1]), record("b", SMNIST[2][1], metric="macro_f1")], "different metrics"),
        ([record("a", SMNIST[2][1]), record("a", SMNIST[2][1])], "two runs of 'a' have the same seed"),
        ([record("a", {"multimodal": 0.5, "image": 0.4, "smell": 0.3})], "unknown modality 'smell'"),
    ],
)
def test_runs_that_do_not_belong_together_are_refused(runs, message):
    with pytest.raises(InputError, match=message):
        group_rows(runs, ["image", "audio"])


@pytest.mark.parametrize("modalities", ["image", ["image"], ["image", "image"], [f"m{number}" for number in range(9)]])
def test_modalities_are_checked(modalities):
    with pytest.raises(InputError):
        group_rows([], modalities)
