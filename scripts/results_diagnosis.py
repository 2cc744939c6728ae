"""Diagnose vanilla, joint and MILES models of three real data sets, and make the tables of `docs/results/diagnosis.md`.

Trains what is not there yet in RUNS, and writes for each data set the page of vanilla and MILES side by side and a page for each. Joint
training, and the model as it was before training, are controls: they are in the tables alone, which go to RUNS. Only the samples of
avdigits are put into its pages: the other data sets come without a licence to pass them on.

    python scripts/results_diagnosis.py --data-dir FOLDER --runs runs/diagnosis --pages docs/results/diagnosis
"""

import argparse
import os
from pathlib import Path

TRAINING = {
    "avdigits": (
        "--dataset.split unseen-speakers --dataset.train 2000 --dataset.val 500 --dataset.test 500"
        " --model.encoders.image.depth 6 --model.encoders.audio.depth 6 --epochs 20"
    ),
    "wiki-image-text": "--epochs 40",
    "utd-mhad": "--epochs 60 --batch-size 32",
}
METHODS = {"vanilla": "Vanilla", "joint": "Joint", "miles": "MILES"}
MAY_BE_PASSED_ON = ("avdigits",)


def run(*words):
    from equimodal.cli import main

    print("equimodal", *words, flush=True)
    code = main([str(word) for word in words])
    if code:
        raise SystemExit(code)


def cell(interval, sign=""):
    """Return an interval in %, or in points."""
    if interval is None or interval.value is None:
        return "–"
    value, low, high = (f"{100 * number:{sign}.1f}" for number in (interval.value, interval.low, interval.high))
    return f"{value} ({low} to {high})".replace("-", "−")


def rate(interval):
    return "–" if interval is None else f"{interval.value:.2f} ({interval.low:.2f} to {interval.high:.2f})"


def rows(diagnosis):
    """Yield the main numbers of a diagnosis, by name."""
    names = diagnosis.modalities
    shapley = diagnosis.shapley["mean"]
    yield "joint model", cell(diagnosis.heads["multimodal"])
    for name in names:
        yield f"head of {name}", cell(diagnosis.heads[name])
    yield "probe on all", cell(diagnosis.probes["multimodal"])
    for name in names:
        yield f"probe on {name}", cell(diagnosis.probes[name])
    for kind in ("mean", "permutation"):
        for name in names:
            yield f"lost without {name} ({kind})", cell(diagnosis.ablations[kind][name].loss)
    for name in names:
        yield f"Shapley value of {name}", cell(shapley.values[name])
    for pair, value in shapley.interactions.items():
        yield f"interaction {pair}", cell(value)
    yield "utilization gap δ", rate(diagnosis.gap)


def untrained(folder, data_dir):
    """Return the diagnosis of a run's model as it was before its first step."""
    from equimodal.diagnose import diagnose
    from equimodal.diagnose.opening import open_run
    from equimodal.train.config import make_model

    opened = open_run(folder, data_dir=data_dir)
    model = make_model(opened.config, opened.dataset.num_outputs)
    return diagnose(model, opened.splits.test, train=opened.splits.train, task=opened.task, split="test", device="cpu")


def table(found, before):
    """Return the diagnoses of one data set as a Markdown table, with what probes read before training."""
    columns = {name: dict(rows(diagnosis)) for name, diagnosis in found.items()}
    columns["before training"] = {name: said for name, said in rows(before) if name.startswith("probe")}
    lines = [f"| | {' | '.join(columns)} |", f"| --- |{' ---: |' * len(columns)}"]
    names = next(iter(columns.values()))
    lines += [f"| {name} | {' | '.join(column.get(name, '') for column in columns.values())} |" for name in names]
    return "\n".join(lines)


def main():
    os.environ["OMP_NUM_THREADS"] = "1"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, help="where the originals are; without it, what is prepared is taken")
    parser.add_argument("--runs", type=Path, default=Path("runs/diagnosis"))
    parser.add_argument("--pages", type=Path, default=Path("docs/results/diagnosis"))
    options = parser.parse_args()
    data_dir = () if options.data_dir is None else ("--data-dir", options.data_dir)

    from equimodal.diagnose import read_diagnosis

    for dataset, training in TRAINING.items():
        folders = {method: options.runs / f"{dataset}-{method}" for method in METHODS}
        for method, folder in folders.items():
            if not (folder / "result.json").is_file():
                setting = ("--seed", 0, "--threads", 1, "--device", "cpu", *data_dir)
                run("train", "--dataset", dataset, "--method", method, *training.split(), *setting, "--out", folder)
        shown = () if dataset in MAY_BE_PASSED_ON else ("--no-samples",)
        diagnose = ("--split", "test", "--robustness", "--gradients", "--device", "cpu", *data_dir)
        found = {}
        for method, folder in folders.items():
            page = (options.runs / "diagnoses" if method == "joint" else options.pages) / f"{dataset}-{method}"
            run("diagnose", folder, *diagnose, *shown, "--out", page)
            found[METHODS[method]] = read_diagnosis(page)
        # The run itself and not its stored diagnosis, which keeps no draws: differences are paired then.
        run("diagnose", folders["vanilla"], *diagnose, *shown, "--compare", folders["miles"], "--out", options.pages / dataset)
        before = untrained(folders["joint"], options.data_dir)
        (options.runs / f"{dataset}.md").write_text(table(found, before) + "\n", encoding="utf-8")
        for name, diagnosis in found.items():
            print(f"\n{name} on {dataset}")
            for finding in diagnosis.findings:
                print(f"- {finding.kind} ({finding.subject}): {finding.sentence}\n  next: {finding.advice}")


if __name__ == "__main__":
    main()
