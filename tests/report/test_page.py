"""The self-contained page."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from equimodal.errors import InputError
from equimodal.report import Cost, RunRecord, render_report, write_report
from equimodal.report.intervals import percent
from equimodal.report.prose import summary
from equimodal.report.table import group_rows

from .examples import BASELINES, MODALITIES, comparison, demo, run, three_modalities

pytest.importorskip("matplotlib", reason="the page needs matplotlib")
pytest.importorskip("jinja2", reason="the page needs Jinja")


class Page(HTMLParser):
    """Collects what a page contains."""

    VOID = ("meta", "br", "hr", "img", "link", "input")

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.words, self.open = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.words))


@pytest.fixture(scope="module")
def page():
    return render_report(demo(), MODALITIES)


def test_it_says_what_was_run_and_what_came_out(page):
    text = Page(page).text
    assert "Three multimodal models (vanilla, joint and MILES) and two unimodal models (image and audio) were trained on digits-av" in text
    assert "for 20 epochs, with seed 0" in text
    for one in demo():
        for name, score in one.final_scores().items():
            if name != "multimodal" or not one.is_unimodal:
                assert f"{100 * score:.1f}" in text
        assert f"best epoch {one.best_epoch}" in text
    assert "Each row is one run" in text
    assert "δ lies above τ = 0.2" in text


def test_figures_come_in_order_and_in_two_shapes(page):
    titles = re.findall(r"<figcaption><b>(.+?)</b>", page)
    assert titles == [
        "Figure 1. Learning curves of vanilla.",
        "Figure 2. Learning dynamics of MILES.",
        "Figure 3. Learning dynamics of vanilla.",
        "Figure 4. Learning dynamics of joint.",
    ]
    assert page.count("<svg ") == 2 * len(titles)


def test_it_is_well_formed_and_no_identifier_stands_twice(page):
    parsed = Page(page)
    assert parsed.open == []
    identifiers = [value for _, name, value in parsed.attributes if name == "id"]
    assert len(set(identifiers)) == len(identifiers)
    for _, name, value in parsed.attributes:
        if name in ("href", "aria-labelledby"):
            assert {word.removeprefix("#") for word in value.split()} <= set(identifiers)


def test_nothing_is_loaded_from_elsewhere(page):
    parsed = Page(page)
    assert not {"script", "link", "img", "iframe", "object", "embed", "image", "audio", "video"} & set(parsed.tags)
    for _, name, value in parsed.attributes:
        if name in ("src", "href", "xlink:href", "srcset", "data", "action", "poster"):
            assert value.startswith("#")
        if name != "xmlns":
            assert "://" not in (value or "")
    assert "@import" not in page
    assert re.findall(r"url\((?!#)", page) == []


def test_the_same_runs_give_the_same_bytes():
    first, second = (render_report(three_modalities()[1:], ["text", "image", "audio"]) for _ in range(2))
    assert first == second


def test_labels_and_configurations_are_escaped():
    hostile = "<b>bold</b><script>alert(1)</script>"
    named = {"multimodal": 0.9, hostile: 0.8, "audio": 0.5}
    one = run("miles", named, label=hostile, tau=0.2, epochs=3)
    one = RunRecord(one.label, hostile, {**one.config, hostile: hostile}, one.epochs, {**one.result, "dataset": hostile, "metric": hostile})
    parsed = Page(render_report([one], [hostile, "audio"], title=hostile))
    assert not {"b>bold", "script"} & set(parsed.tags)
    assert hostile in parsed.text
    assert parsed.open == []


def test_several_seeds_are_averaged_and_drawn_once():
    runs = [one for seed in range(3) for one in demo(epochs=4, seed=seed)[1:3]]
    text = render_report(runs, MODALITIES)
    assert text.count("<figure>") == 2
    assert text.count('<section class="run"') == 6
    assert "Means over 3 runs per row" in text
    assert "with seeds 0, 1 and 2" in text
    assert "Each row is one run" not in text


def test_three_modalities_without_unimodal_models():
    text = Page(render_report(three_modalities()[1:], ["text", "image", "audio"])).text
    assert "Δ is text − audio" in text
    assert "Trained alone" not in text


def test_a_run_that_is_not_finished_is_said_to_be_so():
    runs = [run("joint", {"multimodal": 0.9, "image": 0.8, "audio": 0.5}, finished=False, epochs=3)]
    text = Page(render_report(runs, MODALITIES)).text
    assert "Not finished, and therefore not in the table: joint (three epochs so far)." in text
    assert "no final scores yet" in text
    assert "Scores are" not in text


def test_unimodal_runs_alone():
    text = render_report(demo(epochs=2)[:2], MODALITIES)
    assert "<figure>" not in text
    assert "Trained alone, image reaches" in Page(text).text


def test_the_summary_claims_no_winner_on_a_tie_or_alone():
    scores = {"multimodal": 0.9, "image": 0.8, "audio": 0.5}
    runs = [run(label, scores, label=label, epochs=2) for label in ("a", "b")]
    text = summary(runs, group_rows(runs, MODALITIES))
    assert re.search(r"The highest multimodal score is [\d.]+\s%, with a and b\.", text)
    text = summary(runs[:1], group_rows(runs[:1], MODALITIES))
    assert re.search(r"The multimodal prediction of a scores [\d.]+\s%\.", text)
    assert "highest" not in text


@pytest.fixture(scope="module")
def long_page():
    """Eleven methods and two unimodal models, three seeds each; one more run of MILES is not finished."""
    runs = comparison(seeds=3)
    runs.append(replace(runs[-1], result=None, config={**runs[-1].config, "seed": 3}, epochs=runs[-1].epochs[:2]))
    return render_report(runs, MODALITIES, relative_to="joint", extra_costs={"mslr-k": Cost(10.0, 560)})


def test_many_methods_have_few_figures_in_the_open(long_page):
    titles = re.findall(r"<figcaption><b>(.+?)</b>", long_page)
    assert titles == [
        "Figure 1. Learning curves of vanilla.",
        "Figure 2. Learning dynamics of MILES.",
        "Figure 3. Learning dynamics of vanilla.",
        "Figure 4. Learning dynamics of joint.",
    ]
    folded = re.findall(r"<summary><b>(.+?)</b></summary>\n<figure>", long_page)
    assert folded == [
        f"Figure {number}. Learning dynamics of {name}"
        for number, name in enumerate(("ogm", "ogm-ge", "mslr-k", "mslr-s", "mslr-d", "mses", "gblend", "miles+ogm-ge"), start=5)
    ]
    assert set(re.findall(r"How \S+ \(seed (\d)\)", long_page)) == {"0"}


def test_many_runs_are_gathered_by_label(long_page):
    assert Page(long_page).open == []
    assert '<section class="run"' not in long_page
    groups = re.findall(r'<details class="folded">\n<summary><b id="runs-\d+">(.+?)</b> <span>(.+?)</span>', long_page)
    assert [label for label, _ in groups] == ["image alone", "audio alone", *BASELINES, "MILES"]
    assert [count for _, count in groups] == [*["3 runs"] * 12, "4 runs"]
    # One configuration each, and what is different in the others.
    assert long_page.count("<pre>") == len(groups)
    assert len(re.findall(r"the runs differ in\nseed \(0, 1, 2(?:, 3)?\)\.", long_page)) == len(groups)


def test_the_tables_of_runs_have_every_score(long_page):
    text = Page(long_page).text
    for one in comparison(seeds=3):
        for scores in one.result["scores"].values():
            for score in scores.values():
                assert f" {100 * score:.1f} " in text
    last = [re.sub("<.+?>", " ", row).split() for row in re.findall("<tr>(.+)</tr>", long_page)][-1]
    assert last[0] == "3"
    assert " ".join(last).endswith(" ".join("–" * 9))
    assert "2 so far" in " ".join(last)


def test_the_summary_of_many_methods_stays_short(long_page):
    text = re.sub(r"\s+", " ", re.search(r'<p class="summary">(.+?)</p>', long_page, re.DOTALL)[1])
    assert len(text) < 1000
    rows = [row for row in group_rows(comparison(seeds=3), MODALITIES).rows if row.multimodal is not None]
    scores = sorted(rows, key=lambda row: row.multimodal.mean)
    low, high = (f"{percent(row.multimodal)} % ({row.label})" for row in (scores[0], scores[-2]))
    assert f", with {scores[-1].label}; the others lie between {low} and {high}." in text
    scores = sorted(rows, key=lambda row: row.difference.mean)
    low, high = (f"{percent(row.difference, signed=True)} points ({row.label})" for row in (scores[0], scores[-1]))
    assert f"the image head minus that of the audio head, lies between {low} and {high}." in text


def test_the_table_has_costs_where_a_reference_is_named(long_page):
    table = re.search('<table class="scores">.+?</table>', long_page, re.DOTALL)[0]
    assert table.count("×joint</th>") == 2
    assert re.search(r'<th scope="row">mslr-k</th>.+<td>3.00</td><td>3.00</td></tr>', table)
    assert "Seconds compare only within one machine" in table
    runs = demo(epochs=2)
    assert "×" not in render_report(runs, MODALITIES)
    with pytest.raises(InputError, match="relative to 'jont'"):
        render_report(runs, MODALITIES, relative_to="jont")


def test_facts_and_settings_in_which_runs_differ_are_shown():
    runs = [run("joint", {"multimodal": 0.9, "image": 0.8, "audio": 0.5}, epochs=2 + seed // 5, seed=seed) for seed in range(9)]
    runs = [replace(one, config={**one.config, "optimizer": {"name": "adam", "lr": 0.001 * (1 + one.seed % 2)}}) for one in runs]
    text = Page(render_report(runs, MODALITIES)).text
    assert "the runs differ in optimizer.lr (0.001, 0.002, 0.001, 0.002, 0.001, 0.002, 0.001, 0.002, 0.001); epochs (2, 2," in text
    heads = "multimodal image audio"
    assert re.search(rf"seed epochs best epoch training time training accuracy .+ test accuracy \(%\) {heads} {heads} {heads} 0 2 ", text)


def test_writing_is_all_or_nothing(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    runs = demo(epochs=2)[:2]
    page = render_report(runs, MODALITIES)
    path.write_text("old")
    assert write_report(path, runs, MODALITIES) == path
    assert path.read_text(encoding="utf-8") == page
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="No space left on device") as caught:
        write_report(path, demo(epochs=3)[:2], MODALITIES)
    assert "\n" not in str(caught.value)
    assert path.read_text(encoding="utf-8") == page
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


@pytest.mark.parametrize("place", ["missing/report.html", "."])
def test_a_path_that_cannot_be_written(tmp_path, place):
    with pytest.raises(InputError, match="cannot write"):
        write_report(tmp_path / place, demo(epochs=2)[:2], MODALITIES)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("runs", "modalities", "message"),
    [
        ([], MODALITIES, "no runs to report"),
        (demo(epochs=1), ["image", "sound"], "unknown modality 'audio'"),
        ([RunRecord("joint", "joint")], MODALITIES, "recorded no epoch yet"),
    ],
)
def test_bad_input_is_answered_in_one_line(runs, modalities, message):
    with pytest.raises(InputError, match=message) as caught:
        render_report(runs, modalities)
    assert "\n" not in str(caught.value)
