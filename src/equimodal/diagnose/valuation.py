"""What each sample needs: one modality, either, several together, or none of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import torch
from torch import Tensor

from equimodal.errors import InputError

__all__ = ["minimal_sets", "valuation", "valuation_names"]

_NUMBERS = ("none", "one", "two", "three", "four", "five", "six")


def valuation_names(modalities: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the groups into which :func:`valuation` divides the samples, in its order.

    >>> valuation_names(["audio", "image"])
    ('audio alone', 'image alone', 'either', 'both needed', 'without any', 'conflict', 'neither')
    >>> valuation_names(["audio", "image", "text"])[3:]
    ('any of several', 'two needed', 'all needed', 'without any', 'conflict', 'none')
    """
    two = len(modalities) == 2
    together = [f"{_NUMBERS[size] if size < len(_NUMBERS) else size} needed" for size in range(2, len(modalities))]
    needed = ["both needed"] if two else [*together, "all needed"]
    alone = [f"{name} alone" for name in modalities]
    return (*alone, "either" if two else "any of several", *needed, "without any", "conflict", "neither" if two else "none")


def minimal_sets(correct: Mapping[frozenset[str], Tensor], modalities: Sequence[str]) -> dict[frozenset[str], Tensor]:
    r"""Return for every set of modalities the samples of which it is a minimal sufficient set.

    Let :math:`r_i(S)` say whether the model is right about sample *i* when it has the modalities *S* and the others are ablated.

    - *S* is sufficient for *i* when :math:`r_i(T)` holds for every :math:`T \supseteq S`: the answer is right from *S*, and whatever is
      added to it does not change that.
    - It is minimal when no proper subset is sufficient.

    A sample has none when the model is wrong about it with all modalities; else one or more, none of which contains another. In the words
    of simple games these are the winning coalitions and the minimal ones among them.

    :param correct: by set of modalities ``[samples]`` booleans, for all sets. The empty one may be left out, and then is never sufficient.
    :param modalities: the names of all.
    :returns: by set ``[samples]`` booleans, the smaller sets first.
    :raises InputError: for a set that is missing.
    """
    sets = _sets(correct, modalities)
    sufficient: dict[frozenset[str], Tensor] = {}
    for chosen in reversed(sets):
        larger = [sufficient[chosen | {name}] for name in modalities if name not in chosen]
        sufficient[chosen] = torch.stack([correct[chosen], *larger]).all(dim=0)
    found = {}
    for chosen in sets:
        smaller = [sufficient[chosen - {name}] for name in chosen if chosen - {name} in sufficient]
        found[chosen] = sufficient[chosen] & ~torch.stack([torch.zeros_like(sufficient[chosen]), *smaller]).any(dim=0)
    return found


def valuation(correct: Mapping[frozenset[str], Tensor], modalities: Sequence[str]) -> dict[str, Tensor]:
    """Divide the samples by what the model needs to be right about them; every sample is in exactly one group.

    The groups go by the sample's smallest sufficient sets, as :func:`minimal_sets` defines them:

    - ``"audio alone"``: audio is the only modality that suffices by itself.
    - ``"either"`` (more than two modalities: ``"any of several"``): two or more suffice, each by itself. Redundant.
    - ``"both needed"`` (``"two needed"``, ``"three needed"``, …, ``"all needed"``): no smaller set suffices. Synergy.
    - ``"without any"``: right also with every modality ablated, and with any set of them: nothing needs to be seen. With *K* classes
      about 1/K of the samples, those of the class that the model falls back on.
    - ``"conflict"``: wrong with all modalities, although right with some of them: the others mislead.
    - ``"neither"`` (``"none"``): wrong with any set of them.

    The groups before ``"conflict"`` add up to the accuracy of the joint model. Single samples are also right by luck, most often where
    there are few classes: shares say less there than Shapley values, which subtract what the empty set scores.

    >>> right = torch.tensor
    >>> correct = {
    ...     frozenset(): right([False, False, True, False]),
    ...     frozenset({"audio"}): right([True, False, True, True]),
    ...     frozenset({"image"}): right([False, False, True, False]),
    ...     frozenset({"audio", "image"}): right([True, True, True, False]),
    ... }
    >>> {name: flags.tolist().index(True) for name, flags in valuation(correct, ("audio", "image")).items() if flags.any()}
    {'audio alone': 0, 'both needed': 1, 'without any': 2, 'conflict': 3}

    :param correct: by set of modalities ``[samples]``, which samples are predicted right when the others are ablated; for all sets, of
        which the empty one may be left out: there is no ``"without any"`` then.
    :param modalities: the names of all, two or more.
    :returns: by name of :func:`valuation_names` ``[samples]`` booleans.
    :raises InputError: for a set that is missing.
    """
    minimal = minimal_sets(correct, modalities)
    names = list(valuation_names(modalities))
    right = correct[frozenset(modalities)]
    # How many minimal sets of each size a sample has.
    by_size = torch.zeros(len(modalities) + 1, len(right), dtype=torch.int64)
    for chosen, flags in minimal.items():
        by_size[len(chosen)] += flags
    smallest = (by_size > 0).long().argmax(dim=0)
    one = right & (smallest == 1)
    several = one & (by_size[1] > 1)
    found = {f"{name} alone": one & ~several & minimal[frozenset({name})] for name in modalities}
    found[names[len(modalities)]] = several
    for size in range(2, len(modalities) + 1):
        found[names[len(modalities) + size - 1]] = right & (smallest == size)
    if frozenset() in correct:
        found["without any"] = right & (smallest == 0)
    parts = [flags for chosen, flags in correct.items() if chosen]
    sometimes = torch.stack(parts).any(dim=0)
    found["conflict"] = ~right & sometimes
    found[names[-1]] = ~sometimes
    return found


def _sets(correct: Mapping[frozenset[str], Tensor], modalities: Sequence[str]) -> list[frozenset[str]]:
    every = [frozenset(chosen) for size in range(len(modalities) + 1) for chosen in combinations(modalities, size)]
    missing = next((chosen for chosen in every if chosen and chosen not in correct), None)
    if missing is not None:
        raise InputError(f"valuation needs the predictions of every set of modalities: {' and '.join(sorted(missing))} is missing")
    return [chosen for chosen in every if chosen in correct]
