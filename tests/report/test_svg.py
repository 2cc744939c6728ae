"""Figures as text and as files."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from equimodal.errors import InputError
from equimodal.report import RunRecord, figure_to_svg, learning_curves, learning_dynamics, write_figure

from .examples import demo, epoch_record

pytest.importorskip("matplotlib", reason="figures need matplotlib")
NAME = "{http://www.w3.org/2000/svg}"


def test_the_text_is_text_in_the_pages_own_colour():
    svg = figure_to_svg(learning_dynamics(demo()[4]), "Dynamics")
    words = ["".join(element.itertext()) for element in ElementTree.fromstring(svg).iter(f"{NAME}text")]
    assert {"multimodal", "image", "audio", "τ = 0.2", "δ", "Utilization gap", "Effective learning rate", "0.001"} <= set(words) | {
        "0.0005"
    }
    assert "#000000" not in svg
    assert "currentColor" in svg
    assert "fill: #ffffff" not in svg


def test_it_has_a_name_and_a_description_for_those_who_do_not_see_it():
    root = ElementTree.fromstring(figure_to_svg(learning_curves(demo()[2]), "Curves <b>", "falls & rises", identifier="one"))
    assert root.get("role") == "img"
    named = [root.find(f".//*[@id='{identifier}']").text for identifier in root.get("aria-labelledby").split()]
    assert named == ["Curves <b>", "falls & rises"]


def test_identifiers_are_unique_and_every_reference_is_met():
    one, two = (figure_to_svg(learning_curves(run), "Curves") for run in demo()[2:4])
    identifiers = re.findall(r'\bid="([^"]+)"', one + two)
    assert len(set(identifiers)) == len(identifiers)
    for svg in (one, two):
        references = re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', svg)
        assert references
        assert {first or second for first, second in references} <= set(re.findall(r'\bid="([^"]+)"', svg))


def test_the_same_run_gives_the_same_bytes(tmp_path):
    first, second = (figure_to_svg(learning_dynamics(demo()[4]), "Dynamics") for _ in range(2))
    assert first == second
    for suffix in ("svg", "png", "pdf"):
        paths = [write_figure(tmp_path / f"{number}.{suffix}", learning_curves(demo()[2]), "Curves") for number in (1, 2)]
        assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_figure_can_be_turned_to_text_twice():
    figure = learning_curves(demo()[2])
    assert figure_to_svg(figure, "Curves") == figure_to_svg(figure, "Curves")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "label", ["<b>bold</b>", "a & b", "$x_1$ costs 5 $", "_hidden", "音声", "line\nbreak\x00\x1b", "stroke: #000000", "a" * 200]
)
def test_any_label_stands_as_it_is(label):
    epochs = [epoch_record(number, {"multimodal": 0.5, label: 0.4, "other": 0.3}, {label: 0.5, "other": 1.0}) for number in (1, 2)]
    run = RunRecord(label, "miles", epochs=epochs)
    svg = figure_to_svg(learning_curves(run, columns=1), f"Curves of {label!r}")
    words = ["".join(element.itertext()) for element in ElementTree.fromstring(svg).iter(f"{NAME}text")]
    shown = re.sub(r"[\n\x00\x1b]", " ", label)
    expected = shown if len(shown) <= 24 else shown[:23] + "…"
    assert expected.strip() in [word.strip() for word in words]


def test_a_stylesheet_of_the_figure_does_not_reach_the_page():
    assert "<style" not in figure_to_svg(learning_curves(demo()[2]), "Curves")


def test_a_file_has_its_own_colours_and_size(tmp_path):
    path = write_figure(tmp_path / "curves.svg", learning_curves(demo()[2]), "Curves")
    text = path.read_text(encoding="utf-8")
    assert text.startswith("<?xml")
    assert "prefers-color-scheme" in text
    assert re.search(r'width="[\d.]+pt"', text)
    ElementTree.fromstring(text)


def test_an_unknown_suffix_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"\.svg, \.png or \.pdf"):
        write_figure(tmp_path / "curves.xls", learning_curves(demo()[2]), "Curves")
    assert not list(tmp_path.iterdir())
