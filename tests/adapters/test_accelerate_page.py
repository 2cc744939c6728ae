"""The page on Accelerate and Fabric: both sides of its diffs train."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

PAGE = (Path(__file__).parents[2] / "docs" / "guide" / "accelerate.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


def side(diff, sign):
    return "\n".join(line[1:] for line in diff.splitlines() if line[:1] in (" ", "", sign))


@pytest.fixture(autouse=True)
def _fresh():
    yield
    from accelerate.state import AcceleratorState, GradientState

    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


@pytest.mark.parametrize(("number", "package"), [(0, "accelerate"), (1, "lightning")])
def test_both_sides_of_a_diff_train(number, package, tmp_path, monkeypatch):
    pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    diff = blocks("diff")[number]
    assert sum(line.startswith("+") for line in diff.splitlines()) <= 5
    ends = []
    for sign in "-+":
        names = {}
        torch.manual_seed(0)
        exec(blocks("python")[0], names)
        exec(side(diff, sign), names)
        assert names["scores"]["multimodal"] > 0.5
        ends.append(names)
    without, with_miles = ends
    assert "miles" not in without
    assert len(with_miles["miles"].history) == with_miles["epochs"]
    assert with_miles["miles"].multipliers == {"image": 0.5, "audio": 1.0}
    pairs = zip(without["model"].parameters(), with_miles["model"].parameters(), strict=True)
    assert not all(torch.equal(one, other) for one, other in pairs)
    if package == "lightning":
        assert "pairs" in torch.load("checkpoint.pt")["miles"]
