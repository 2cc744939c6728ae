"""Who is in which split."""

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from equimodal.data.splitting import by_group, by_hash, check_disjoint, check_unique, class_numbers, shares
from equimodal.errors import InputError

PAPER = {"train": 5210, "val": 1116, "test": 1116}


@given(st.integers(0, 20_000), st.lists(st.integers(1, 9000), min_size=2, max_size=4))
def test_shares_add_up_and_are_within_one_sample_of_the_proportion(total, sizes):
    named = {str(number): size for number, size in enumerate(sizes)}
    found = shares(total, named)
    assert sum(found.values()) == total
    assert all(abs(found[name] - total * size / sum(sizes)) < 1 for name, size in named.items())


def test_the_paper_s_sizes_come_out_of_its_total():
    ids = [f"{number:04d}" for number in range(7442)]
    assert {name: len(rows) for name, rows in by_hash(ids, PAPER, 0).items()} == PAPER


def test_a_split_depends_on_names_and_seed_not_on_their_order():
    ids = [f"clip{number}" for number in range(200)]
    there = {ids[row] for row in by_hash(ids, PAPER, 0)["val"]}
    back = list(reversed(ids))
    assert {back[row] for row in by_hash(back, PAPER, 0)["val"]} == there
    assert {ids[row] for row in by_hash(ids, PAPER, 1)["val"]} != there


def test_a_missing_sample_moves_at_most_one_other_over_each_boundary():
    ids = [f"clip{number}" for number in range(200)]
    whole = {ids[row]: split for split, rows in by_hash(ids, PAPER, 0).items() for row in rows}
    fewer = [name for name in ids if name != "clip7"]
    now = {fewer[row]: split for split, rows in by_hash(fewer, PAPER, 0).items() for row in rows}
    assert sum(now[name] != whole[name] for name in fewer) <= 2


def test_groups_stay_together_and_every_sample_is_in_one_split():
    groups = [f"actor{number % 17}" for number in range(300)]
    splits = by_group(groups, PAPER, 0)
    assert sorted(numpy.concatenate(list(splits.values())).tolist()) == list(range(300))
    check_disjoint(groups, splits, "actor", "here")
    assert len({groups[row] for row in splits["train"]}) == 12


def test_a_leak_is_named():
    with pytest.raises(InputError, match=r"^table.csv: speaker 'ann' is in train and in test: a split by speaker must keep them apart$"):
        check_disjoint(["ann", "bob", "ann"], {"train": [0], "val": [1], "test": [2]}, "speaker", "table.csv")


def test_duplicates_are_named():
    check_unique(["a", "b"], "here")
    with pytest.raises(InputError, match=r"^here: 'b' stands there more than once \(2 such names\): remove the duplicates$"):
        check_unique(["a", "b", "b", "c", "c", "c"], "here")


def test_an_unknown_label_is_named_with_the_nearest():
    with pytest.raises(InputError, match=r"^labels.csv: unknown label 'ANGRY' of sample 2: did you mean 'ANG'\?$"):
        class_numbers(["SAD", "ANGRY"], ["ANG", "SAD"], "labels.csv")
