"""``equimodal methods``."""

import pytest

from equimodal.cli.methods import plain_text
from equimodal.methods import methods


def test_every_method_is_listed_with_its_fidelity_and_summary(run_command):
    shown = run_command("methods")
    for name, method in methods.classes().items():
        (line,) = (line for line in shown.splitlines() if line.startswith(f"{name} "))
        assert line.split()[1] == method.fidelity
        assert len(line.split()) > 4


@pytest.mark.parametrize("name", methods.names())
def test_a_page_is_plain_text_with_every_option(run_command, name):
    shown = run_command("methods", name)
    method = methods.get(name)
    for option in method.option_names():
        assert f"--method.{option} " in shown
    assert method.paper.split(",")[0] in shown
    assert method.fidelity in shown
    for markup in ("`", ":math:", ":class:", ":param", ">>>", "\\", ".. "):
        assert markup not in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_options_are_explained_with_default_and_range(run_command):
    shown = run_command("methods", "miles")
    assert "--method.tau  (default 0.2; searched: 0 to 0.5)" in shown
    assert "target difference threshold τ" in shown
    assert "--method.modality  (required)" in run_command("methods", "unimodal")


def test_a_method_from_elsewhere_is_explained_too(run_command):
    shown = run_command("methods", "cli.tiny:Weighted")
    assert "Joint training with a weight on everything." in shown
    assert "multiplies the loss." in shown


def test_a_mistyped_name_is_answered_with_the_nearest(refused):
    assert "unknown method 'mile': did you mean 'miles'?" in refused("methods", "mile")
    assert "cannot be imported" in refused("methods", "nowhere:Nothing")


@pytest.mark.parametrize(
    ("markup", "plain"),
    [
        ("``lr`` and `x`", "lr and x"),
        (":class:`MILES`, :class:`~equimodal.nn.JointFusion`, :meth:`a.b`", "MILES, JointFusion, a.b"),
        (":math:`\\delta \\le \\tau` and :math:`\\alpha_{m}`", "δ ≤ τ and α_m"),
        ("encoder *m* of 2 * 3 * 4", "encoder m of 2 * 3 * 4"),
        ("two\n    lines", "two lines"),
    ],
)
def test_markup_becomes_plain_text(markup, plain):
    assert plain_text(markup) == plain
