"""The page of a study in a real browser: no errors, no overflow, readable letters, light and dark."""

from __future__ import annotations

import pytest

from equimodal.study.page import write_study_page
from report.test_browser import BROWSER, brightness, browse, measure

from .examples import half_study

pytest.importorskip("matplotlib", reason="the page needs matplotlib")
pytest.importorskip("jinja2", reason="the page needs Jinja")
pytest.importorskip("scipy", reason="paired tests need SciPy")

pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="Chromium is not installed")]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    record = half_study(methods=("vanilla", "joint", "mslr-k", "mses", "miles"))
    return write_study_page(tmp_path_factory.mktemp("page") / "report.html", record)


def test_it_opens_without_a_message(report, tmp_path):
    document, messages = browse(report, tmp_path / "profile")
    assert messages == []
    assert "In plain words" in document


def test_it_fits_every_width_with_everything_unfolded(report, tmp_path):
    unfolded = tmp_path / "unfolded.html"
    unfolded.write_text(report.read_text(encoding="utf-8").replace("<details", "<details open"), encoding="utf-8")
    for width, values in measure(unfolded, tmp_path).items():
        assert values["scrollWidth"] <= width
        assert values["sticksOut"] == []
        assert values["smallest"] >= (8.5 if width >= 390 else 7.0)


def test_figures_follow_the_pages_colours(report, tmp_path):
    light, dark = (measure(report, tmp_path, f"--blink-settings=preferredColorScheme={scheme}")[1280] for scheme in (1, 0))
    assert brightness(light["paper"]) > 240 > 60 > brightness(light["ink"])
    assert brightness(dark["paper"]) < 60 < 200 < brightness(dark["ink"])
