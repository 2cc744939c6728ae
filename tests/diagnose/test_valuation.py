"""What samples need: every sample in one group, and the groups mean what they say."""

from __future__ import annotations

from itertools import combinations, product

import pytest
import torch

from equimodal.diagnose.valuation import minimal_sets, valuation, valuation_names
from equimodal.errors import InputError

NAMES = ("audio", "image", "text", "depth")


def subsets(names, empty=True):
    sizes = range(0 if empty else 1, len(names) + 1)
    return [frozenset(chosen) for size in sizes for chosen in combinations(names, size)]


def every_case(names):
    """Return all ways in which a model can be right or wrong about a sample, one sample each."""
    sets = subsets(names)
    cases = torch.tensor(list(product([False, True], repeat=len(sets))))
    return dict(zip(sets, cases.T, strict=True))


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("empty", [True, False])
def test_every_sample_is_in_exactly_one_group(count, empty):
    names = NAMES[:count]
    correct = every_case(names)
    if not empty:
        correct.pop(frozenset())
    found = valuation(correct, names)
    assert [name for name in valuation_names(names) if empty or name != "without any"] == list(found)
    assert (torch.stack(list(found.values())).sum(dim=0) == 1).all()
    right = torch.stack([flags for name, flags in found.items() if name not in ("conflict", valuation_names(names)[-1])]).any(dim=0)
    assert torch.equal(right, correct[frozenset(names)]), "the groups of what is right are the joint model's accuracy"


def test_all_sixteen_cases_of_two_modalities():
    a, b = frozenset({"audio"}), frozenset({"image"})
    correct = every_case(("audio", "image"))
    found = valuation(correct, ("audio", "image"))
    for sample in range(16):
        nothing, audio, image, both = (bool(correct[chosen][sample]) for chosen in (frozenset(), a, b, a | b))
        if not both:
            wanted = "conflict" if audio or image else "neither"
        elif audio and image:
            wanted = "without any" if nothing else "either"
        else:
            wanted = "audio alone" if audio else "image alone" if image else "both needed"
        assert [name for name, flags in found.items() if flags[sample]] == [wanted]


def test_minimal_sets_are_those_found_by_hand():
    names = NAMES[:3]
    correct = every_case(names)
    found = minimal_sets(correct, names)
    for sample in range(0, 256, 7):
        enough = [s for s in subsets(names) if all(bool(correct[t][sample]) for t in subsets(names) if t >= s)]
        minimal = {s for s in enough if not any(t < s for t in enough)}
        assert {s for s, flags in found.items() if flags[sample]} == minimal


def test_three_modalities_go_by_the_size_of_the_smallest_set():
    names = NAMES[:3]

    def right_with(*sufficient):
        return {s: torch.tensor([any(s >= frozenset(one) for one in sufficient)]) for s in subsets(names)}

    def group(*sufficient):
        return next(name for name, flags in valuation(right_with(*sufficient), names).items() if flags)

    assert group({"text"}) == "text alone"
    assert group({"text"}, {"audio", "image"}) == "text alone"
    assert group({"text"}, {"audio"}) == "any of several"
    assert group({"audio", "image"}) == "two needed"
    assert group({"audio", "image"}, {"audio", "text"}) == "two needed"
    assert group(set(names)) == "all needed"
    assert group(set()) == "without any"
    assert group() == "none"


def test_four_modalities_have_a_group_of_three():
    assert valuation_names(NAMES)[4:8] == ("any of several", "two needed", "three needed", "all needed")


def test_a_missing_set_is_named():
    correct = every_case(("audio", "image"))
    correct.pop(frozenset({"image"}))
    with pytest.raises(InputError, match="image is missing"):
        valuation(correct, ("audio", "image"))
