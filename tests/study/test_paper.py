"""The paper's figures: sums that must hold, and the places where the paper is at odds with itself."""

from __future__ import annotations

import pytest

from equimodal.data import datasets
from equimodal.study import paper

METHODS = ("vanilla", "mslr-k", "mslr-s", "mslr-d", "ogm", "ogm-ge", "mses", "gblend", "miles")
ROWS = [(key, fusion, row) for key in paper.TITLES for fusion in ("concat", "sum") for row in METHODS]
OWN_INCONSISTENCIES = {("luma", "concat", "miles")}


@pytest.mark.parametrize(("key", "fusion", "row"), ROWS, ids="-".join)
def test_delta_is_the_difference_of_the_heads_but_where_the_paper_errs(key, fusion, row):
    strong, weak = paper.modalities_of(key)
    figures = paper.scores(key, fusion, row)
    assert list(figures) == ["multimodal", strong, weak, "difference"]
    off = abs(figures[strong] - figures[weak] - figures["difference"])
    # Differences of numbers with one decimal, each rounded by itself, may be 0.1 apart.
    assert (off > 0.11) == ((key, fusion, row) in OWN_INCONSISTENCIES)


def test_every_score_is_a_percentage():
    for key, fusion, row in ROWS:
        figures = dict(paper.scores(key, fusion, row))
        del figures["difference"]
        assert all(20 < value <= 100 for value in figures.values())


def test_the_headline_of_the_paper():
    """Vanilla and MILES with concatenation: multimodal score, then the weaker head."""
    headline = {
        "cremad": (62.6, 75.1, 26.6, 60.8),
        "smnist": (98.4, 99.8, 53.9, 84.9),
        "luma": (98.2, 99.7, 29.8, 75.1),
        "mmimdb": (63.3, 65.1, 27.9, 36.6),
    }
    for key, numbers in headline.items():
        weak = paper.modalities_of(key)[-1]
        found = [paper.scores(key, "concat", row) for row in ("vanilla", "miles")]
        assert (*[one["multimodal"] for one in found], *[one[weak] for one in found]) == numbers


@pytest.mark.parametrize("fusion", ["concat", "sum"])
def test_tables_iv_and_v_meet_in_the_configuration_that_both_have(fusion):
    """That also tells which of Table V's swapped columns is which."""
    assert paper.tau_figures(fusion)[0.2] == paper.mu_figures(fusion)[0.5]
    assert list(paper.tau_figures(fusion)) == [0.5, 0.3, 0.2, 0.1, 0.0]
    assert list(paper.mu_figures(fusion)) == [1.0, 0.75, 0.5, 0.25, 0.1, 0.05, 0.01]
    # A smaller μ helps the image and costs the audio throughout.
    images, audios = ([row[head] for row in paper.mu_figures(fusion).values()] for head in ("image", "audio"))
    assert images == sorted(images)
    assert audios == sorted(audios, reverse=True)


@pytest.mark.parametrize("fusion", ["concat", "sum"])
def test_table_vi_repeats_tables_ii_and_iii_for_validation_scores(fusion):
    repeated = dict(paper.training_figures(fusion, "val"))
    repeated.pop("epoch")
    assert {**repeated, "difference": paper.scores("luma", fusion, "miles")["difference"]} == paper.scores("luma", fusion, "miles")
    assert paper.tau_figures(fusion)[0.2] == repeated
    assert paper.training_figures(fusion, "train")["epoch"] == 53


def test_table_i_has_the_stronger_modality_first_and_names_the_metric_as_printed():
    for key in paper.TITLES:
        strong, weak = (paper.unimodal_figure(key, modality) for modality in paper.modalities_of(key))
        assert strong[0] > weak[0]
        assert strong[1] == weak[1] == ("F1" if key == "luma" else "accuracy")


def test_a_frame_encoder_exceeds_the_model_of_that_modality_alone_as_the_paper_has_it():
    assert paper.scores("cremad", "concat", "miles")["image"] > paper.unimodal_figure("cremad", "image")[0]


def test_what_the_paper_lacks_is_none():
    assert paper.scores("luma", "concat", "joint") is None
    assert paper.scores("luma", "late", "miles") is None
    assert paper.scores("avdigits", "concat", "miles") is None
    assert paper.unimodal_figure("luma", "text") is None
    assert paper.training_figures("late", "val") is None
    assert paper.tau_figures("late") == paper.mu_figures("late") == {}


@pytest.mark.parametrize("key", paper.TITLES)
def test_the_papers_data_sets_have_our_names_and_modalities(key):
    assert paper.likeness(key) == paper.Likeness(key, same=True)
    assert datasets.get(key).modalities == paper.modalities_of(key)


@pytest.mark.parametrize(("name", "title"), [("avdigits", "S-MNIST"), ("digits-av", "S-MNIST"), ("wiki-image-text", "MM-IMDb")])
def test_a_data_set_that_the_paper_lacks_is_like_one_with_the_same_modalities(name, title):
    like = paper.likeness(name)
    assert (like.title, like.same) == (title, False)
    assert set(datasets.get(name).modalities) == set(paper.modalities_of(like.key))


def test_a_data_set_like_none_of_the_papers_is_like_none():
    assert paper.likeness("utd-mhad") is None
    assert paper.likeness("my-own") is None
