"""The page of a diagnosis: what stands in it, what it says of missing numbers, and the files beside it."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import html
import json
import re
from html.parser import HTMLParser

import pytest
import torch

from equimodal.diagnose.page import Sound, render_page, write_page
from equimodal.diagnose.page.comparing import difference
from equimodal.diagnose.page.palette import LEAST, PAPERS, contrast, shade
from equimodal.diagnose.record import Diagnosis, Finding, Interval
from equimodal.errors import InputError
from equimodal.report.style import MODALITY_STYLES

from .examples import around, bare_diagnosis, example_diagnosis

pytest.importorskip("jinja2", reason="the page needs Jinja")


class Page(HTMLParser):
    """Collects headings, names of marks, addresses and identifiers."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.marks, self.addresses, self.ids, self.headings, self.open = [], [], [], [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.tags.append((tag, values))
        if "data-mark" in values:
            self.marks.append(values["aria-label"])
        self.addresses += [values[key] for key in ("src", "href") if key in values]
        self.ids += [values["id"]] if "id" in values else []
        if tag in ("h1", "h2", "h3"):
            self.open = (tag, [])

    def handle_data(self, data):
        if self.open:
            self.open[1].append(data)

    def handle_endtag(self, tag):
        if self.open and tag == self.open[0]:
            self.headings.append((tag, "".join(self.open[1]).strip()))
            self.open = None


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
        "Encoders",
        "Calibration",
        "Agreement between heads",
        "Robustness",
        "Learning curves",
        "Where the modalities disagree most",
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


@pytest.mark.parametrize("modalities", [2, 3, 6])
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
    assert "Probes not there: there were too few samples." in text
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
        whole, heads={**whole.heads, "image": Interval(None)}, gap=Interval(None), generalisation=dict.fromkeys(whole.heads)
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


def test_two_models_stand_side_by_side():
    first = example_diagnosis()
    better = dataclasses.replace(
        first, title="MILES on digits", heads={**first.heads, "image": around(0.66)}, curves=None, findings=(), robustness=()
    )
    page = Page(text := render_page(first, compare=better))
    assert page.headings[0] == ("h1", "JointFusion on digits and MILES on digits")
    assert "image; A 46.0 [43.0, 49.0]; B 66.0 [63.0, 69.0]; B minus A +20.0 [15.8, 24.2]" in page.marks
    assert "by all that is known the same ones" in text
    embedded = re.findall(r'<script type="application/json" id="([\w-]+)">(.*?)</script>', text, re.DOTALL)
    assert [name for name, _ in embedded] == ["diagnosis-json", "diagnosis-compared-json"]
    assert Diagnosis.from_json(embedded[1][1]) == better


def test_other_samples_are_said_to_be_others():
    first = example_diagnosis()
    text = render_page(first, compare=dataclasses.replace(first, split="test", samples=500))
    assert "The models were diagnosed on different samples" in html.unescape(text)


def test_models_with_other_modalities_are_compared_where_they_can_be():
    page = Page(render_page(example_diagnosis(2), compare=example_diagnosis(3)))
    assert any(mark.startswith("text; A –; B 16.0") and mark.endswith("B minus A –") for mark in page.marks)


def test_models_that_cannot_be_compared_are_refused():
    first = example_diagnosis()
    with pytest.raises(InputError, match="scored by accuracy, the second by macro F1"):
        render_page(first, compare=dataclasses.replace(first, metric="macro_f1"))
    with pytest.raises(InputError, match="no modality in common"):
        render_page(first, compare=dataclasses.replace(first, modalities=("smell", "touch")))


def test_intervals_of_differences_cover_as_often_as_they_say():
    # Two shares of 400 independent samples each, with percentile intervals of their own.
    draws = torch.Generator().manual_seed(0)
    covered, trials = 0, 400
    for _ in range(trials):
        intervals = []
        for truth in (0.6, 0.7):
            right = (torch.rand(400, generator=draws) < truth).double()
            means = right[torch.randint(400, (300, 400), generator=draws)].mean(dim=1)
            low, high = torch.quantile(means, torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
            intervals.append(Interval(float(right.mean()), low, high))
        apart = difference(*intervals)
        covered += apart.low <= 0.1 <= apart.high
    assert 0.92 <= covered / trials <= 0.98


def test_every_colour_is_told_from_the_paper_it_stands_on():
    for style in MODALITY_STYLES:
        for paper in PAPERS.values():
            assert contrast(shade(style.color, paper), paper) >= LEAST


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
