"""What is told of one run of a comparison."""

from pathlib import Path

import pytest

from equimodal.study.jobs import Job, Outcome

SCORES = {"val": {"multimodal": 0.4, "image": 0.5, "audio": 0.3}}


@pytest.mark.parametrize(
    ("method", "score"),
    [("joint", 0.4), ({"name": "joint"}, 0.4), ({"name": "unimodal", "modality": "image"}, 0.5)],
)
def test_the_score_is_the_one_of_the_tables(method, score):
    outcome = Outcome(Job("run", {"method": method}, Path("run")), result={"scores": SCORES})
    assert outcome.score("val") == score
    assert outcome.score("test") is None


def test_a_failed_run_has_no_score():
    assert Outcome(Job("run", {"method": "joint"}, Path("run")), failure="why").score("val") is None
