"""Draw what SGD and Adam make of a scaled learning rate and a scaled gradient, from what scripts/results_adam.py wrote.

python scripts/results_adam_figure.py runs/adam docs/images/learning-rate-or-gradient.svg
"""

import json
import math
import sys
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from equimodal.report.figures import write_figure
from equimodal.report.intervals import estimate
from equimodal.report.panels import add_legend, make_panels, settle
from equimodal.report.style import INK, MODALITY_STYLES, MULTIMODAL_STYLE, LineStyle
from equimodal.report.svg import drawing

UNTOUCHED = MULTIMODAL_STYLE
RATE, GRADIENT = (replace(style, marker="", width=1.8) for style in MODALITY_STYLES[:2])
FACTOR = LineStyle("#8c8c8c", (1.0, 1.0), width=1.6)
TICKS = {1 / 16: "1/16", 1 / 8: "1/8", 1 / 4: "1/4", 1 / 2: "1/2", 1: "1", 2: "2", 4: "4", 8: "8"}
ON_AND_OFF = ", on, off, on"
DESCRIPTION = (
    "Two columns, SGD and Adam. Under SGD the relative update of both scalings is the factor, in all rows. Under Adam that of the "
    "learning rate is the factor; that of the gradient is 1 where the factor is constant, rises above 1 where the factor ends, falls "
    "where it begins again, and with OGM comes back to 1 and beyond."
)


def line(axes, epochs, values, style):
    """Draw the mean over the seeds and its 95 % interval, on a logarithmic axis those of the logarithms."""
    scale, back = (math.log2, lambda power: 2**power) if axes.get_yscale() == "log" else (float, float)
    made = [estimate(map(scale, at_one)) for at_one in zip(*values, strict=True)]
    times = [epochs * (place + 0.5) / len(made) for place in range(len(made))]
    (drawn,) = axes.plot(times, [back(one.mean) for one in made], **style.options())
    if any((one.half_width or 0.0) > 1e-3 for one in made):
        low, high = ([back(one.mean + sign * (one.half_width or 0.0)) for one in made] for sign in (-1, 1))
        axes.fill_between(times, low, high, color=style.color, alpha=0.2, linewidth=0.0)
    return drawn


def together(values, count):
    return [fmean(values[at : at + count]) for at in range(0, len(values), count)]


def relative_updates(axes, rate, gradient, epochs, count):
    """Draw the relative updates of two arms, one by learning rate and one by gradient, so many steps together."""
    axes.set_yscale("log", base=2)
    axes.axhline(1.0, color=INK, alpha=0.5, linewidth=0.8, zorder=1)
    axes.set_ylabel("relative update")
    return {
        "factor on the gradient": line(axes, epochs, [together(run["factors"], count) for run in gradient], FACTOR),
        "learning rate scaled": line(axes, epochs, [together(run["relative"], count) for run in rate], RATE),
        "gradient scaled": line(axes, epochs, [together(run["relative"], count) for run in gradient], GRADIENT),
    }


def draw(runs, modality):
    entries = {}
    with drawing():
        figure, panels = make_panels(8, 2, (4.6, 2.15), share_x=True)
        for column, (optimizer, found) in enumerate(runs.items()):
            constant, head, switched, methods = panels[column::2]
            epochs = len(found["untouched"][0]["val"])
            steps = len(found["untouched"][0]["relative"]) // epochs
            rate, gradient = "learning rate × 1/8", "gradient × 1/8"
            for arm, style, name in (("untouched", UNTOUCHED, "untouched"), (rate, RATE, ""), (gradient, GRADIENT, "")):
                drawn = line(head, epochs, [[100 * scores[modality] for scores in run["val"]] for run in found[arm]], style)
                entries |= {name: drawn} if name else {}
            entries |= relative_updates(constant, found[rate], found[gradient], epochs, steps)
            relative_updates(switched, found[rate + ON_AND_OFF], found[gradient + ON_AND_OFF], epochs, 3)
            relative_updates(methods, found["MILES"], found["OGM"], epochs, steps)
            constant.set_title(f"{optimizer}: a constant factor of 1/8")
            head.set_title(f"{optimizer}: the {modality} head under it")
            head.set_ylabel("validation accuracy (%)")
            switched.set_title(f"{optimizer}: the factor on, off, on")
            methods.set_title(f"{optimizer}: MILES and OGM")
            methods.set_xlabel("epoch")
        for left, right in zip(panels[::2], panels[1::2], strict=True):
            low, high = min(left.get_ylim()[0], right.get_ylim()[0]), max(left.get_ylim()[1], right.get_ylim()[1])
            for axes in (left, right):
                axes.set_ylim(low, high)
                if axes.get_yscale() == "log":
                    shown = {place: label for place, label in TICKS.items() if low <= place <= high}
                    axes.set_yticks(list(shown), list(shown.values()))
                axes.margins(x=0.02)
        add_legend(figure, entries)
        settle(figure)
    return figure


def main():
    folder, path = map(Path, sys.argv[1:])
    found = json.loads((folder / "runs.json").read_text(encoding="utf-8"))
    figure = draw(found["runs"], found["modality"])
    write_figure(path, figure, f"A scaled learning rate and a scaled gradient under SGD and Adam, {found['dataset']}", DESCRIPTION)


if __name__ == "__main__":
    main()
