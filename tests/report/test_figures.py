"""What is drawn in the figures."""

from __future__ import annotations

import math
import sys

import pytest

from equimodal.errors import InputError, MissingDependency
from equimodal.report import RunRecord, learning_curves, learning_dynamics, plot_simulation
from equimodal.report.style import INK, MULTIMODAL_STYLE, modality_styles

from .examples import MODALITIES, demo, epoch_record, run, three_modalities

pytest.importorskip("matplotlib", reason="figures need matplotlib")


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def line_of(axes, name):
    style = MULTIMODAL_STYLE if name == "multimodal" else modality_styles(MODALITIES)[name]
    return next(line for line in axes.lines if line.get_color() == style.color and len(line.get_xdata()) > 1)


def test_figure_1_draws_heads_on_the_left_and_single_modalities_on_the_right():
    image, audio, vanilla, *_ = demo()
    figure = learning_curves(vanilla, [image, audio])
    inside, alone = figure.axes
    assert legend(figure) == ["multimodal", "image", "audio"]
    for name in ("multimodal", "image", "audio"):
        drawn = list(line_of(inside, name).get_ydata())
        assert drawn == pytest.approx([100 * value for value in vanilla.series("scores", "val", name)])
    assert list(line_of(alone, "audio").get_ydata()) == pytest.approx([100 * value for value in audio.series("scores", "val", "audio")])
    assert inside.get_ylim() == alone.get_ylim()
    assert "vanilla" in inside.get_title(loc="left")


def test_figure_1_without_unimodal_models_has_one_panel():
    assert len(learning_curves(demo()[2]).axes) == 1


def test_figure_2_has_its_four_panels():
    miles = demo()[4]
    figure = learning_dynamics(miles)
    utilization, gap, rates, scores = figure.axes
    assert list(line_of(utilization, "image").get_ydata()) == miles.series("utilization", "image")
    assert list(line_of(gap, "multimodal").get_ydata()) == miles.series("gap")
    assert [text.get_text() for text in gap.texts] == ["τ = 0.2"]
    assert any(list(line.get_ydata()) == [0.2, 0.2] for line in gap.lines)
    assert list(line_of(rates, "image").get_ydata()) == miles.series("learning_rates", "image")
    assert list(line_of(rates, "audio").get_ydata()) == miles.series("learning_rates", "audio")
    assert list(line_of(scores, "multimodal").get_ydata()) == pytest.approx(
        [100 * value for value in miles.series("scores", "val", "multimodal")]
    )


def test_tau_is_drawn_only_where_there_is_one():
    vanilla = demo()[2]
    assert not learning_dynamics(vanilla).axes[1].texts
    assert learning_dynamics(vanilla, 0.35).axes[1].texts[0].get_text() == "τ = 0.35"


def test_the_gap_is_shaded_only_above_tau():
    miles = demo()[4]
    assert learning_dynamics(miles, 0.1).axes[1].collections
    assert not learning_dynamics(miles, 1.0).axes[1].collections


def test_undefined_values_leave_gaps_and_single_values_are_dots():
    scores = [0.5, None, 0.6, None, None, 0.7, 0.8]
    epochs = [
        epoch_record(number, {"multimodal": score, "image": score, "audio": 0.2}, {"image": 1.0, "audio": 1.0})
        for number, score in enumerate(scores, 1)
    ]
    broken = RunRecord("joint", "joint", epochs=epochs)
    figure = learning_dynamics(broken, 0.2)
    drawn = list(line_of(figure.axes[3], "image").get_ydata())
    assert [math.isnan(value) for value in drawn] == [value is None for value in scores]
    dots = [line for line in figure.axes[3].lines if line.get_linestyle() == "None" and line.get_color() == INK]
    assert [list(line.get_xdata()) for line in dots] == [[1, 3]]
    figure.draw_without_rendering()


@pytest.mark.parametrize("columns", [1, 2])
@pytest.mark.parametrize("count", [2, 3, 8])
def test_any_number_of_modalities_each_with_its_own_look(count, columns):
    names = [f"sensor {number}" for number in range(count)]
    many = run("miles", {"multimodal": 0.9, **{name: 0.9 - 0.08 * position for position, name in enumerate(names)}}, tau=0.2, epochs=3)
    figure = learning_dynamics(many, columns=columns)
    assert set(legend(figure)) == {"multimodal", *names}
    styles = modality_styles(names).values()
    assert len({style.color for style in styles}) == len({style.marker for style in styles}) == count
    assert MULTIMODAL_STYLE.color not in {style.color for style in styles}
    figure.draw_without_rendering()


def test_nine_modalities_are_refused():
    with pytest.raises(InputError, match="2 to 8 modalities, got 9"):
        learning_dynamics(run("joint", {"multimodal": 0.9, **{f"m{number}": 0.5 for number in range(9)}}, epochs=1))


def test_an_unknown_modality_is_refused():
    with pytest.raises(InputError, match=r"unknown modality 'audio': did you mean 'audion'\?"):
        learning_curves(demo()[2], modalities=["image", "audion"])


def test_a_modality_keeps_its_look_in_whatever_order_it_is_named():
    forward, backward = (learning_curves(demo()[2], modalities=names).axes[0] for names in (MODALITIES, MODALITIES[::-1]))
    for name in MODALITIES:
        assert line_of(forward, name).get_color() == line_of(backward, name).get_color()


@pytest.mark.parametrize("epochs", [0, 1, 2, 300])
def test_any_length(epochs):
    full = demo(epochs=max(epochs, 1))
    runs = [RunRecord(one.label, one.method, one.config, one.epochs[:epochs], one.result) for one in full]
    for figure in (learning_curves(runs[2], runs[:2]), learning_dynamics(runs[4])):
        figure.draw_without_rendering()


def test_a_simulation_is_drawn():
    trace = [{**record, "scores": record["scores"]["val"], "decision": "balanced"} for record in three_modalities()[1].epochs]
    trace.append(
        {
            "epoch": 21,
            "scores": {"multimodal": 0.0, "text": 0.0, "image": 0.0, "audio": 0.0},
            "utilization": {},
            "gap": None,
            "multipliers": {},
        }
    )
    figure = plot_simulation(trace, 0.2, ["text", "image", "audio"])
    utilization, gap, multipliers = figure.axes
    assert gap.texts[0].get_text() == "τ = 0.2"
    assert len(utilization.lines) == 1 + 3
    assert {value for line in multipliers.lines for value in line.get_ydata() if not math.isnan(value)} == {0.5, 1.0}
    figure.draw_without_rendering()
    plot_simulation(trace, 0.2, columns=2).draw_without_rendering()


def test_learning_rates_far_apart_are_drawn_on_a_logarithmic_scale():
    assert learning_dynamics(demo()[4]).axes[2].get_yscale() == "linear"
    epochs = [epoch_record(number, {"multimodal": 0.5, "a": 0.4, "b": 0.3}, {"a": 0.01, "b": 1.0}) for number in (1, 2)]
    figure = learning_dynamics(RunRecord("miles", "miles", epochs=epochs))
    assert figure.axes[2].get_yscale() == "log"
    figure.draw_without_rendering()


def test_groups_beyond_the_modalities_are_named():
    epochs = [epoch_record(number, {"multimodal": 0.5, "a": 0.4, "b": 0.3}, {"a": 0.5, "b": 1.0}) for number in (1, 2)]
    for record in epochs:
        record["learning_rates"]["frozen stem"] = 0.0
    assert "frozen stem" in legend(learning_dynamics(RunRecord("miles", "miles", epochs=epochs)))


def test_a_users_style_does_not_change_the_figures(monkeypatch):
    import matplotlib

    monkeypatch.delitem(sys.modules, "matplotlib.pyplot", raising=False)  # a library of another test may have brought it
    with matplotlib.rc_context({"axes.facecolor": "red", "text.usetex": True, "axes.prop_cycle": matplotlib.cycler(color=["red"])}):
        figure = learning_curves(demo()[2])
    assert figure.axes[0].get_facecolor() == (1.0, 1.0, 1.0, 1.0)
    assert "matplotlib.pyplot" not in sys.modules


def test_without_matplotlib_one_line_says_how_to_get_it(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingDependency, match=r"pip install 'equimodal\[plots\]'"):
        learning_curves(demo()[2])
