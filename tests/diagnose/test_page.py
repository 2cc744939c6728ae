"""The page of a diagnosis: what stands in it, what it says of missing numbers, and the files beside it."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import re

import pytest
import torch

from equimodal.diagnose.page import Sound, render_page, write_page
from equimodal.diagnose.quantities import Finding, Interval
from equimodal.diagnose.record import Diagnosis

from .examples import around, bare_diagnosis, example_diagnosis
from .pages import Page

pytest.importorskip("jinja2", reason="the page needs Jinja")


@pytest.fixture(scope="module")
def page():
    return Page(render_page(example_diagnosis()))


def marks_of(page, start):
    return [mark for mark in page.marks if mark.startswith(start)]


def test_the_verdict_comes_first_with_evidence_and_advice():
    evidence = {"loss": 0.5, "loss, low": 0.47, "loss, high": 0.53, "since": "epoch 3"}
    finding = Finding(
        "dominated",
        "audio",
        "It leans on audio.",
        evidence,
        "Slow it down.",
    )
    text = render_page(dataclasses.replace(example_diagnosis(), findings=(finding,)))
    headings = Page(text).headings
    assert [name for _, name in headings[:3]] == ["JointFusion on digits", "Verdict", "Dominated · audio"]
    assert "It leans on audio." in text
    assert "Slow it down." in text
    assert "0.5 [0.47, 0.53]" in text
    assert "epoch 3" in text
    assert "loss, low" not in text.partition("<script")[0]


def test_every_quantity_has_its_section(page):
    titles = [name for tag, name in page.headings if tag == "h2"]
    assert titles == [
        "Verdict",
        "Heads and probes",
        "What is lost without each modality",
        "How the score is shared out",
        "What the samples need",
        "Learning curves",
        "Agreement between heads",
        "Where the modalities disagree most",
        "Robustness",
        "Encoders",
        "Calibration",
        "Numbers",
    ]
    assert len(set(page.ids)) == len(page.ids)
    targets = [address[1:] for address in page.addresses if address.startswith("#")]
    assert set(targets) <= set(page.ids)


def test_marks_tell_values_with_their_intervals(page):
    assert "audio; head 76.0 [73.0, 79.0]; probe 80.0 [77.0, 83.0]" in page.marks
    losses = [mark for mark in page.marks if "score without it" in mark and mark.startswith("image")]
    assert len(losses) == 3  # one for each way to leave it out
    assert losses[1] == "image; +9.0 [6.0, 12.0]; score without it 69.0 [66.0, 72.0]"
    assert "audio × image; −4.0 [−7.0, −1.0]" in page.marks
    assert "multimodal & audio; 0.38 [0.35, 0.41]" in page.marks
    assert "audio; 11.5 [10.9, 12.1] of 64" in page.marks
    assert "audio; 2.00 [1.70, 2.30]; ×10⁻²" in page.marks
    assert "audio; 4.00 [3.00, 5.00]; ×10⁻⁴" in page.marks
    assert "audio; 3.10" in page.marks  # an update has no interval
    assert "audio; +10.0 [7.0, 13.0]" in page.marks  # the generalisation gap
    assert "both needed; 9.0 [6.0, 12.0] %; neither suffices by itself: synergy" in page.marks
    assert marks_of(page, "share of samples that lack the modality 0.5; audio 53.0 [50.0, 56.0]; image 73.0 [70.0, 76.0]")
    assert len(marks_of(page, "epoch ")) == 3 * 12
    assert len(marks_of(page, "Sure by ")) == 3 * 12  # empty bins have no mark


def test_each_plot_is_one_stop_of_the_keyboard():
    text = render_page(example_diagnosis(3))
    plots = text.partition("<script")[0].split("data-plot>")[1:]
    assert len(plots) > 15
    for plot in plots:
        stops = re.findall(r'tabindex="(-?\d)" data-mark', plot)
        assert stops.count("0") == 1
        assert stops[0] == "0"


def test_what_is_asked_for_stands_before_what_it_rests_on():
    text = render_page(example_diagnosis())
    places = [text.index(mark) for mark in ('id="verdict"', 'class="finding"', 'class="tiles"', "<nav ", 'id="scores"', 'id="numbers"')]
    assert places == sorted(places)


def test_sampled_shapley_values_say_what_the_drawing_leaves():
    page = Page(text := render_page(example_diagnosis(7)))
    assert "32 orders were drawn: behind ± is the standard error that this leaves, and intervals hold it too." in text
    assert "audio; +44.3 [31.2, 57.4] ±6.5; the drawing of orders leaves ±6.5" in page.marks
    assert "±" not in render_page(example_diagnosis(6)).partition("<footer")[0]


def test_numbers_are_not_torn_from_their_units():
    finding = Finding("dominated", "audio", "The score of 95.0 % falls.", {}, "Begin with τ = 0.2.")
    text = render_page(dataclasses.replace(example_diagnosis(), findings=(finding,)))
    assert "95.0\N{NO-BREAK SPACE}% falls" in text
    assert "τ\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}0.2" in text


def test_large_losses_have_no_needless_digits():
    whole = example_diagnosis()
    heads = {name: Interval(-1234.567 * number, -1300.0 * number, -1200.0 * number) for number, name in enumerate(whole.heads, start=1)}
    text = render_page(dataclasses.replace(whole, metric="negative_error", chance=None, heads=heads, probes={}))
    assert "multimodal; joint model −1,235 [−1,300, −1,200]" in Page(text).marks


@pytest.mark.parametrize("modalities", [2, 3, 6, 7])
def test_any_number_of_modalities(modalities):
    page = Page(render_page(example_diagnosis(modalities)))
    for name in example_diagnosis(modalities).modalities:
        assert marks_of(page, f"{name}; ")


def test_what_is_missing_is_told_once_with_its_reason():
    text = render_page(bare_diagnosis())
    page = Page(text)
    titles = [name for tag, name in page.headings if tag == "h2"]
    assert titles == ["Verdict", "Heads and probes", "What is not there, and why", "Numbers"]
    assert "There is no verdict: there were too few samples." in text
    assert "Not there: probes. There were too few samples." in text
    assert "No intervals were made." in text
    assert page.marks == ["multimodal; joint model 78.0"]


def test_a_model_that_is_told_which_modalities_are_absent_has_that_ablation_alone():
    whole = example_diagnosis()
    told = dataclasses.replace(
        whole, ablated="subsets", ablations={"absent": whole.ablations["mean"]}, shapley={"absent": whole.shapley["mean"]}
    )
    text = render_page(told)
    assert "the model told that it is absent" in text
    assert "Modalities are left out" not in text


def test_undefined_numbers_are_dashes():
    whole = example_diagnosis()
    broken = dataclasses.replace(
        whole, heads={**whole.heads, "image": Interval(None)}, gap=Interval(None), generalisation=dict.fromkeys(whole.heads, Interval(None))
    )
    text = render_page(broken)
    assert "head –" in text
    assert "nan" not in text.lower().replace("finance", "")
    assert "Generalisation gap" not in [name for _, name in Page(text).headings]


def test_evidence_and_reasons_of_any_kind_are_written():
    evidence = {"some": [0.5, None], "of": {"audio": 0.25}, "yes": True, "count": 1200}
    whole = dataclasses.replace(
        example_diagnosis(), findings=(Finding("balanced", "multimodal", "Both.", evidence),), skipped={"curves": "no run: run=..."}
    )
    text = render_page(whole)
    assert "0.5, –" in text
    assert "audio 0.25" in text
    assert "1,200" in text
    assert "run=....<" not in text
    assert ("h3", "Balanced · the whole model") in Page(text).headings


def test_names_cannot_break_the_page():
    whole = example_diagnosis()
    evil = '<script>alert("x")</script>&\x07'
    text = render_page(
        dataclasses.replace(
            whole,
            title=evil,
            heads={**whole.heads, evil: around(0.4)},
            modalities=(*whole.modalities, evil),
            classes=(evil,) * 10,
            skipped={"robustness": evil},
            findings=(Finding(evil, evil, evil, {evil: evil}, evil),),
        )
    )
    scripts = [tag for tag, _ in Page(text).tags if tag == "script"]
    assert len(scripts) == 2  # the numbers and the page's own
    assert "\x07" not in text


def test_it_loads_nothing_and_its_policy_allows_no_other_script():
    text = render_page(example_diagnosis(), samples=lambda _: {"image": torch.rand(1, 8, 8), "audio": Sound(torch.rand(800), 8000)})
    page = Page(text)
    assert all(address.startswith(("#", "data:")) or address in ("diagnosis.json", "diagnosis.csv") for address in page.addresses)
    assert "url(" not in text.replace("url(#", "")
    script = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)[0]
    fingerprint = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = next(values["content"] for tag, values in page.tags if tag == "meta" and values.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")
    assert f"script-src 'sha256-{fingerprint}'" in policy


def test_the_numbers_are_in_the_page_and_beside_it(tmp_path):
    whole = dataclasses.replace(example_diagnosis(), title="a </script> b")
    path = write_page(whole, tmp_path / "my page.html")
    text = path.read_text(encoding="utf-8")
    embedded = re.search(r'<script type="application/json" id="diagnosis-json">(.*?)</script>', text, re.DOTALL)[1]
    assert Diagnosis.from_json(embedded) == whole
    assert Diagnosis.from_json((tmp_path / "my page.json").read_text(encoding="utf-8")) == whole
    assert (tmp_path / "my page.csv").read_text(encoding="utf-8").startswith("quantity,")
    assert 'href="my%20page.json"' in text
    assert path.read_text(encoding="utf-8") == render_page(whole, stem="my page")


def test_other_metrics_are_written_as_they_are():
    text = render_page(dataclasses.replace(example_diagnosis(), metric="r2", chance=None))
    assert "multimodal; joint model 0.780 [0.750, 0.810]" in text
    assert json.dumps("Accuracy (%)")[1:-1] not in text


def test_where_nothing_is_lost_no_modality_is_said_to_be_missed():
    diagnosis = example_diagnosis()
    nothing = {
        kind: {name: dataclasses.replace(one, loss=Interval(0.0, 0.0, 0.0)) for name, one in of_kind.items()}
        for kind, of_kind in diagnosis.ablations.items()
    }
    assert "is missed most" in render_page(diagnosis)
    page = render_page(dataclasses.replace(diagnosis, ablations=nothing))
    assert "is missed most" not in page
    assert "loses nothing without any one of them" in page
