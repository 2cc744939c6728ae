"""The verdict on models whose truth is known by construction."""

from functools import cache

import pytest

from diagnose.truths import TRUTHS
from equimodal.diagnose import diagnose


@cache
def findings(name):
    truth = TRUTHS[name]()
    found = diagnose(truth.model, truth.test, train=truth.train, split="test")
    assert "findings" not in found.skipped
    return {finding.kind: finding for finding in found.findings}, found.findings[0]


@pytest.mark.parametrize(
    ("truth", "first", "subject", "others"),
    [
        ("noise", "dominated", "audio", {"noise": "image"}),
        ("exclusive_or", "synergy", "multimodal", {"balanced": "multimodal"}),
        ("copied", "redundant", "multimodal", {}),
        ("frozen", "dominated", "audio", {"unused": "image"}),
        ("balanced", "balanced", "multimodal", {}),
        ("overfitted", "dominated", "audio", {"overfits": "multimodal", "harmful": "image", "worse than one": "audio"}),
    ],
)
def test_the_truth_is_found(truth, first, subject, others):
    found, leading = findings(truth)
    assert (leading.kind, leading.subject) == (first, subject)
    for kind, about in others.items():
        assert found[kind].subject == about


@pytest.mark.parametrize(
    ("truth", "wrong"),
    [
        ("noise", ("unused", "overfits", "balanced")),
        ("exclusive_or", ("dominated", "noise", "unused", "overfits")),
        ("copied", ("dominated", "noise", "unused", "balanced")),
        ("frozen", ("noise", "redundant", "balanced")),
        ("balanced", ("dominated", "leaning", "overfits", "noise", "redundant", "uncertain")),
        ("overfitted", ("balanced", "unused")),
    ],
)
def test_nothing_else_is_claimed(truth, wrong):
    found, _ = findings(truth)
    assert not set(wrong) & found.keys()


def test_nothing_is_done_where_nothing_should_be():
    for truth in ("copied", "balanced"):
        _, leading = findings(truth)
        assert leading.advice is None
    found, leading = findings("noise")
    assert leading.advice is None
    assert found["noise"].advice.startswith("Leave the balance as it is.")


def test_the_frozen_encoder_is_named():
    found, _ = findings("frozen")
    assert "Its encoder is frozen: none of its" in found["unused"].sentence
