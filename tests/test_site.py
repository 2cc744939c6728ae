"""The documentation site builds without a warning and without a network, and what a reader looks for is in it."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Build the site once, and return its folder and what the build said."""
    folder = tmp_path_factory.mktemp("site")
    words = ["--fail-on-warning", "--keep-going", "--quiet", "--builder", "html", "--doctree-dir", str(folder / "doctrees")]
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    environment = {**os.environ, **nowhere, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "sphinx", *words, str(DOCS), str(folder / "html")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    return folder / "html", done


@pytest.fixture(scope="module")
def site(built):
    folder, done = built
    assert (folder / "index.html").exists(), done.stderr
    return folder


class Page(HTMLParser):
    """The links and the anchors of a page, and what it loads."""

    def __init__(self, text):
        super().__init__()
        self.links, self.anchors, self.loaded = [], set(), []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.anchors |= {given[key] for key in ("id", "name") if given.get(key)}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag in ("script", "img", "iframe") and "src" in given:
            self.loaded.append(given["src"])
        if tag == "link" and given.get("rel") == "stylesheet":
            self.loaded.append(given["href"])


@pytest.fixture(scope="module")
def pages(site):
    """Return the pages that are made from ours, by path."""
    return {path: Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}


def test_builds_without_a_warning(built):
    _, done = built
    assert done.returncode == 0, done.stderr
    assert not done.stderr.strip()


def test_every_page_is_built_and_in_the_navigation(site, pages):
    home = {urldefrag(link).url for link in pages[site / "index.html"].links}
    for page in DOCS.rglob("*.md"):
        name = page.relative_to(DOCS).with_suffix(".html")
        assert (site / name).exists()
        assert page.name == "index.md" or name.as_posix() in home


def test_links_lead_somewhere(site, pages):
    for path, page in pages.items():
        for link in page.links:
            target, anchor = urldefrag(link)
            if re.match(r"[a-z]+:", target) or (not target and not anchor):
                continue
            found = (path.parent / unquote(target)).resolve() if target else path
            assert found.exists(), f"{path.relative_to(site)} links to {link}"
            if anchor and found in pages:
                assert unquote(anchor) in pages[found].anchors, f"{path.relative_to(site)} links to {link}"


def test_nothing_is_loaded_from_elsewhere(site, pages):
    for path, page in pages.items():
        assert not [source for source in page.loaded if re.match(r"(https?:)?//", source)], path.relative_to(site)


def text_of(page):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", page.read_text(encoding="utf-8")))


def test_reference_has_signatures_and_parameters(site):
    page = text_of(site / "reference" / "equimodal.html")
    assert re.search(
        r"class equimodal\.MILES\( ?optimizer, tau=0\.2, mu=0\.5, \*, restore_other=False",
        page.replace(": Optimizer", "").replace(": float = ", "=").replace(": bool = ", "="),
    )
    assert "target difference threshold τ, 0 to 1; default 0.2" in page


@pytest.mark.parametrize(
    ("page", "name"),
    [
        ("equimodal", "equimodal.Balancer"),
        ("scores", "equimodal.tasks.get_task"),
        ("groups", "equimodal.groups.LearningRateMultipliers"),
        ("nn", "equimodal.nn.JointFusion"),
        ("methods", "equimodal.methods.ogm.OGM"),
        ("train", "equimodal.train.fit"),
        ("data", "equimodal.data.TensorSet"),
        ("study", "equimodal.study.compare"),
        ("report", "equimodal.report.learning_curves"),
        ("testing", "equimodal.testing.check_method"),
    ],
)
def test_reference_documents(pages, site, page, name):
    assert name in pages[site / "reference" / f"{page}.html"].anchors


def test_public_names_are_all_documented(pages):
    import equimodal

    anchors = set().union(*(page.anchors for page in pages.values()))
    last = {anchor.rpartition(".")[2] for anchor in anchors if anchor.startswith("equimodal.")}
    assert not set(equimodal.__all__) - last


def test_docstrings_link_to_each_other(site):
    page = (site / "reference" / "equimodal.html").read_text(encoding="utf-8")
    assert re.search(r'href="groups\.html#equimodal\.groups\.LearningRateMultipliers"|href="#equimodal\.modality_groups"', page)


def test_formulas_need_no_script(site):
    page = (site / "methods" / "miles.html").read_text(encoding="utf-8")
    assert "<mfrac>" in page
    assert r"\frac" not in page
    assert not re.search(r"<script[^>]*mathjax", page, re.IGNORECASE)
