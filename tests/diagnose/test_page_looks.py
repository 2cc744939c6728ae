"""How the page of a diagnosis looks in a real browser: the first screen, what is tapped, names that stay whole, new figures told."""

from __future__ import annotations

import dataclasses

import pytest

from equimodal.diagnose.page import write_page
from equimodal.diagnose.quantities import Interval

from .browser import BROWSER, Browser
from .examples import example_diagnosis
from .test_page_browser import MEASURE, TIP, UNFOLD

pytest.importorskip("jinja2", reason="the page needs Jinja")

pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="Chromium is not installed")]


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("looks")
    two = example_diagnosis(2)
    heads = {name: Interval(*(-0.0012 * number for number in score)) for name, score in two.heads.items()}
    tiny = dataclasses.replace(two, metric="negative_squared_error", chance=None, heads=heads, probes={})
    found = {"two": two, "seven": example_diagnosis(7), "tiny": tiny}
    return {name: write_page(one, folder / f"{name}.html") for name, one in found.items()}


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_sampled_values_fit_every_width(pages, browser, width):
    browser.open(pages["seven"], width=width)
    browser.run(UNFOLD)
    measured = browser.run(MEASURE)
    assert measured["sticksOut"] == []
    assert measured["scrollWidth"] <= width


def test_numbers_without_an_interval_and_with_small_units_are_told_as_well(pages, browser):
    browser.open(pages["two"])
    found = {}
    for title in ("Beyond chance: Cohen’s κ", "Gradient / weight norm (×10⁻⁴)", "Update by an epoch (%)"):
        panel = f"[...document.querySelectorAll('.panel')].find(one => one.querySelector('.panel-name').textContent === '{title}')"
        browser.point_at(f"{panel}.querySelector('.row')")
        found[title] = browser.run(TIP).splitlines()
    assert list(found.values()) == [
        ["multimodal & audio", "0.38 [0.35, 0.41]"],
        ["audio", "4.00 [3.00, 5.00]", "×10⁻⁴"],
        ["audio", "3.10"],
    ]


@pytest.mark.parametrize("name", ["two", "seven"])
def test_the_first_screen_of_a_telephone_has_the_verdict(pages, browser, name):
    browser.open(pages[name], width=390, height=844)
    ends = browser.run("document.querySelector('.finding .sentence').getBoundingClientRect().bottom")
    assert ends < 844


def test_what_is_tapped_is_tall_enough_for_a_finger(pages, browser):
    browser.open(pages["two"], width=390)
    heights = browser.run("[...document.querySelectorAll('nav a, summary')].map(one => one.getBoundingClientRect().height)")
    assert min(heights) >= 24


@pytest.mark.parametrize("width", [320, 390, 1280])
@pytest.mark.parametrize("name", ["two", "seven", "tiny"])
def test_numbers_of_a_scale_do_not_touch_one_another(pages, browser, name, width):
    browser.open(pages[name], width=width)
    browser.run(UNFOLD)
    touching = browser.run("""[...document.querySelectorAll("svg.scale, svg.x-axis")].filter(scale => {
      const boxes = [...scale.querySelectorAll("text")].map(one => one.getBoundingClientRect()).filter(box => box.width > 0);
      return boxes.slice(1).some((box, number) => box.left < boxes[number].right + 2);
    }).map(scale => scale.textContent)""")
    assert touching == []


@pytest.mark.parametrize(("width", "media"), [(320, "screen"), (390, "screen"), (718, "print"), (1280, "screen")])
def test_short_names_are_not_broken(pages, browser, width, media):
    browser.open(pages["seven"], width=width)
    browser.call("Emulation.setEmulatedMedia", media=media)
    browser.run(UNFOLD)
    tall = browser.run(
        "[...document.querySelectorAll('.row .label, .card tbody th')].filter(one => one.textContent.length < 11"
        " && one.getClientRects().length && one.scrollHeight > 45).map(one => one.textContent)"
    )
    browser.call("Emulation.setEmulatedMedia", media="")
    assert tall == []
