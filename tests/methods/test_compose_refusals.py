"""What does not go together in a composition, each in one clear line and before anything is written."""

from __future__ import annotations

import pytest

from cli.tiny import Weighted
from equimodal import InputError, fit
from equimodal.methods.gblend import GBlend
from equimodal.methods.joint import Joint
from equimodal.methods.miles import MILESMethod
from equimodal.methods.mses import MSES
from equimodal.methods.mslr import MSLRKeep
from equimodal.methods.ogm import OGM, OGMGE
from equimodal.methods.unimodal import Unimodal
from equimodal.methods.vanilla import Vanilla
from equimodal.testing import tiny_problem
from equimodal.train.config import resolve
from train.examples import one_line

from .own import Nameless, Noisy, Owner, Watcher

RATES = {"audio": 0.01, "image": 0.1}


def start(method, **options):
    problem = tiny_problem()
    return fit(problem.model, problem.train, problem.val, epochs=2, method=method, device="cpu", **options)


HEADS = "{} has heads = '{}' and {} has heads = '{}', which decide the loss: let them agree, or leave one of them out"
BOTH = "both {} and {} decide {}: leave one of them out"
OWNED = "owner owns the whole step, so {}: leave one of them out"

CONFLICTS = [
    (lambda: [MILESMethod(), MSES()], BOTH.format("miles", "mses", "the learning rates")),
    (lambda: [MSLRKeep(RATES), MILESMethod()], BOTH.format("mslr-k", "miles", "the learning rates")),
    (lambda: [OGM(), OGMGE()], BOTH.format("ogm", "ogm-ge", "the gradients")),
    (lambda: [OGM(), MILESMethod(), Noisy()], BOTH.format("ogm", "noisy", "the gradients")),
    (lambda: [GBlend(), OGM()], BOTH.format("gblend", "ogm", "the loss")),
    (lambda: [Unimodal("audio"), Vanilla()], BOTH.format("unimodal", "vanilla", "the loss")),
    (lambda: [Weighted(), Joint()], BOTH.format("weighted", "joint", "the loss")),
    (lambda: [Vanilla(), Joint()], HEADS.format("vanilla", "probes", "joint", "trained")),
    (lambda: [MSLRKeep(RATES), OGM()], HEADS.format("mslr-k", "trained", "ogm", "probes")),
    (lambda: [Noisy(), Owner()], OWNED.format("noisy cannot decide the gradients")),
    (lambda: [Owner(), Joint()], OWNED.format("joint cannot decide the loss")),
    (lambda: [Watcher(), Owner()], OWNED.format("watcher cannot observe its predictions")),
    (lambda: [MILESMethod(), MILESMethod(tau=0.1)], "miles + miles: a method stands in a composition once"),
    (list, "a composition has two methods or more, got 0"),
    (
        lambda: ["miles", 3],
        "method = 3: a name such as 'miles' is needed, or a method with its hyper-parameters, such as "
        "equimodal.methods.miles.MILESMethod(tau=0.1)",
    ),
    (lambda: [MILESMethod(), Nameless()], "Nameless has no name: give the class one, under which the composition keeps its state"),
]


@pytest.mark.parametrize(("made", "said"), CONFLICTS, ids=[said for _, said in CONFLICTS])
def test_every_conflict_is_one_clear_line_before_anything_is_written(made, said, tmp_path):
    with pytest.raises(InputError) as caught:
        start(made(), out=tmp_path / "run")
    assert one_line(caught) == said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("miles+mses", "method 'miles+mses': both miles and mses decide the learning rates: leave one of them out"),
        ("miles+ogn", "unknown method 'ogn': did you mean 'ogm'?"),
        (["miles", "miles"], "method = ['miles', 'miles']: give each method once"),
        (
            {"name": "miles+ogm", "tau": 0.1},
            "method 'miles+ogm' has no option 'tau': options stand under the names of its methods, such as ",
        ),
        ({"name": "miles+ogm", "ogm": 3}, "method 'miles+ogm' has no option 'ogm': options stand under the names of its methods, such as "),
        ({"name": "miles+ogm", "ogm": {"alpa": 3}}, "method 'ogm' has no option 'alpa': did you mean 'alpha'?"),
        ([{"name": "ogm", "alpha": -1}, "miles"], "method 'ogm': alpha = -1.0: a number of at least 0 is needed"),
    ],
    ids=str,
)
def test_configurations_are_refused_in_one_line(method, said):
    with pytest.raises(InputError) as caught:
        resolve({"dataset": "cli.tiny:Tiny", "method": method})
    assert one_line(caught).startswith(said)


def test_what_does_not_conflict_goes_together():
    for methods in (
        [MSLRKeep(RATES, heads="probes"), OGMGE()],
        [MILESMethod(), Joint()],
        [MSES(), Vanilla()],
        [GBlend(fraction=0.25), MSES()],
    ):
        run = start(methods)
        assert run.result["method"] == "+".join(method.name for method in methods)
