"""The page of a diagnosis in a real browser: no request, no message, values for pointer and keyboard, any width, and for everyone."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
import torch

from equimodal import diagnose
from equimodal.diagnose.page import Sound, write_page
from equimodal.diagnose.page.palette import contrast

from .browser import BROWSER, Browser
from .examples import bare_diagnosis, example_diagnosis
from .twins import data_of, made

pytest.importorskip("jinja2", reason="the page needs Jinja")

pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="Chromium is not installed")]

AXE = "axe-core@4.14.1"
UNFOLD = "document.querySelectorAll('details').forEach(one => { one.open = true; });"
TIP = "document.getElementById('tip').hidden ? null : document.getElementById('tip').innerText"
MEASURE = """(() => {
  const width = document.documentElement.clientWidth;
  const shown = one => one.getBoundingClientRect().width > 0;
  const letters = [...document.querySelectorAll("svg text")].filter(shown);
  const sticksOut = [...document.body.querySelectorAll("*")].filter(one =>
    shown(one) && !one.closest(".scroll") && !(one.closest("svg") && one.localName !== "text")
    && (one.getBoundingClientRect().right > width + 0.5 || one.getBoundingClientRect().left < -0.5));
  return {
    scrollWidth: document.documentElement.scrollWidth,
    sticksOut: sticksOut.map(one => `${one.localName}.${one.getAttribute("class")} ${one.textContent.slice(0, 20)}`),
    smallest: Math.min(...letters.map(one => parseFloat(getComputedStyle(one).fontSize))),
    drawn: [...document.querySelectorAll("svg.track, svg.plot, svg.stack")].filter(shown).length,
  };
})()"""
COLORS = """(() => {
  const hex = color => "#" + color.match(/[\\d.]+/g).slice(0, 3).map(part => Math.round(part).toString(16).padStart(2, "0")).join("");
  const texts = [...document.querySelectorAll("svg text")].filter(one => !one.closest(".stack"));
  const marks = [...document.querySelectorAll("svg [fill=currentColor], svg [stroke=currentColor]")];
  return {
    paper: hex(getComputedStyle(document.body).backgroundColor),
    texts: [...new Set(texts.map(one => hex(getComputedStyle(one).fill)))],
    marks: [...new Set(marks.map(one => hex(getComputedStyle(one).color)))],
  };
})()"""


def samples(number):
    tone = torch.sin(torch.arange(4000) * (0.2 + 0.01 * number))
    return {"audio": Sound(tone, 8000), "image": torch.arange(784.0).reshape(1, 28, 28) / 784, "text": "Nothing happens in this film."}


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    whole, data = example_diagnosis(), data_of(200)
    pair = [diagnose(model, data, title=title, resamples=200) for title, model in (("plain", made()), ("shaken", made(noise=0.02)))]
    return {
        "two": write_page(whole, folder / "two.html", samples=samples),
        "six": write_page(example_diagnosis(6), folder / "six.html"),
        "bare": write_page(bare_diagnosis(), folder / "bare.html"),
        "compared": write_page(whole, folder / "compared.html", compare=example_diagnosis(3)),
        "paired": write_page(pair[0], folder / "paired.html", compare=pair[1]),
    }


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.mark.parametrize("name", ["two", "six", "bare", "compared", "paired"])
def test_it_opens_from_the_file_system_without_a_request_or_a_message(pages, browser, name):
    browser.open(pages[name])
    assert browser.requests() == [pages[name].as_uri()]
    assert browser.messages() == []


def test_something_from_elsewhere_would_have_been_noticed(pages, browser, tmp_path):
    spoiled = tmp_path / "spoiled.html"
    text = pages["two"].read_text(encoding="utf-8")
    spoiled.write_text(text.replace("<main>", '<main><img alt="" src="https://example.invalid/x.png"><script>1</script>'), encoding="utf-8")
    browser.open(spoiled)
    assert len(browser.messages()) >= 2


def test_hovering_tells_values(pages, browser):
    browser.open(pages["two"])
    assert browser.run(TIP) is None
    browser.point_at("document.querySelectorAll('#scores ~ figure .row')[1]")
    assert browser.run(TIP).splitlines() == ["audio", "head 76.0 [73.0, 79.0]", "probe 80.0 [77.0, 83.0]"]
    browser.point_at("document.querySelectorAll('#curves ~ figure .hit')[11]")
    assert browser.run(TIP).splitlines()[:2] == ["epoch 12", "multimodal 77.8"]
    browser.point_at("document.querySelector('.segment')")
    assert "55.0 [52.0, 58.0] %" in browser.run(TIP)
    browser.point_at("document.querySelector('h1')")
    assert browser.run(TIP) is None


def test_the_keyboard_reaches_every_value(pages, browser):
    browser.open(pages["two"])
    found, stops = [], 0
    while stops < 200:
        browser.press("Tab")
        stops += 1
        where = browser.run("document.activeElement.matches('[data-mark]') ? document.activeElement.getAttribute('aria-label') : ''")
        if browser.run("document.activeElement === document.body"):
            break
        if where:
            assert browser.run(TIP).splitlines() == where.split("; ")
            assert browser.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"
            found.append(where)
    plots = browser.run("document.querySelectorAll('[data-plot]').length")
    assert len(found) == plots
    assert browser.run("document.querySelectorAll('[data-mark]').length") > 3 * plots


def test_arrows_walk_through_a_plot_and_escape_leaves_it(pages, browser):
    browser.open(pages["two"])
    browser.run("document.querySelector('[data-mark]').focus()")
    walked = []
    for key in ("ArrowDown", "ArrowDown", "ArrowDown", "ArrowUp", "Home", "End"):
        browser.press(key)
        walked.append(browser.run(TIP).splitlines()[0])
    assert walked == ["audio", "image", "image", "audio", "multimodal", "image"]
    browser.press("Escape")
    assert browser.run(TIP) is None


@pytest.mark.parametrize("name", ["two", "six", "bare", "compared", "paired"])
def test_it_fits_every_width_with_everything_unfolded(pages, browser, name):
    for width in (320, 390, 700, 1280):
        browser.open(pages[name], width=width)
        browser.run(UNFOLD)
        measured = browser.run(MEASURE)
        assert measured["sticksOut"] == []
        assert measured["scrollWidth"] <= width
        assert measured["drawn"] >= 1
        assert measured["smallest"] >= 12


def test_long_names_fit_as_well(browser, tmp_path):
    text = example_diagnosis(3).to_json().replace("image", "a_modality_whose_name_knows_no_end_and_no_space")
    path = write_page(type(example_diagnosis()).from_json(text), tmp_path / "long.html")
    for width in (320, 1280):
        browser.open(path, width=width)
        browser.run(UNFOLD)
        measured = browser.run(MEASURE)
        assert measured["sticksOut"] == []
        assert measured["scrollWidth"] <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_plots_can_be_seen_on_light_and_dark_pages(pages, browser, scheme):
    browser.open(pages["six"], scheme=scheme)
    colors = browser.run(COLORS)
    assert (contrast(colors["paper"], "#000000") > 10) == (scheme == "light")
    assert len(colors["marks"]) >= 7
    assert min(contrast(color, colors["paper"]) for color in colors["texts"]) >= 4.5
    assert min(contrast(color, colors["paper"]) for color in colors["marks"]) >= 3


def test_sounds_can_be_played(pages, browser):
    browser.open(pages["two"])
    lengths = browser.run("""Promise.all([...document.querySelectorAll("audio")].map(sound => new Promise(done => {
      const tell = () => done(sound.error ? sound.error.message : sound.duration);
      sound.readyState ? tell() : (sound.onloadedmetadata = sound.onerror = tell, sound.load());
    })))""")
    assert lengths == [0.5] * 4
    assert browser.run("[...document.images].every(image => image.naturalWidth === 28)")


def test_on_paper_everything_is_unfolded_and_light(pages, browser):
    browser.open(pages["two"], scheme="dark")
    printed = browser.print()
    assert printed.startswith(b"%PDF")
    assert 3 <= len(re.findall(rb"/Type /Page\b", printed)) <= 16
    browser.call("Emulation.setEmulatedMedia", media="print", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    colors = browser.run(COLORS)
    assert colors["paper"] == "#ffffff"
    assert min(contrast(color, "#ffffff") for color in colors["marks"]) >= 3
    browser.run("dispatchEvent(new Event('beforeprint'))")
    assert browser.run("[...document.querySelectorAll('details')].every(one => one.open || one.matches('.numbers'))")
    assert browser.run("[...document.querySelectorAll('.numbers, audio')].every(one => getComputedStyle(one).display === 'none')")
    browser.run("dispatchEvent(new Event('afterprint'))")
    assert not browser.run("[...document.querySelectorAll('details')].some(one => one.open)")


@pytest.fixture(scope="module")
def axe(tmp_path_factory):
    """The accessibility checker axe-core by its makers: from a file that is named, else by npm."""
    given = os.environ.get("EQUIMODAL_AXE")
    if given:
        return Path(given).read_text(encoding="utf-8")
    if shutil.which("npm") is None:
        pytest.skip("axe-core is not there: install npm, or give the path of axe.min.js in EQUIMODAL_AXE")
    folder = tmp_path_factory.mktemp("axe")
    try:
        done = subprocess.run(["npm", "pack", AXE, "--silent"], cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip("axe-core could not be fetched by npm in two minutes")
    archives = list(folder.glob("*.tgz"))
    if done.returncode or not archives:
        pytest.skip(f"axe-core could not be fetched by npm: {done.stderr.strip()[:200]}")
    with tarfile.open(archives[0]) as archive:
        file = archive.extractfile("package/axe.min.js")
        assert file is not None
        return file.read().decode()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", ["two", "six", "bare", "compared", "paired"])
def test_axe_finds_no_barrier(pages, browser, axe, name, width, scheme):
    browser.open(pages[name], width=width, scheme=scheme)
    browser.run(UNFOLD)
    browser.run(axe + ";0")  # evaluated by the debugger, which the page's policy does not bind
    found = json.loads(browser.run("axe.run(document, {resultTypes: ['violations']}).then(result => JSON.stringify(result))"))
    told = [
        f"{one['id']}: {one['help']}: {node['html'][:160]} {node['failureSummary']}"
        for one in found["violations"]
        for node in one["nodes"][:3]
    ]
    assert told == []
    passed = {one["id"] for one in found["passes"]}
    assert {"color-contrast", "document-title", "heading-order", "html-has-lang", "landmark-one-main", "region"} <= passed


def test_axe_would_have_found_barriers(pages, browser, axe, tmp_path):
    spoiled = tmp_path / "spoiled.html"
    text = pages["two"].read_text(encoding="utf-8")
    spoiled.write_text(
        re.sub(r'(<img class="[^"]*") alt="[^"]*"', r"\1", text).replace("--soft: #59626d", "--soft: #a9b2bd"), encoding="utf-8"
    )
    browser.open(spoiled)
    browser.run(axe + ";0")
    found = browser.run("axe.run().then(result => result.violations.map(one => one.id))")
    assert {"image-alt", "color-contrast"} <= set(found)
