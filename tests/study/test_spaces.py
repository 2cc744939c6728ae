"""What a search draws: the same for all where it is shared, each method's own where it is not, and never anything else."""

import hashlib
import math
import random
import statistics

import pytest

from equimodal import InputError
from equimodal.methods.space import Choice, LogUniform, Uniform
from equimodal.study.series import Start
from equimodal.study.spaces import LEARNING_RATE, SHARED, described, draw, method_space, overridden, read_range, shared_space

from .small import DATA, series_of, small

OTHER_DATA = {"dataset": "cli.tiny:Tiny", "label": "other"}
MANY = {"methods": ["joint", "miles", "vanilla", "mslr-s"], "fusions": ["concat", "sum"], "trials": 5}


def drawn(declaration, name, count=5):
    """The hyper-parameters of a search's first trials."""
    return [series_of(declaration)[name].draft(number, Start()).params for number in range(count)]


def searches(declaration):
    return [series for series in series_of(declaration).values() if series.kind == "search"]


# --- who sees which values


def test_all_rows_see_the_same_learning_rate_at_the_same_trial_number():
    declaration = small(**MANY, datasets=[DATA, OTHER_DATA])
    rows = searches(declaration)
    assert len(rows) == 2 * (2 + 2 * 4)
    for number in range(5):
        assert len({series.draft(number, Start()).params[LEARNING_RATE] for series in rows}) == 1
    assert len({one[LEARNING_RATE] for one in drawn(declaration, "tiny/concat/joint")}) == 5


def test_a_method_s_own_values_are_drawn_for_it_alone():
    space = {"method.x": Uniform(0.0, 1.0)}
    options = {"root": 0, "study": "small", "trial": 3}
    ours, theirs = (draw(SHARED, space, method=method, **options) for method in ("ours", "theirs"))
    assert ours["method.x"] != theirs["method.x"]
    assert ours[LEARNING_RATE] == theirs[LEARNING_RATE]


def test_draws_are_those_of_their_definition():
    """The seed of a draw is the beginning of a SHA-256; worked out here once more, as a study's draws must never change."""

    def generator(*purpose):
        digest = hashlib.sha256("/".join(map(str, purpose)).encode()).digest()
        return random.Random(int.from_bytes(digest[:8], "big") >> 1)

    found = draw(SHARED, {"method.tau": Uniform(0.0, 0.5)}, root=7, study="small", method="miles", trial=2)
    exponent = generator(7, "search", "small", 2, "optimizer.lr").uniform(math.log(1e-4), math.log(1e-2))
    tau = generator(7, "search", "small", "miles", 2, "method.tau").uniform(0.0, 0.5)
    assert found == {"optimizer.lr": pytest.approx(math.exp(exponent), rel=1e-12), "method.tau": tau}


@pytest.mark.parametrize(
    "more",
    [
        {"trials": 9},
        {"seeds": 4},
        {"methods": ["mslr-k", "miles", "vanilla"]},
        {"fusions": ["sum", "concat"]},
        {"datasets": [OTHER_DATA, DATA]},
        {"epochs": 7},
        {"search": {"methods": {"miles": {"smoothing": {"low": 0.0, "high": 0.5}}}}},
    ],
    ids=lambda more: next(iter(more)),
)
def test_more_of_anything_changes_no_draw(more):
    before = small(methods=["joint", "miles"])
    after = small(**{"methods": ["joint", "miles"], **more})
    for name in ("tiny/alone/image", "tiny/concat/joint", "tiny/concat/miles"):
        kept = [{path: value for path, value in one.items() if path != "method.smoothing"} for one in drawn(after, name)]
        assert kept == drawn(before, name)


def test_another_seed_or_name_draws_anew():
    known = [drawn(declaration, "tiny/concat/joint") for declaration in (small(), small(seed=1), small(name="other"))]
    assert known[0] != known[1]
    assert known[0] != known[2]


def test_what_looks_at_training_scores_is_searched_with_the_draws_of_miles():
    declaration = small(methods=["miles"], ablations={"tau": [], "mu": [], "example": None})
    assert drawn(declaration, "tiny/concat/training-scores") == drawn(declaration, "tiny/concat/miles")


# --- ranges


@pytest.mark.parametrize(
    "given",
    [
        {"low": 1e-4, "high": 1e-2, "log": True},
        {"low": 0.1, "high": 0.1, "log": True},
        {"low": 0.3, "high": 0.3},
        {"low": -2, "high": 5},
        {"low": 1e-300, "high": 1e300, "log": True},
        [3, 5, None, "x"],
        True,
    ],
    ids=str,
)
def test_draws_keep_within_their_range_and_reach_all_of_it(given):
    space = read_range(given, "x")
    values = [draw({"x": space}, {}, root=0, study="s", method="m", trial=trial)["x"] for trial in range(400)]
    assert all(value in space for value in values)
    if isinstance(space, Choice):
        assert set(values) == set(space.values)
    elif isinstance(space, LogUniform):
        middle = math.sqrt(space.low) * math.sqrt(space.high)
        assert space.low == space.high or 150 < sum(value < middle for value in values) < 250
    else:
        assert statistics.fmean(values) == pytest.approx((space.low + space.high) / 2, abs=0.1 * (space.high - space.low))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"low": 0.1, "high": 0.01}, r"x goes from 0.1 to 0.01: low must not lie above high"),
        ({"low": 0, "high": 1, "log": True}, r"x.low = 0: a logarithmic range lies above 0"),
        ({"low": -1, "high": 1, "log": True}, r"x.low = -1: a logarithmic range lies above 0"),
        ({"low": math.nan, "high": 1}, r"x.low = nan: a finite number"),
        ({"low": 0, "high": math.inf}, r"x.high = inf: a finite number"),
        ({"low": 0, "high": 10**400}, r"x.high = 1000*: a finite number"),
        ({"low": "a", "high": 1}, r"x.low = 'a': a finite number"),
        ({"low": False, "high": 1}, r"x.low = False: a finite number"),
        ({"low": 1}, r"x.high = None: a finite number"),
        ({}, r"x.low = None: a finite number"),
        ({"low": 0.1, "high": 0.2, "log": "yes"}, r"x.log = 'yes': true or false"),
        ({"low": 0.1, "hihg": 0.2}, r"unknown key 'hihg' in x: did you mean 'high'\?"),
        ([], r"x = \[\]: give at least one value"),
        ([math.nan], r"x has the choice nan"),
        ([[1, 2]], r"x has the choice \[1, 2\]"),
    ],
    ids=str,
)
def test_impossible_ranges_are_refused(given, said):
    with pytest.raises(InputError, match=f"^{said}") as error:
        read_range(given, "x")
    assert "\n" not in str(error.value)


def test_a_range_can_be_written_down_and_read_again():
    space = {"a": LogUniform(1e-4, 1e-2), "b": Uniform(0.0, 0.5), "c": Choice((3, None, "x"))}
    assert {path: read_range(given, path) for path, given in described(space).items()} == space


def test_a_method_s_range_is_its_own_unless_the_file_says_otherwise():
    own = method_space("miles", None)
    assert set(own) == {"method.tau", "method.mu"}
    changed = method_space("miles", {"tau": {"low": 0.1, "high": 0.2}, "every": [1, 2]})
    assert changed == {"method.tau": Uniform(0.1, 0.2), "method.mu": own["method.mu"], "method.every": Choice((1, 2))}


def test_the_methods_of_a_composition_keep_their_ranges_apart():
    found = method_space("miles+mslr-s", {"miles": {"tau": [0.1]}})
    assert set(found) == {"method.miles.tau", "method.miles.mu", "method.mslr-s.strength"}
    assert found["method.miles.tau"] == Choice((0.1,))
    with pytest.raises(
        InputError, match=r"search.methods.miles\+mslr-s.tau: the options stand under the names of its methods, miles, mslr-s"
    ):
        method_space("miles+mslr-s", {"tau": [0.1]})


def test_only_what_all_methods_have_can_be_shared():
    assert shared_space({"batch_size": [16, 32]}) == {**SHARED, "batch_size": Choice((16, 32))}
    with pytest.raises(InputError, match=r"^search.optimzer.lr: .*did you mean 'optimizer.lr'\?"):
        shared_space({"optimzer.lr": 0.1})
    with pytest.raises(InputError, match=r"^search.method.tau: what all methods share is"):
        shared_space({"method.tau": 0.1})


# --- what differs from the methods' own is said


def test_nothing_is_overridden_where_the_file_gives_no_range():
    assert small(methods="all").overridden == ()


def test_every_range_of_the_file_is_named_with_the_one_that_it_stands_for():
    search = {
        "optimizer.lr": {"low": 0.001, "high": 0.1, "log": True},
        "batch_size": [16, 32],
        "methods": {"miles": {"tau": {"low": 0.0, "high": 0.2}, "every": [1, 2]}},
    }
    assert small(methods=["miles"], search=search).overridden == (
        "optimizer.lr searched over 0.001 to 0.1, evenly in its logarithm (0.0001 to 0.01, evenly in its logarithm by default)",
        "batch_size searched over 16, 32 (not searched by default)",
        "miles: tau searched over 0 to 0.2 (0 to 0.5 in its own space)",
        "miles: every searched over 1, 2 (not searched in its own space)",
    )


def test_a_range_that_repeats_a_method_s_own_is_not_named():
    same = {"optimizer.lr": {"low": 1e-4, "high": 1e-2, "log": True}, "methods": {"miles": {"tau": {"low": 0, "high": 0.5}}}}
    assert overridden(same, ["joint", "miles"]) == ()
