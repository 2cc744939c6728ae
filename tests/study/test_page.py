"""The page of a study: whole, honest about what is missing, and complete in itself."""

from __future__ import annotations

import html
import json
import re
from dataclasses import replace

import pytest

from equimodal.errors import InputError
from equimodal.study.figures import make_figures
from equimodal.study.page import render_study, write_study_page
from equimodal.study.tables import make_table
from report.test_page import Page

from .examples import changed, empty_study, example_study, half_study, series_named

pytest.importorskip("matplotlib", reason="the page needs matplotlib")
pytest.importorskip("jinja2", reason="the page needs Jinja")
pytest.importorskip("scipy", reason="paired tests need SciPy")

FEW = {"methods": ("vanilla", "joint", "miles"), "fusions": ("concat",)}
SPACE = "optimizer.lr searched over 0.001 to 0.01 (0.0001 to 0.01 by default)"


@pytest.fixture(scope="module")
def page():
    with pytest.MonkeyPatch.context() as patch:
        # Of the trials one figure is enough.
        patch.setattr("equimodal.study.page.make_figures", lambda record: [one for one in make_figures(record) if is_wanted(one)])
        return render_study(example_study(**FEW, overridden=(SPACE,)))


def is_wanted(one):
    return one.name != "trials" or one.stem.endswith(("concat-miles", "concat-joint"))


@pytest.fixture
def undrawn(monkeypatch):
    """Leave the figures out, which take longer than all else."""
    monkeypatch.setattr("equimodal.study.page.make_figures", lambda _: [])


def test_it_says_what_was_run_and_how_it_was_selected(page):
    text = Page(page).text
    assert "3 methods on avdigits with 1 fusion, each searched with 6 random configurations." in text
    assert "trained anew with 3 fresh seeds" in text
    assert "best multimodal validation score; the test split is read once, by the selected run" in text
    assert "Not finished" not in text
    assert "ORACLE" not in text


def test_overridden_spaces_stand_at_the_top_and_below_every_table_of_the_paper(page):
    assert f"<li>{SPACE}</li>" in page
    notes = re.findall(r'<p class="notes">(.*?)</p>', page, flags=re.DOTALL)
    assert sum(f"other than by default: {SPACE}" in html.unescape(note) for note in notes) >= 5


def test_every_table_stands_in_it_with_its_figures_and_notes(page):
    record = example_study(**FEW, overridden=(SPACE,))
    text = Page(page).text
    for name in ("table1", "table2", "table4", "table5", "table6", "budget", "trials", "paired", "costs"):
        for grid in make_table(record, name):
            assert f"{grid.title}." in text
            for note in grid.notes:
                assert note in text
            for row in grid.rows:
                shown = [cell.text for cell, column in zip(row, grid.columns, strict=True) if column.shown]
                assert re.sub(r"\s+", " ", " ".join(shown)) in text


def test_the_verdict_stands_before_the_tables(page):
    text = Page(page).text
    first, last = text.index("What the scheduler brings (miles − joint)"), text.index("Table I:")
    assert first < last
    assert "The paper's claims" in text


def test_contents_lead_to_every_section(page):
    parsed = Page(page)
    identifiers = [value for _, name, value in parsed.attributes if name == "id"]
    assert len(set(identifiers)) == len(identifiers)
    targets = re.findall(r'<a href="#([^"]+)">', page)
    assert targets == re.findall(r'<h2 id="([^"]+)">', page)
    assert {"protocol", "verdict", "methods", "budget", "trials", "failures", "machines", "again"} <= set(targets)


def test_it_is_well_formed_and_loads_nothing_from_elsewhere(page):
    parsed = Page(page)
    assert parsed.open == []
    assert not {"script", "link", "img", "iframe", "object", "embed", "image"} & set(parsed.tags)
    for _, name, value in parsed.attributes:
        if name in ("src", "href", "xlink:href"):
            assert value.startswith("#")
        if name != "xmlns":
            assert "://" not in (value or "")
    assert re.findall(r"url\((?!#)", page) == []


def test_figures_come_in_two_shapes_with_captions_and_many_are_folded(page):
    titles = re.findall(r"<figcaption><b>(.+?)</b>", page)
    assert "Figure 1: learning curves of Vanilla on avdigits, concat." in titles
    assert "Figure 2: learning dynamics of MILES on avdigits, concat, with given hyper-parameters." in titles
    # A single panel is for wide and narrow pages alike.
    assert page.count('<div class="narrow"><svg ') == page.count('<div class="wide" ') == page.count("<figure>") - 2
    assert "<summary><b>Trials of MILES on avdigits, concat</b></summary>" in page


def test_the_same_record_gives_the_same_bytes(monkeypatch):
    monkeypatch.setattr("equimodal.study.page.make_figures", lambda record: make_figures(record, ["differences"]))
    given = {"methods": ("joint", "miles"), "fusions": ("sum",), "trials": 3}
    first = render_study(example_study(**given))
    assert first == render_study(example_study(**given))
    assert first.count("<figure>") == 1


def test_oracle_selection_is_loud(undrawn):
    text = Page(render_study(example_study(**FEW, rule="oracle"))).text
    assert text.index("ORACLE SELECTION Configurations were chosen by their scores on the test split.") < text.index(
        "3 methods on avdigits"
    )
    assert "oracle: best TEST score (oracle selection)" in text
    assert "best multimodal TEST score" in text
    for name in ("Table I:", "Table II:", "Table IV:", "Costs:"):
        assert re.search(rf"{name}[^.]* ORACLE SELECTION", text)


def test_an_unfinished_study_says_how_far_it_has_come_and_what_failed(undrawn):
    record = half_study()
    text = Page(render_study(record)).text
    states = [trial.state for trial in record.trials]
    assert f"Not finished: {states.count('complete')} of {len(states)} runs are complete, {states.count('failed')} failed" in text
    assert "G-Blend on avdigits, concat, search: 3 of 6 runs have ended" in text
    assert "MILES on avdigits, sum, τ varied: 0 of 5 runs have ended" in text
    assert "MSLR-K on avdigits, sum, search cannot begin: waits for avdigits/alone/audio" in text
    assert "training diverged at epoch 2: the loss is nan" in text


def test_an_empty_study_has_a_page_that_says_so():
    text = Page(render_study(empty_study(**FEW))).text
    assert "Not finished: 0 of" in text
    assert "Not drawn, for want of results:" in text
    assert "Neither Vanilla nor Joint has a selected run yet." in text
    assert "No run has ended yet." in text


def test_machines_are_counted_where_they_differ(undrawn):
    record = example_study(**FEW)
    search = series_named(record, "avdigits/concat/miles")
    moved = replace(search.trials[0], where="two <b>", attempts=3, environment={"torch": "2.14.0"})
    text = Page(render_study(changed(record, search.name, trials=(moved, *search.trials[1:])))).text
    total = len(record.trials)
    assert f"one ({total - 1} runs), two <b> (1 run)" in text
    assert f"2.13.0 ({total - 1} runs), 2.14.0 (1 run)" in text
    assert f"1 of {total} runs were begun more than once" in text


def test_names_and_reasons_are_escaped(undrawn):
    hostile = "<script>alert(1)</script>"
    record = example_study(methods=("joint", "miles"), fusions=("concat",))
    search = series_named(record, "avdigits/concat/miles")
    failed = replace(search.trials[0], state="failed", run=None, reason=hostile)
    record = changed(record, search.name, label=hostile, trials=(failed, *search.trials[1:]), blocked=hostile)
    record = replace(record, name=hostile, overridden=(hostile,), declaration={"name": hostile})
    parsed = Page(render_study(record))
    assert "script" not in parsed.tags
    assert f"Study {hostile}" in parsed.text
    assert parsed.open == []


def test_it_says_how_to_make_it_again(undrawn):
    record = replace(example_study(**FEW), name="mine", declaration={"name": "mine", "trials": 6})
    text = render_study(record)
    assert "equimodal study run mine.yaml\nequimodal study table mine.yaml" in text
    shown = re.search(r'aria-label="The study file">(.*?)</pre>', text, flags=re.DOTALL)[1]
    assert json.loads(html.unescape(shown)) == {"name": "mine", "trials": 6}
    ready = render_study(replace(record, name="avdigits"))
    assert "The file of this study comes with the package as avdigits" in ready
    assert "equimodal study run avdigits\n" in ready


def test_it_is_written_whole_or_not_at_all(undrawn, tmp_path):
    record = empty_study(methods=("joint", "miles"), fusions=("concat",))
    path = write_study_page(tmp_path / "report.html", record)
    assert path.read_text(encoding="utf-8") == render_study(record)
    with pytest.raises(InputError, match="cannot write"):
        write_study_page(tmp_path / "absent" / "report.html", record)
