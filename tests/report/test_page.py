"""The self-contained page."""

from __future__ import annotations

import os
import re
from html.parser import HTMLParser

import pytest

from equimodal.errors import InputError
from equimodal.report import RunRecord, render_report, write_report
from equimodal.report.prose import summary
from equimodal.report.table import group_rows

from .examples import MODALITIES, demo, run, three_modalities

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
