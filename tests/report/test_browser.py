"""The page in a real browser: no errors, no overflow, readable letters, light and dark."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess

import pytest

from equimodal.report import write_report

from .examples import MODALITIES, comparison, demo, run

pytest.importorskip("matplotlib", reason="the page needs matplotlib")
pytest.importorskip("jinja2", reason="the page needs Jinja")

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync"
WIDTHS = (320, 390, 700, 1280)

pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="Chromium is not installed")]

# A headless window cannot be as narrow as a telephone, so each width is a frame. What sticks out may do so in a scrolling box alone.
MEASURE = """
const measured = {};
for (const frame of document.querySelectorAll("iframe")) {
  const page = frame.contentDocument, width = frame.clientWidth;
  const sticksOut = [...page.body.querySelectorAll("*")].filter(element =>
    !element.closest(".scroll, pre, svg") && element.getBoundingClientRect().right > width + 0.5);
  const drawn = [...page.querySelectorAll("svg")].filter(svg => svg.getBoundingClientRect().width > 0);
  const letters = drawn.flatMap(svg => [...svg.querySelectorAll("text")].map(text =>
    parseFloat(frame.contentWindow.getComputedStyle(text).fontSize) * svg.getBoundingClientRect().width / svg.viewBox.baseVal.width));
  measured[width] = {
    scrollWidth: page.documentElement.scrollWidth,
    sticksOut: sticksOut.map(element => element.tagName),
    figures: drawn.length,
    smallest: Math.min(...letters), largest: Math.max(...letters),
    ink: frame.contentWindow.getComputedStyle(drawn[0].querySelector("text")).fill,
    paper: frame.contentWindow.getComputedStyle(page.body).backgroundColor,
  };
}
document.getElementById("measured").textContent = JSON.stringify(measured);
"""


def browse(path, profile, *options):
    """Open a file and return the document after loading and what the browser logged."""
    command = [BROWSER, "--headless", *QUIET.split(), f"--user-data-dir={profile}", "--enable-logging=stderr", "--virtual-time-budget=5000"]
    done = subprocess.run([*command, *options, "--dump-dom", path.as_uri()], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def measure(path, tmp_path, *options, script=MEASURE, widths=WIDTHS):
    content = html.escape(path.read_text(encoding="utf-8"))
    frames = "".join(f'<iframe style="border:0;width:{width}px;height:900px" srcdoc="{content}"></iframe>' for width in widths)
    wrapper = tmp_path / "frames.html"
    loaded = f'window.addEventListener("load", () => {{{script}}});'
    wrapper.write_text(f'<!DOCTYPE html><meta charset="utf-8"><pre id="measured"></pre><script>{loaded}</script>{frames}', encoding="utf-8")
    document, _ = browse(wrapper, tmp_path / "profile", "--window-size=1400,1000", *options)
    found = re.search(r'<pre id="measured">(.+?)</pre>', document)
    assert found, "the page was not measured"
    return {int(width): values for width, values in json.loads(html.unescape(found[1])).items()}


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return write_report(tmp_path_factory.mktemp("report") / "report.html", demo(), MODALITIES)


def test_it_opens_from_the_file_system_without_a_message(report, tmp_path):
    document, messages = browse(report, tmp_path / "profile")
    assert messages == []
    assert "Figure 4." in document
    # The same page with something from elsewhere in it is stopped, and would have been noticed.
    spoiled = tmp_path / "spoiled.html"
    spoiled.write_text(
        report.read_text(encoding="utf-8").replace("<main>", '<main><img alt="" src="https://example.invalid/x.png">'), encoding="utf-8"
    )
    _, messages = browse(spoiled, tmp_path / "profile")
    assert any("Content Security Policy" in message for message in messages)


def test_it_fits_every_width(report, tmp_path):
    measured = measure(report, tmp_path)
    assert set(measured) == set(WIDTHS)
    for width, values in measured.items():
        assert values["scrollWidth"] <= width, f"the page is {values['scrollWidth']} wide in a window of {width}"
        assert values["sticksOut"] == []
        assert values["figures"] == 4
        assert values["smallest"] >= (8.5 if width >= 390 else 7.0)
        assert values["largest"] <= 18


def test_eight_modalities_and_long_names_fit_as_well(tmp_path):
    names = ["a_modality_whose_name_knows_no_end_and_no_space", *(f"sensor_{number}" for number in range(7))]
    final = {"multimodal": 0.9, **{name: 0.9 - 0.1 * position for position, name in enumerate(names)}}
    runs = [run("miles", final, tau=0.2, label="x" * 90, seed=seed, epochs=3) for seed in range(2)]
    path = write_report(tmp_path / "report.html", runs, names, title="y" * 120)
    for width, values in measure(path, tmp_path).items():
        assert values["scrollWidth"] <= width
        assert values["sticksOut"] == []


def test_a_comparison_of_many_methods_fits_with_everything_unfolded(tmp_path):
    path = write_report(tmp_path / "report.html", comparison(seeds=2), MODALITIES, relative_to="joint")
    path.write_text(path.read_text(encoding="utf-8").replace("<details", "<details open"), encoding="utf-8")
    for width, values in measure(path, tmp_path).items():
        assert values["figures"] == 12
        assert values["scrollWidth"] <= width
        assert values["sticksOut"] == []


def test_figures_follow_the_pages_colours(report, tmp_path):
    light, dark = (measure(report, tmp_path, f"--blink-settings=preferredColorScheme={scheme}")[1280] for scheme in (1, 0))
    assert brightness(light["paper"]) > 240 > 60 > brightness(light["ink"])
    assert brightness(dark["paper"]) < 60 < 200 < brightness(dark["ink"])


def brightness(color):
    return sum(map(int, re.findall(r"\d+", color)[:3])) / 3
