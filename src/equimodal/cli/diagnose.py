"""``equimodal diagnose``: which modality a trained model really uses."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from equimodal.cli.parser import WIDTH, Parser, count, folder, no_more, paragraph, say
from equimodal.cli.steps import data_steps

if TYPE_CHECKING:
    from equimodal.diagnose.comparison import Comparison
    from equimodal.diagnose.opening import Opened
    from equimodal.diagnose.record import Diagnosis

__all__ = ["add_parser"]

_COMPARED = ("diagnosis-compared.json", "diagnosis-compared.csv")
_PAIRED = ("comparison.json", "comparison.csv")

_EPILOG = """\
Scores the joint model, every head, linear probes on the frozen features, and
the joint model with each modality left out, and says in sentences what that
tells: dominated, balanced, needing both, overfitted; and what to try next.
Everything has a 95 % interval from 1000 bootstrap samples.

Into --out go diagnosis.html, diagnosis.json and diagnosis.csv. The validation
split is read, and the train split, which probes and means are taken from. The
test split is read only with --split test; choose nothing by it.

--compare takes another run or checkpoint: both are scored on the same samples,
and every difference has a paired interval, in comparison.json and .csv too.
With a stored diagnosis.json both stand side by side without that.

examples:
  equimodal diagnose runs/miles --out diagnoses/miles
  equimodal diagnose runs/miles/last.pt --out diagnoses/last --robustness
  equimodal diagnose runs/joint --compare runs/miles --out diagnoses/both
"""


def add_parser(commands: Any) -> None:
    """Declare the command."""
    summary = "find out which modality a trained model really uses"
    parser: Parser = commands.add_parser("diagnose", help=summary, description=f"{summary.capitalize()}.", epilog=_EPILOG)
    parser.add_argument("subject", type=folder, metavar="RUN|CHECKPOINT", help="a run's folder, or best.pt or last.pt in it")
    parser.add_argument("--out", type=folder, metavar="FOLDER", help="where the page and its numbers go; without it they are only printed")
    parser.add_argument("--split", choices=("val", "test", "train"), default="val", metavar="NAME", help="val, test or train; default val")
    parser.add_argument("--data-dir", type=folder, metavar="FOLDER", help="where the data set's files are; only ever read")
    parser.add_argument("--gradients", action="store_true", help="also measure the gradient that reaches each encoder: another pass")
    parser.add_argument("--robustness", action="store_true", help="also score with noise on the inputs: more passes")
    parser.add_argument("--compare", type=folder, metavar="OTHER", help="put another model beside it")
    parser.add_argument("--no-samples", action="store_true", help="leave pictures, sounds and texts of samples out of the page")
    parser.add_argument("--metric", metavar="NAME", help="the score; default the run's")
    parser.add_argument("--resamples", type=count, default=1000, metavar="N", help="bootstrap samples behind the intervals; default 1000")
    parser.add_argument("--title", metavar="TEXT", help="what is diagnosed, in words; default the method and the data set")
    parser.add_argument("--device", metavar="NAME", help="cpu or cuda; default the GPU where there is one")
    parser.add_argument("--json", action="store_true", help="print the diagnosis as JSON and nothing else")
    parser.set_defaults(run=run, parser=parser, interrupted="nothing was written")


def run(arguments: argparse.Namespace, extra: list[str]) -> int:
    """Diagnose, print and write."""
    no_more(extra, arguments.parser)
    with nullcontext() if arguments.out is None else _ready(arguments.out):
        return _run(arguments)


@contextmanager
def _ready(out: Path) -> Iterator[None]:
    """Make a folder before the work begins, and leave none that is empty if that fails."""
    from equimodal._files import make_folder
    from equimodal.errors import CannotWrite

    new = [path for path in (out, *out.parents) if not path.exists()]
    make_folder(out)
    if not os.access(out, os.W_OK | os.X_OK):
        raise CannotWrite(f"nothing can be written into the folder {str(out)!r}: choose another one")
    try:
        yield
    except BaseException:
        with suppress(OSError):  # it is no longer empty
            for path in new:
                path.rmdir()
        raise


def _run(arguments: argparse.Namespace) -> int:
    from equimodal.diagnose.text import render

    opened, diagnosis = _diagnosed(arguments.subject, arguments)
    other = None if arguments.compare is None else _other(arguments.compare, arguments)
    paired = "" if other is None else _paired(diagnosis, other)
    if arguments.json:
        both = diagnosis.as_dict() if other is None else {"a": diagnosis.as_dict(), "b": other.as_dict()}
        if not isinstance(paired, str):
            both["comparison"] = paired.as_dict()
        say(json.dumps(both, indent=1, ensure_ascii=False))
    else:
        say(render(diagnosis, WIDTH))
        if other is not None:
            from equimodal.diagnose.text_comparison import render_comparison

            say(f"\n{'═' * WIDTH}\n")
            say(render_comparison(diagnosis, other, WIDTH, paired=paired))
    if arguments.out is not None:
        arguments.interrupted = f"the files in {arguments.out} may not belong together: give the same command again"
        written = _write(arguments, diagnosis, other, paired, opened)
        if not arguments.json:
            say()
            paragraph(written)
    return 0


def _diagnosed(path: Path, arguments: argparse.Namespace, *, title: bool = True) -> tuple[Opened, Diagnosis]:
    """Return a run's model and data, and what was found."""
    from equimodal.diagnose.opening import open_run
    from equimodal.diagnose.run import diagnose
    from equimodal.train.setting import deterministic, the_device

    with nullcontext() if arguments.json else data_steps():
        opened = open_run(path, data_dir=arguments.data_dir)
    if not opened.same_data and not arguments.json:
        _note("the prepared data are not those that the run was trained on")
    if arguments.split == "test" and title and not arguments.json:  # the first model says it for both
        _note("the test split is read because you ask for it; choose nothing by it")
    data = getattr(opened.splits, arguments.split)
    classes = len(opened.classes or ())
    if classes > len(data) and not arguments.json:
        _note(f"{len(data):,} samples for {classes:,} classes: nothing can be told of most of them")
    device = the_device(arguments.device)
    with deterministic(opened.config["threads"]):
        diagnosis = diagnose(
            opened.model,
            data,
            # Probes that are fitted on what they are scored on would tell nothing.
            train=None if arguments.split == "train" else opened.splits.train,
            task=opened.task,
            metric=arguments.metric or opened.metric,
            split=arguments.split,
            device=device,
            resamples=arguments.resamples,
            gradients=arguments.gradients,
            robustness=arguments.robustness,
            run=opened.folder,
            classes=opened.classes,
            title=(arguments.title if title else None) or opened.title,
        )
    return opened, diagnosis


def _other(path: Path, arguments: argparse.Namespace) -> Diagnosis:
    """Return the diagnosis to compare with: a stored one, or that of another run."""
    from equimodal.diagnose.record import read_diagnosis

    stored = path.suffix == ".json" or (path / "diagnosis.json").is_file()
    if stored and not (path / "config.yaml").is_file():
        return read_diagnosis(path)
    return _diagnosed(path, arguments, title=False)[1]


def _paired(diagnosis: Diagnosis, other: Diagnosis) -> Comparison | str:
    """Return the comparison of two models, or why there is none."""
    from equimodal.diagnose.comparison import paired_or_why

    return paired_or_why(diagnosis, other)


def _write(arguments: argparse.Namespace, diagnosis: Diagnosis, other: Diagnosis | None, paired: Comparison | str, opened: Opened) -> str:
    """Write the files, and return in words which they are."""
    from equimodal.diagnose.page import samples_of, write_numbers, write_page
    from equimodal.errors import MissingDependency

    out: Path = arguments.out
    try:
        data, source = getattr(opened.splits, arguments.split), opened.dataset
        samples = None if arguments.no_samples else samples_of(data, dataset=source, split=arguments.split)
        write_page(diagnosis, out / "diagnosis.html", samples=samples, credit=_credit(source), compare=other, paired=paired)
        no_page = ""
    except MissingDependency as error:
        write_numbers(diagnosis, out / "diagnosis.html", other, paired)
        _remove(out, "diagnosis.html")
        no_page = f"; no page: {error}"
    _remove(out, *(_COMPARED if other is None else ()), *(_PAIRED if isinstance(paired, str) else ()))
    names = [] if no_page else ["diagnosis.html"]
    names += ["diagnosis.json", "diagnosis.csv", *(_COMPARED if other is not None else ())]
    names += [] if isinstance(paired, str) else _PAIRED
    return f"wrote {', '.join(names)} into {out}{no_page}"


def _remove(out: Path, *names: str) -> None:
    """Remove what an earlier command left that does not belong to this diagnosis."""
    for name in names:
        (out / name).unlink(missing_ok=True)


def _credit(dataset: Any) -> str:
    """Return whose samples they are, under which licence: a page is passed on."""
    texts = {label: getattr(dataset, label.lower(), "") for label in ("Licence", "Citation")}
    said = [f"{label}: {text.rstrip('.')}." for label, text in texts.items() if text]
    return f"Samples of {dataset.name}. {' '.join(said)}" if said else ""


def _note(text: str) -> None:
    paragraph(f"note: {text}")
