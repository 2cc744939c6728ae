"""``equimodal export``: a modality's encoder and head, or a whole model, as one file of weights."""

from __future__ import annotations

import argparse
from typing import Any

from equimodal.cli.parser import Parser, folder, no_more, paragraph
from equimodal.errors import InputError

__all__ = ["add_parser"]

_EPILOG = """\
The file is a plain state dict: with --modality its names begin with encoder.
and head., without it they are those of the whole model. Other programs read it
with safetensors.torch.load_file, or torch.load for .pt; this package with
equimodal.train.exporting.load_modality or load_model.

examples:
  equimodal export runs/miles --modality audio --to audio.safetensors
  equimodal export runs/miles --to model.pt
"""


def add_parser(commands: Any) -> None:
    """Declare the command."""
    summary = "write a trained encoder with its head, or a whole model, to a file"
    parser: Parser = commands.add_parser("export", help=summary, description=f"{summary.capitalize()}.", epilog=_EPILOG)
    parser.add_argument("run_folder", type=folder, metavar="RUN", help="the folder of a run of equimodal train or compare")
    parser.add_argument("--modality", metavar="NAME", help="export this modality's encoder and head; default the whole model")
    parser.add_argument("--to", type=folder, required=True, metavar="FILE", help="ends with .safetensors or .pt; replaced if it is there")
    parser.add_argument("--weights", choices=("best", "last"), default="best", metavar="WHICH", help="best or last epoch; default best")
    parser.set_defaults(run=run, parser=parser, interrupted="the same command starts anew")


def run(arguments: argparse.Namespace, extra: list[str]) -> int:
    """Write the file, and say what is in it."""
    no_more(extra, arguments.parser)
    from equimodal.train.exporting import export_modality, export_model
    from equimodal.train.loading import is_recipe, read_config, run_facts

    source, target, weights = arguments.run_folder, arguments.to, arguments.weights
    if not is_recipe(read_config(source)):
        loaded = f"equimodal.load({str(source)!r}, model=my_model)"
        name = arguments.modality
        call = f"export_modality({loaded}, {name!r}, {str(target)!r})" if name else f"export_model({loaded}, {str(target)!r})"
        raise InputError(f"{source} is a run of fit, which only Python can load, with your model: equimodal.train.exporting.{call}")
    if arguments.modality is None:
        export_model(source, target, weights=weights)
    else:
        export_modality(source, arguments.modality, target, weights=weights)
    facts = run_facts(source)
    epoch = f"epoch {facts.epoch}" if weights == "best" else "the last epoch"
    state = "" if facts.complete else ", which is not finished"
    what = f"encoder and head of {arguments.modality}" if arguments.modality else f"model of {', '.join(facts.modalities)}"
    said = f"{target}: {what}, {facts.num_outputs} outputs, weights of {epoch} of {source}{state}"
    paragraph(said)
    return 0
