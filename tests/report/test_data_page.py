"""The page about a data set."""

from __future__ import annotations

import base64
import copy
import re
import struct
import zlib

import pytest

from equimodal.errors import InputError
from equimodal.report.data_page import render_data_page, write_data_page
from equimodal.report.sketch import curves, png

from .test_browser import BROWSER, brightness, browse, measure
from .test_page import Page

pytest.importorskip("jinja2", reason="the page needs Jinja")


def sample(number, group, labels=None, **values):
    held = {
        "image": {"kind": "picture", "width": 2, "height": 1, "channels": 3, "pixels": bytes([255, 0, 0, 0, 0, 255])},
        "audio": {"kind": "map", "width": 3, "height": 100, "pixels": bytes(place % 256 for place in range(300)), "low": -1.0, "high": 2.0},
        "sensor": {"kind": "curves", "series": [[0.0, 1.0, 0.5], [-1.0, 0.0, 0.2]], "low": -1.0, "high": 1.0},
        "text": {"kind": "text", "text": "an old man & the sea"},
    }
    return {"group": group, "number": number, "labels": [group] if labels is None else labels, "values": {**held, **values}}


def modality(name, shape=(3, 1, 2), **changes):
    made = {
        "name": name,
        "inputs": [{"part": "", "shape": list(shape), "dtype": "float32"}],
        "range": {"low": -1.25, "high": 2.0, "mean": 0.01, "std": 1.0},
        "lengths": None,
        "measured": 30,
        "missing": {},
    }
    return made | changes


def made_up(**changes):
    """Facts as a data set gives them."""
    facts = {
        "name": "four-ways",
        "summary": "a picture, a sound, a sensor and a text",
        "licence": "CC BY 4.0",
        "citation": "Nobody, 2024",
        "task": "single-label",
        "metric": "macro_f1",
        "options": {"split": "actor", "seed": 3},
        "classes": ["cat", "dog"],
        "splits": {
            "train": {"samples": 1000, "classes": [750, 250]},
            "val": {"samples": 10, "classes": [5, 5]},
            "test": {"samples": 20, "classes": [20, 0]},
        },
        "modalities": [
            modality("image", missing={"train": 7, "val": 0, "test": 1}),
            modality("audio"),
            modality(
                "sensor",
                inputs=[{"part": "values", "shape": [50, 2], "dtype": "float32"}, {"part": "lengths", "shape": [], "dtype": "int64"}],
                lengths={"low": 12, "high": 50, "mean": 31.5},
            ),
            modality(
                "text",
                inputs=[{"part": part, "shape": [20], "dtype": "int64"} for part in ("input_ids", "attention_mask")],
                range={"low": 1, "high": 999.0, "mean": 50.0, "std": 9.0},
                lengths={"low": 3, "high": 20, "mean": 12},
            ),
        ],
        "samples": [sample(number, group) for number, group in ((3, "cat"), (1400, "cat"), (5, "dog"))],
        "notes": ["40 of 100 clips: the splits keep the proportions"],
        "damaged": {},
        "sources": {"files": 1040, "bytes": 2_500_000_000},
        "libraries": {"equimodal": "0.1", "numpy": "2.4"},
    }
    return copy.deepcopy(facts) | changes


@pytest.fixture(scope="module")
def page():
    return render_data_page(made_up())


def pictures(page):
    return [base64.b64decode(found) for found in re.findall(r'src="data:image/png;base64,([^"]+)"', page)]


def rows_of(page, table):
    body = re.search(rf'<table class="{table}[^"]*">.*?</table>', page, re.DOTALL)[0]
    return [
        [" ".join(re.sub(r"<[^>]+>", " ", cell).split()) for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL)]
        for row in re.findall(r"<tr>.*?</tr>", body, re.DOTALL)
    ]


def test_it_says_what_the_set_is_and_what_to_know(page):
    text = Page(page).text
    assert "A picture, a sound, a sensor and a text. 1,030 samples of 2 classes in four modalities, image, audio, sensor and text:" in text
    assert "1,000 for training, 10 for validation and 20 for test." in text
    assert "40 of 100 clips: the splits keep the proportions" in text
    assert "image is missing in 7 training and 1 test samples" in text
    for fact in (
        "single-label, scored by macro F1",
        'split = "actor", seed = 3',
        "1,040 files, 2.5 GB",
        "CC BY 4.0",
        "Nobody, 2024",
        "numpy 2.4",
    ):
        assert fact in text


def test_counts_stand_in_a_table_with_bars_on_one_scale(page):
    assert rows_of(page, "counts") == [
        ["class", "training", "validation", "test"],
        ["cat", "750", "5", "20"],
        ["dog", "250", "5", "0"],
        ["samples", "1,000", "10", "20"],
    ]
    # Shares of the split: 75, 50 and 100 %, then 25, 50 and 0 %; the longest is full.
    assert [float(width) for width in re.findall(r'<i style="width:([\d.]+)%">', page)] == [75.0, 50.0, 100.0, 25.0, 50.0, 0.0]


def test_shapes_and_ranges_stand_in_a_table(page):
    assert rows_of(page, "inputs")[1:] == [
        ["image", "3 × 1 × 2 float32", "−1.25 to 2", "0.01 ± 1", "8"],
        ["audio", "3 × 1 × 2 float32", "−1.25 to 2", "0.01 ± 1", "0"],
        ["sensor", "50 × 2 values, float32", "−1.25 to 2 length 12 to 50, 31.5 on average", "0.01 ± 1", "0"],
        ["text", "20 input_ids, int64", "1 to 999 length 3 to 20, 12 on average", "–", "0"],
    ]


def test_samples_are_drawn_class_by_class_in_every_kind(page):
    titles = re.findall(r"<h3>(.*?)</h3>", page)
    assert titles == ["cat", "dog"]
    assert [group.count("<figcaption>") for group in page.split("<h3>")[1:]] == [2, 1]
    assert len(pictures(page)) == 6
    assert page.count("<polyline") == 6
    assert page.count("an old man &amp; the sea") == 3
    assert 'alt="image of training sample 1400, cat"' in page


def test_pictures_are_whole_and_in_their_colours(page):
    image = pytest.importorskip("PIL.Image")
    import io

    picture, sound = (image.open(io.BytesIO(content)) for content in pictures(page)[:2])
    assert picture.size == (2, 1)
    assert [picture.getpixel((x, 0)) for x in range(2)] == [(255, 0, 0), (0, 0, 255)]
    assert sound.size == (3, 100)
    colors = sound.convert("RGB")
    brightness = [sum(colors.getpixel((column % 3, column // 3))) for column in (0, 64, 128, 192, 255)]
    assert brightness == sorted(brightness), "the higher, the brighter"


def test_a_missing_modality_is_said_so():
    shown = render_data_page(made_up(samples=[sample(1, "cat", image=None)]))
    assert '<div class="lacking">no image</div>' in shown
    assert len(pictures(shown)) == 1


def test_labels_of_a_multilabel_set_stand_below_each_sample():
    shown = render_data_page(made_up(task="multilabel", samples=[sample(1, "cat", ["cat", "dog"]), sample(2, "dog", [])]))
    assert "1,030 samples with 2 labels" in Page(shown).text
    assert "<figcaption>1 · cat, dog</figcaption>" in shown
    assert "most have several" in shown


def test_a_regression_has_a_range_instead_of_classes():
    splits = {name: {"samples": 4, "targets": {"low": -1.0, "high": 3.0, "mean": 0.5}} for name in ("train", "val", "test")}
    shown = render_data_page(made_up(task="regression", classes=[], splits=splits, samples=[sample(1, None, ["0.5"])]))
    assert rows_of(shown, "counts")[1:] == [
        ["lowest", *["−1"] * 3],
        ["mean", *["0.5"] * 3],
        ["highest", *["3"] * 3],
        ["samples", *["4"] * 3],
    ]
    assert "<figcaption>1 · 0.5</figcaption>" in shown


def test_samples_that_were_left_out_are_named_the_first_at_once_and_the_rest_folded():
    damaged = {f"clip{number}": f"video clip{number}.flv is cut short" for number in range(5)}
    shown = render_data_page(made_up(damaged=damaged))
    assert "5 samples were left out, whose files cannot be used" in Page(shown).text
    at_once, _, folded = shown.partition("<details>")
    assert [name in at_once for name in damaged] == [True, True, True, False, False]
    assert all(name in folded for name in ("clip3", "clip4"))
    assert "and 2 more" in folded
    assert "1 sample was left out" in Page(render_data_page(made_up(damaged={"a": "b"}))).text


def test_a_set_without_anything_unusual_has_nothing_to_know():
    plain = made_up(notes=[], sources=None, libraries={}, options={}, samples=[], modalities=[modality("image", range=None)])
    assert "To know" not in render_data_page(plain)
    assert "in one modality, image:" in render_data_page(plain)


def test_it_is_well_formed_and_loads_nothing_from_elsewhere(page):
    parsed = Page(page)
    assert parsed.open == []
    assert not {"script", "link", "iframe", "object", "embed"} & set(parsed.tags)
    for _, name, value in parsed.attributes:
        if name in ("src", "href", "srcset", "action"):
            assert value.startswith("data:image/png;base64,")
        assert "://" not in (value or "")
    assert "@import" not in page
    assert re.findall(r"url\((?!#)", page) == []
    assert all(attributes for tag, *attributes in parsed.attributes if tag == "img")
    assert page.count("<img ") == page.count(' alt="')


def test_names_and_texts_are_escaped():
    hostile = '<b>bold</b><script>alert(1)</script>"\n'
    facts = made_up(
        name=hostile, summary=hostile, classes=[hostile, "dog"], notes=[hostile], damaged={hostile: hostile}, options={hostile: hostile}
    )
    facts["samples"] = [sample(1, hostile, text={"kind": "text", "text": hostile})]
    facts["modalities"][0]["name"] = hostile
    parsed = Page(render_data_page(facts))
    assert not {"script"} & set(parsed.tags)
    assert parsed.open == []
    assert parsed.text.count("alert(1)") >= 8


def test_the_same_facts_give_the_same_bytes(page):
    assert render_data_page(made_up()) == page


def test_it_looks_like_the_reports(page):
    from equimodal.report import render_report

    from .examples import MODALITIES, demo

    pytest.importorskip("matplotlib", reason="reports need matplotlib")
    style = re.search(r"<style>\n(.*?)</style>", render_report(demo(), MODALITIES), re.DOTALL)[1]
    assert len(style) > 1000
    assert style in page


def test_it_is_written_whole_or_not_at_all(tmp_path):
    assert write_data_page(tmp_path / "page.html", made_up()).read_text(encoding="utf-8") == render_data_page(made_up())
    with pytest.raises(InputError, match="cannot write"):
        write_data_page(tmp_path / "absent" / "page.html", made_up())


# --- drawings


def chunks(content):
    place = 8
    while place < len(content):
        (length,) = struct.unpack_from(">L", content, place)
        name, body = content[place + 4 : place + 8], content[place + 8 : place + 8 + length]
        assert struct.unpack_from(">L", content, place + 8 + length)[0] == zlib.crc32(name + body)
        yield name, body
        place += 12 + length


def test_a_png_holds_its_pixels_row_by_row():
    held = dict(chunks(png(bytes(range(6)), 3, 2, 0)))
    assert zlib.decompress(held[b"IDAT"]) == b"\0\0\1\2\0\3\4\5"
    assert list(held) == [b"IHDR", b"IDAT", b"IEND"]
    assert len(dict(chunks(png(bytes(6), 3, 2, 3)))[b"PLTE"]) == 768


def test_curves_lie_within_the_drawing_the_high_above_the_low():
    drawn = curves([[-1.0, 0.0, 3.0], [2.0, float("nan"), 2.0]], -1.0, 3.0)
    lines = [
        [tuple(map(float, point.split())) for point in re.findall(r"[\d.]+ [\d.]+", found)]
        for found in re.findall(r'points="([^"]*)"', drawn)
    ]
    assert [x for x, _ in lines[0]] == [0, 80, 160]
    heights = [y for _, y in lines[0]]
    assert heights == sorted(heights, reverse=True)
    assert all(0 < y < 90 for line in lines for _, y in line)
    assert [x for x, _ in lines[1]] == [0, 160]
    assert "<path" in drawn, "there is a line at zero"
    assert "<path" not in curves([[1.0, 2.0]], 1.0, 2.0)
    assert curves([[5.0]], 5.0, 5.0).count("160 ") == 1
    assert curves([], 0.0, 0.0) == ""


# --- in a browser

WIDTHS = (320, 400, 1200)
MEASURE = """
const measured = {};
for (const frame of document.querySelectorAll("iframe")) {
  const page = frame.contentDocument, width = frame.clientWidth;
  const images = [...page.querySelectorAll("img")];
  measured[width] = {
    scrollWidth: page.documentElement.scrollWidth,
    sticksOut: [...page.body.querySelectorAll("*")].filter(element =>
      !element.closest(".scroll, svg") && element.getBoundingClientRect().right > width + 0.5).map(element => element.tagName),
    images: images.filter(image => image.complete && image.naturalWidth > 0 && image.getBoundingClientRect().width > 30).length,
    ink: frame.contentWindow.getComputedStyle(page.body).color,
    paper: frame.contentWindow.getComputedStyle(page.body).backgroundColor,
  };
}
document.getElementById("measured").textContent = JSON.stringify(measured);
"""


def in_a_browser(test):
    return pytest.mark.slow(pytest.mark.skipif(BROWSER is None, reason="Chromium is not installed")(test))


@pytest.fixture(scope="module")
def crowded(tmp_path_factory):
    long = "a_class_whose_name_knows_no_end_and_no_space_" * 2
    facts = made_up(classes=[long, *(f"class {number}" for number in range(60))], notes=["y" * 200], damaged={"x" * 90: "z" * 120})
    for split in facts["splits"].values():
        split["classes"] = [split["samples"]] + [0] * 60
    facts["samples"] = [sample(number, group) for number, group in enumerate([long] * 4 + ["class 1"] * 3 + ["class 2"])]
    return write_data_page(tmp_path_factory.mktemp("page") / "page.html", facts)


@in_a_browser
def test_it_opens_from_the_file_system_without_a_message(crowded, tmp_path):
    document, messages = browse(crowded, tmp_path / "profile")
    assert messages == []
    assert "Samples" in document


@in_a_browser
def test_it_fits_every_width_with_all_its_pictures(crowded, tmp_path):
    measured = measure(crowded, tmp_path, script=MEASURE, widths=WIDTHS)
    assert set(measured) == {320, 400, 1200}
    for width, values in measured.items():
        assert values["scrollWidth"] <= width
        assert values["sticksOut"] == []
        assert values["images"] == 16


@in_a_browser
def test_it_is_light_or_dark_as_the_reader_likes(crowded, tmp_path):
    light, dark = (
        measure(crowded, tmp_path, f"--blink-settings=preferredColorScheme={scheme}", script=MEASURE, widths=WIDTHS)[1200]
        for scheme in (1, 0)
    )
    assert brightness(light["paper"]) > 240 > 60 > brightness(light["ink"])
    assert brightness(dark["paper"]) < 60 < 200 < brightness(dark["ink"])
