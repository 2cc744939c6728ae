"""The first results: vanilla, joint and MILES beside the unimodal models on `avdigits` with unseen speakers, at equal budget.

Every arm gets the same number of trials. The learning rate of a trial is drawn from hash(study, trial, name) and so is the same for
all arms; τ and μ of MILES are drawn from hash(study, method, trial, name). The trial with the best multimodal validation score is run
again with seeds that the search did not use, and only those runs are reported. A control runs the chosen configuration of MILES with
μ = 1, which is joint training at the same learning rate: its difference to MILES is the scheduler's alone. Every run is a folder, so
that the script goes on where it was stopped.

    python scripts/results_avdigits.py --data-dir FOLDER --out runs/avdigits
"""

import argparse
import json
import os
import random
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

STUDY = "avdigits-unseen-speakers"
ARMS = ("unimodal-image", "unimodal-audio", "vanilla", "joint", "miles")
LEARNING_RATES = (1e-4, 1e-2)


def draws(*purpose):
    """Return a generator seeded for one purpose."""
    from equimodal.train.seeds import derived_seed

    return random.Random(derived_seed(0, STUDY, *purpose))


CONTROL = "control"


def configuration(arm, trial, seed, options):
    from equimodal.methods import methods
    from equimodal.methods.space import LogUniform

    name, _, modality = ("miles" if arm == CONTROL else arm).partition("-")
    method = {"name": name, **({"modality": modality} if modality else {})}
    for option, space in methods.get(name).search_space.items():
        method[option] = round(space.sample(draws(name, trial, option)), 4)
    if arm == CONTROL:
        method["mu"] = 1.0
    rate = float(f"{LogUniform(*LEARNING_RATES).sample(draws(trial, 'lr')):.3g}")
    return {
        "dataset": {"name": "avdigits", "split": "unseen-speakers", "train": options.train, "val": options.val, "test": options.test},
        "model": {"encoders": {"image": {"depth": 6}, "audio": {"depth": 6}}},
        "method": method,
        "optimizer": {"name": "Adam", "lr": rate},
        "epochs": options.epochs,
        "seed": seed,
        "threads": 1,
        "device": "cpu",
    }


_data = {}


def run(job):
    """Train one run in a worker; data are read once per worker."""
    from equimodal.train.config import load_data, resolve, train

    name, config, data_dir, out = job
    resolved = resolve(config)
    key = json.dumps(resolved["dataset"], sort_keys=True)
    if key not in _data:
        _data[key] = load_data(resolved, data_dir)
    finished = train(resolved, out=out / name, data=_data[key])
    best = finished.history[finished.result["best_epoch"] - 1]
    return name, best["scores"]["val"]["multimodal"], sum(record["seconds"] for record in finished.history)


def run_all(jobs, workers):
    scores, spent = {}, 0.0
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for count, (name, score, seconds) in enumerate(pool.map(run, jobs), start=1):
            scores[name], spent = score, spent + seconds
            print(f"{count:>3}/{len(jobs)} {name:<28} validation {100 * score:5.1f}  {seconds:5.1f} s", flush=True)
    return scores, spent


def paired(records, first, second, head):
    """Return the mean difference of two arms over the seeds, with a 95 % interval."""
    from equimodal.report.intervals import estimate

    pairs = zip(records[first], records[second], strict=True)
    difference = estimate([100 * (a.result["scores"]["test"][head] - b.result["scores"]["test"][head]) for a, b in pairs])
    return f"{difference.mean:+.1f} ± {difference.half_width:.1f}"


def slowed_epochs(records, modalities):
    """Return by modality the share of the epochs that were trained at a reduced rate, over all seeds."""
    epochs = [epoch for run in records for epoch in run.epochs]
    return {name: f"{sum(epoch['multipliers'][name] < 1 for epoch in epochs)}/{len(epochs)}" for name in modalities}


def main():
    os.environ["OMP_NUM_THREADS"] = "1"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/avdigits"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--train", type=int, default=2000)
    parser.add_argument("--val", type=int, default=500)
    parser.add_argument("--test", type=int, default=2000)
    options = parser.parse_args()
    started = time.time()

    searches = [
        (f"search/{arm}-{trial}", configuration(arm, trial, 0, options), options.data_dir, options.out)
        for arm in ARMS
        for trial in range(options.trials)
    ]
    scores, search_seconds = run_all(searches, options.workers)
    chosen = {arm: max(range(options.trials), key=lambda trial, arm=arm: scores[f"search/{arm}-{trial}"]) for arm in ARMS}
    chosen[CONTROL] = chosen["miles"]
    finals = [
        (f"final/{arm}-{seed}", configuration(arm, chosen[arm], seed, options), options.data_dir, options.out)
        for arm in (*ARMS, CONTROL)
        for seed in range(1, options.seeds + 1)
    ]
    _, final_seconds = run_all(finals, options.workers)

    from equimodal.report import group_rows, read_run, write_report

    labels = {"vanilla": "Vanilla", "joint": "Joint (Eq. 3)", "miles": "MILES", CONTROL: "MILES with mu = 1"}
    seeds = range(1, options.seeds + 1)
    records = {arm: [read_run(options.out / f"final/{arm}-{seed}", labels.get(arm)) for seed in seeds] for arm in (*ARMS, CONTROL)}
    runs = [run for arm_runs in records.values() for run in arm_runs]
    modalities = ("image", "audio")
    table = group_rows(runs, modalities)
    print(f"\n{table}\n\n{table.markdown()}\n")
    for arm, trial in chosen.items():
        config = configuration(arm, trial, 0, options)
        print(f"{arm}: trial {trial}, lr {config['optimizer']['lr']}, {config['method']}")
    print("\npaired differences in points (multimodal, image, audio):")
    for first, second in (("joint", "vanilla"), ("miles", "joint"), ("miles", "vanilla"), ("miles", CONTROL), (CONTROL, "vanilla")):
        print(f"{first} - {second}: " + ", ".join(paired(records, first, second, head) for head in ("multimodal", *modalities)))
    print(f"epochs trained at a reduced rate: {slowed_epochs(records['miles'], modalities)}")
    print(f"\nsearch {search_seconds:.0f} s, final {final_seconds:.0f} s of training; {time.time() - started:.0f} s in all")
    write_report(options.out / "report.html", runs, modalities)


if __name__ == "__main__":
    main()
