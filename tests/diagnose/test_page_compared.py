"""The page of two models that were diagnosed in one go: every difference with its paired interval."""

from __future__ import annotations

import dataclasses
import html
import json
import re

import pytest

from diagnose.browser import BROWSER, Browser
from diagnose.examples import example_diagnosis
from diagnose.twins import data_of, made
from equimodal import diagnose
from equimodal.diagnose import compare
from equimodal.diagnose.page import render_page, write_page
from equimodal.diagnose.page.comparing import compared
from equimodal.diagnose.quantities import Interval

pytest.importorskip("jinja2", reason="the page needs Jinja")


@pytest.fixture(scope="module")
def pair():
    data = data_of(200)
    return tuple(
        diagnose(model, data, split="val", title=title, robustness=True, resamples=200)
        for model, title in ((made(), "plain"), (made(noise=0.02), "<shaken>"))
    )


@pytest.fixture(scope="module")
def page(pair):
    return render_page(pair[0], compare=pair[1])


def marks(text):
    return [html.unescape(said) for said in re.findall(r'data-mark aria-label="([^"]*)"', text)]


def written(interval, *, signed=False):
    value, low, high = (f"{round(100 * number, 1) + 0.0:.1f}".replace("-", "−") for number in interval)
    plus = "+" if signed and round(100 * interval.value, 1) > 0 else ""
    return f"{plus}{value} [{low}, {high}]"


def test_a_row_tells_both_values_and_the_paired_difference(pair, page):
    found = compare(*pair)
    for quantity, part, label in (
        ("heads", "audio", "audio"),
        ("missing", "image/0.5", "image, 50% lack it"),
        ("ablations", "mean/audio", "audio"),
    ):
        one, other = found.values[quantity][part]
        apart = found.differences[quantity][part]
        assert f"{label}; A {written(one)}; B {written(other)}; B minus A {written(apart, signed=True)}" in marks(page)


def test_differences_that_exclude_zero_are_in_bold(pair, page):
    found = compare(*pair)
    bold = {html.unescape(said).replace("\N{FIGURE SPACE}", "") for said in re.findall(r"<span class=strong>(B − A [^<]*)<", page)}
    apart = [one for own in (found.differences[name] for name in ("heads", "ablations", "shapley")) for one in own.values()]
    clear = [one for one in apart if one.low > 0 or one.high < 0]
    assert clear
    assert {f"B − A {written(one, signed=True)}" for one in clear} <= bold
    assert not {f"B − A {written(one, signed=True)}" for one in apart if one.low <= 0 <= one.high} & bold


def test_what_differs_is_said_before_the_figures(pair, page):
    text = html.unescape(page)
    for sentence in compare(*pair).sentences:
        assert sentence in text
    assert "&lt;shaken&gt;" in page
    assert '<a href="#differences">What differs</a>' in page
    assert page.index('id="differences"') < page.index('id="scores"')
    assert "scored on the same 200 samples" in text


def test_numbers_stand_in_tables_as_well(pair, page):
    apart = compare(*pair).differences["probes"]["image"]
    assert f"<td>{written(apart, signed=True)}</td>" in page
    assert '<th scope="col">B − A</th>' in page


def test_the_largest_share_is_drawn(pair, page):
    apart = compare(*pair).differences["largest share"]["mean"]
    assert any(mark.startswith("Mean; A ") and mark.endswith(f"B minus A {written(apart, signed=True)}") for mark in marks(page))


def test_the_differences_are_in_the_page_and_beside_it(pair, tmp_path):
    text = write_page(pair[0], tmp_path / "diagnosis.html", compare=pair[1]).read_text(encoding="utf-8")
    names = ["comparison.csv", "comparison.json", "diagnosis-compared.csv", "diagnosis-compared.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [*names, "diagnosis.csv", "diagnosis.html", "diagnosis.json"]
    embedded = re.search(r'<script type="application/json" id="comparison-json">(.*?)</script>', text, re.DOTALL)[1]
    assert json.loads(embedded) == json.loads((tmp_path / "comparison.json").read_text(encoding="utf-8")) == compare(*pair).as_dict()
    assert 'Every number of the differences is in <a href="comparison.json">' in text
    write_page(pair[0], tmp_path / "mine.html", compare=pair[1])
    assert (tmp_path / "mine-comparison.csv").read_text() == (tmp_path / "comparison.csv").read_text()


def test_without_draws_the_page_says_why_nothing_is_paired():
    first = dataclasses.replace(example_diagnosis(), title="first")
    text = html.unescape(render_page(first, compare=first))
    assert "There is no paired difference: the diagnosis of first was read from a file, which keeps no bootstrap draws" in text
    assert "What differs" not in text
    assert "comparison-json" not in text


@pytest.mark.parametrize(
    ("mean_of", "splits", "said"),
    [
        (("train", "train"), ("test", "test"), "Training minus test accuracy (%)"),
        (("given", "given"), ("test", "test"), "Training minus validation accuracy (%)"),
        (("train", "given"), ("test", "test"), "Training minus other accuracy (%)"),
        (("train", "given"), ("val", "val"), "Training minus validation accuracy (%)"),
    ],
)
def test_the_generalisation_gap_says_to_what(mean_of, splits, said):
    gaps = {"audio": Interval(0.1)}
    both = [
        dataclasses.replace(example_diagnosis(), generalisation=gaps, mean_of=mean, split=split)
        for mean, split in zip(mean_of, splits, strict=True)
    ]
    section = next(one for one in compared(*both) if one.name == "curves")
    assert said in section.figures[-1].plot


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium here")
@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_opens_and_tells_differences_to_the_pointer(pair, tmp_path, width):
    path = write_page(pair[0], tmp_path / "diagnosis.html", compare=pair[1])
    with Browser(tmp_path / "profile") as browser:
        browser.open(path, width=width)
        assert browser.messages() == []
        assert browser.requests() == [path.as_uri()]
        assert browser.run("document.documentElement.scrollWidth") <= width
        browser.point_at("document.querySelectorAll('#scores ~ figure .row')[1]")
        apart = compare(*pair).differences["heads"]["audio"]
        tip = browser.run("(one => one.hidden ? null : one.innerText)(document.getElementById('tip'))")
        assert f"B minus A {written(apart, signed=True)}" in tip.splitlines()
