"""Methods side by side: what is equal between them, what is written, and what happens when something goes wrong."""

import csv
import json

import pytest

from equimodal import InputError
from equimodal.study import compare, unimodal_rates
from equimodal.train.config import resolve, train

CONFIG = {"dataset": "cli.tiny:Tiny", "epochs": 2, "batch_size": 16}
NEEDY = "study.dummies:Needy"
FILES = {"comparison.json", "report.html", "runs", "table.csv", "table.md", "table.tex", "table.txt"}


@pytest.fixture
def compared(tmp_path, quick):
    """Compare; returns the comparison and what was run for it."""

    def run(methods="joint,vanilla", config=CONFIG, **options):
        runs = []

        def note(outcome, done, total):
            runs.append((outcome.job.name, outcome.job.config["seed"], outcome.found))
            assert done == len(runs)

        options = {"out": tmp_path / "out", "seeds": 1, **options}
        return compare(config, methods, on_run=note, **options), runs

    return run


def configs_in(folder):
    """The configuration of every run, by its folder's name and seed."""
    found = {}
    for file in sorted(folder.glob("runs/*/seed-*/config.yaml")):
        found[file.parent.parent.name, int(file.parent.name.removeprefix("seed-"))] = json.loads(file.read_text())
    return found


def record_of(folder):
    return json.loads((folder / "comparison.json").read_text())


def content(folder):
    """What a comparison found, without what depends on the clock."""
    return {str(path.relative_to(folder)): path.read_text() for path in folder.glob("runs/*/*/result.json")}


# --- what it does


def test_unimodal_models_come_first_and_methods_in_the_order_asked_for(compared, tmp_path):
    comparison, runs = compared("miles,joint", seeds=2)
    labels = ["audio alone", "image alone", "MILES", "Joint"]
    assert [row.label for row in comparison.table.rows] == labels
    assert [row.count for row in comparison.table.rows] == [2] * 4
    assert [row.is_unimodal for row in comparison.table.rows] == [True, True, False, False]
    assert runs == [(label, seed, False) for seed in (0, 1) for label in labels]
    assert comparison.failures == []
    assert comparison.rates is None
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES
    assert {path.name for path in (tmp_path / "out" / "runs").iterdir()} == {"unimodal-audio", "unimodal-image", "miles", "joint"}


def test_everything_but_the_method_is_the_same(compared, tmp_path):
    compared("joint,miles", config={**CONFIG, "optimizer": {"name": "SGD", "lr": 0.05}, "model": {"fusion": "sum"}}, seeds=2)
    configs = configs_in(tmp_path / "out")
    assert {seed for _, seed in configs} == {0, 1}
    for (_, seed), config in configs.items():
        reference = {**configs["joint", seed], "method": config["method"], "identity": config["identity"]}
        assert config == reference
    first = {
        name: json.loads((tmp_path / "out" / "runs" / name / "seed-1" / "metrics.jsonl").read_text().splitlines()[0])
        for name in ("joint", "miles")
    }
    assert first["joint"]["losses"] == first["miles"]["losses"]


def test_a_run_is_the_one_that_train_makes_alone(compared, tmp_path):
    compared("miles", seeds=[4], options={"miles": {"tau": 0.05}})
    train({**CONFIG, "method": {"name": "miles", "tau": 0.05}, "seed": 4}, out=tmp_path / "alone")
    for name in ("result.json", "config.yaml"):
        assert (tmp_path / "alone" / name).read_bytes() == (tmp_path / "out" / "runs" / "miles" / "seed-4" / name).read_bytes()


def test_overrides_of_groups_reach_the_unimodal_models_they_belong_to(compared, tmp_path):
    overrides = {"audio": {"lr": 0.1}, "multimodal": {"lr": 0.2}}
    compared("joint", config={**CONFIG, "groups": {"overrides": overrides}})
    configs = configs_in(tmp_path / "out")
    assert configs["joint", 0]["groups"]["overrides"] == overrides
    assert configs["unimodal-audio", 0]["groups"]["overrides"] == {"audio": {"lr": 0.1}}
    assert configs["unimodal-image", 0]["groups"]["overrides"] == {}


def test_seeds_count_from_the_first_or_are_given(compared, tmp_path):
    assert {seed for _, seed, _ in compared("joint", config={**CONFIG, "seed": 5}, seeds=2)[1]} == {5, 6}
    assert {seed for _, seed, _ in compared("joint", seeds=[9, 3], out=tmp_path / "other")[1]} == {9, 3}


def test_three_modalities(compared):
    comparison, _ = compared("joint", config={**CONFIG, "dataset": "cli.tiny:TinyThree"})
    assert [row.label for row in comparison.table.rows] == ["audio alone", "image alone", "text alone", "Joint"]
    assert max(map(len, str(comparison).splitlines())) <= 80


def test_all_is_every_method_of_the_package_with_miles_last():
    from equimodal.methods import methods
    from equimodal.study.plan import method_names

    names = method_names("all")
    assert names[:2] == ["vanilla", "joint"]
    assert names[-1] == "miles"
    assert names[2:-1] == sorted(names[2:-1])
    assert set(names) == {name for name, cls in methods.classes().items() if cls.__module__.startswith("equimodal.")} - {"unimodal"}


def test_a_method_from_outside_the_package(compared, tmp_path):
    comparison, _ = compared(["joint", "cli.tiny:Weighted"], options={"cli.tiny:Weighted": {"weight": 2.0}})
    assert [row.label for row in comparison.table.rows][2:] == ["Joint", "Weighted"]
    assert configs_in(tmp_path / "out")["cli.tiny-Weighted", 0]["method"] == {"name": "cli.tiny:Weighted", "weight": 2.0}


def test_options_may_be_spelled_with_underscores_and_reach_the_methods_of_a_composition(compared, tmp_path):
    compared("miles+ogm-ge,mslr-k", options={"mslr_k": {"rates": {"audio": 0.1, "image": 0.2}}, "miles+ogm_ge": {"ogm_ge": {"alpha": 0.7}}})
    configs = configs_in(tmp_path / "out")
    assert configs["mslr-k", 0]["method"]["rates"] == {"audio": 0.1, "image": 0.2}
    assert configs["miles+ogm-ge", 0]["method"]["ogm-ge"]["alpha"] == 0.7
    assert configs["miles+ogm-ge", 0]["method"]["miles"]["tau"] == 0.2


# --- what is found beforehand


def test_learning_rates_are_found_once_and_charged_to_those_that_need_them(compared, tmp_path, cache):
    tried = []
    comparison, _ = compared(
        ["joint", NEEDY, "mslr-k"],
        seeds=2,
        rates=(1e-3, 1e-2),
        on_rate=lambda modality, candidate, *_: tried.append((modality, candidate.rate)),
    )
    assert tried == [(modality, rate) for modality in ("audio", "image") for rate in (1e-3, 1e-2)]
    assert comparison.rates.rates == unimodal_rates(CONFIG, rates=(1e-3, 1e-2)).rates
    configs = configs_in(tmp_path / "out")
    for seed in (0, 1):
        assert configs["study.dummies-Needy", seed]["method"]["rates"] == comparison.rates.rates
        assert configs["mslr-k", seed]["method"]["rates"] == comparison.rates.rates
    rows = {row.label: row.cost for row in comparison.table.rows}
    steps = 2 * 3
    assert rows["Joint"].steps == steps
    assert rows["Needy"].steps == rows["MSLR-K"].steps == steps + 4 * steps
    assert rows["Needy"].seconds > comparison.rates.seconds
    record = record_of(tmp_path / "out")["unimodal_learning_rates"]
    assert record["rates"] == comparison.rates.rates
    assert record["needed_by"] == [NEEDY, "mslr-k"]
    assert record["cost"]["steps"] == 4 * steps
    assert "found by 4 trainings" in (tmp_path / "out" / "table.txt").read_text()


def test_a_composition_gets_what_its_methods_need(compared, tmp_path):
    comparison, _ = compared("joint,ogm+mslr-k", rates=[1e-2], options={"ogm+mslr_k": {"ogm": {"heads": "trained"}}})
    method = configs_in(tmp_path / "out")["ogm+mslr-k", 0]["method"]
    assert method["mslr-k"]["rates"] == {"audio": 0.01, "image": 0.01}
    assert {row.label: row.cost.steps for row in comparison.table.rows}["OGM + MSLR-K"] == 3 * 2 * 3


def test_given_rates_are_not_searched(compared, tmp_path, cache):
    given = {"audio": 0.02, "image": 0.03}
    comparison, _ = compared(["joint", NEEDY], options={NEEDY: {"rates": given}})
    assert comparison.rates is None
    assert not cache.exists()
    assert configs_in(tmp_path / "out")["study.dummies-Needy", 0]["method"]["rates"] == given
    assert {row.cost.steps for row in comparison.table.rows} == {2 * 3}


def test_where_no_rate_works_the_other_methods_are_compared(compared):
    config = {**CONFIG, "optimizer": {"name": "SGD", "lr": 0.01}}
    comparison, _ = compared(["joint", NEEDY], config, rates=[1e30])
    assert [row.label for row in comparison.table.rows] == ["audio alone", "image alone", "Joint"]
    assert str(comparison.failures[0]).startswith("Needy, seed 0: none of the learning rates 1e+30 works for 'audio'")


# --- what is written


def test_the_table_is_written_in_all_its_shapes(compared, tmp_path):
    comparison, _ = compared("joint,vanilla", seeds=2)
    out = tmp_path / "out"
    assert (out / "table.txt").read_text() == f"{comparison}\n"
    assert (out / "table.md").read_text() == comparison.table.markdown()
    assert (out / "table.tex").read_text() == comparison.table.latex()
    rows = list(csv.DictReader((out / "table.csv").read_text().splitlines()))
    assert [row["model"] for row in rows] == [row.label for row in comparison.table.rows]
    tested = [json.loads((out / f"runs/vanilla/seed-{seed}/result.json").read_text())["scores"]["test"]["multimodal"] for seed in (0, 1)]
    assert float(rows[-1]["multimodal"]) == pytest.approx(50 * sum(tested), abs=1e-4)
    assert rows[-1]["relative_to"] == "Joint"
    assert not list(out.glob("*.tmp"))


def test_the_record_says_what_was_compared(compared, tmp_path):
    compared("joint,miles", seeds=2, options={"miles": {"tau": 0.1}})
    record = record_of(tmp_path / "out")
    assert record["finished"] is True
    assert record["seeds"] == [0, 1]
    assert record["config"] == {key: value for key, value in resolve(CONFIG).items() if key not in ("method", "seed")}
    assert list(record["methods"]) == ["unimodal-audio", "unimodal-image", "joint", "miles"]
    assert (record["methods"]["miles"]["tau"], record["methods"]["miles"]["mu"]) == (0.1, 0.5)
    assert record["costs"]["MILES"]["steps"] == 6
    assert record["costs"]["MILES"]["runs"] == 2
    assert {"equimodal", "torch", "python"} <= record["environment"].keys()
    assert record["failures"] == []


def test_without_joint_there_are_no_costs_in_the_table(compared, tmp_path):
    comparison, _ = compared(["vanilla", NEEDY], rates=[1e-2])
    assert comparison.table.reference is None
    assert "joint" not in (tmp_path / "out" / "table.txt").read_text()
    assert record_of(tmp_path / "out")["unimodal_learning_rates"]["cost"]["steps"] == 2 * 6


def test_the_report_shows_every_method(tmp_path):
    pytest.importorskip("matplotlib")
    pytest.importorskip("jinja2")
    compare(CONFIG, "joint,miles", seeds=1, out=tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text()
    assert all(label in page for label in ("audio alone", "image alone", "Joint", "MILES"))
    assert page.count("<svg") >= 2


# --- going on


def test_a_finished_comparison_trains_nothing_and_says_the_same(compared, tmp_path):
    first, _ = compared("joint,mslr-k", rates=[1e-2], seeds=2)
    text = (tmp_path / "out" / "table.txt").read_text()
    again, runs = compared("joint,mslr-k", rates=[1e-2], seeds=2)
    assert all(found for *_, found in runs)
    assert again.table == first.table
    assert (tmp_path / "out" / "table.txt").read_text() == text


def test_a_killed_comparison_goes_on(compared, tmp_path, quick):
    def kill(outcome, done, total):
        assert total == 8
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare(CONFIG, "joint,miles", seeds=2, out=tmp_path / "out", on_run=kill)
    assert record_of(tmp_path / "out")["finished"] is False
    assert not (tmp_path / "out" / "table.txt").exists()
    _, runs = compared("joint,miles", seeds=2)
    assert [found for *_, found in runs] == [True] * 5 + [False] * 3
    compared("joint,miles", seeds=2, out=tmp_path / "whole")
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_more_methods_and_seeds_may_be_added(compared):
    compared("joint", seeds=1)
    comparison, runs = compared("joint,vanilla", seeds=2)
    assert [found for *_, found in runs] == [True, True, True, False, False, False, False, False]
    assert [row.count for row in comparison.table.rows] == [2] * 4


def test_another_comparison_s_folder_is_refused_before_anything_is_trained(compared, tmp_path):
    compared("joint")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*") if path.is_file()}
    for change, difference in (
        ({"epochs": 3}, "epochs = 2 there, 3 here"),
        ({"optimizer": {"name": "Adam", "lr": 0.1}}, "optimizer.lr = 0.001 there, 0.1 here"),
        ({"dataset": {"name": "cli.tiny:Tiny", "shift": 2.0}}, "dataset.shift = 0.0 there, 2.0 here"),
    ):
        with pytest.raises(InputError) as error:
            compared("joint,vanilla", {**CONFIG, **change})
        assert f"holds another comparison ({difference})" in str(error.value)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*") if path.is_file()} == before


def test_another_option_of_a_method_is_refused_before_anything_is_trained(compared, tmp_path):
    compared("miles")
    with pytest.raises(InputError, match=r"another configuration's run \(method.tau = 0.2 there, 0.1 here\)"):
        compared("vanilla,miles", options={"miles": {"tau": 0.1}})
    assert not (tmp_path / "out" / "runs" / "vanilla").exists()
    compared(["joint", NEEDY], rates=[1e-2], out=tmp_path / "needy")
    with pytest.raises(InputError, match=r"method\.rates.audio = 0\.01 there, 0\.03 here"):
        compared(["vanilla", NEEDY], rates=[3e-2], out=tmp_path / "needy")
    assert not (tmp_path / "needy" / "runs" / "vanilla").exists()


def test_two_processes_do_not_write_to_one_comparison(compared, tmp_path):
    from equimodal.study.folder import ComparisonFolder

    compared("joint")
    with ComparisonFolder(tmp_path / "out", {}), pytest.raises(InputError, match="another process is at work on the comparison"):
        compared("joint")
    compared("joint")


# --- failures


def test_a_failed_run_takes_no_other_with_it(compared, tmp_path):
    comparison, runs = compared(["study.dummies:Diverging", "study.dummies:Broken", "joint"], seeds=2)
    assert len(runs) == 2 * 5
    assert [row.label for row in comparison.table.rows] == ["audio alone", "image alone", "Joint"]
    reasons = [str(failure) for failure in comparison.failures]
    assert [reason.partition(":")[0] for reason in reasons] == [
        "Diverging, seed 0",
        "Broken, seed 0",
        "Diverging, seed 1",
        "Broken, seed 1",
    ]
    assert "the training loss became nan in epoch 2" in reasons[0]
    assert reasons[1] == "Broken, seed 0: TypeError: not what was meant"
    record = record_of(tmp_path / "out")
    assert record["finished"] is False
    assert "Traceback" in record["failures"][1]["details"]
    assert "Failed: Diverging, seed 1" in (tmp_path / "out" / "table.txt").read_text()


def test_two_methods_of_one_title_are_told_apart(compared, monkeypatch):
    monkeypatch.setattr("cli.tiny.Weighted.title", "Joint")
    comparison, _ = compared(["joint", "cli.tiny:Weighted"])
    assert [row.label for row in comparison.table.rows][2:] == ["Joint", "Joint (cli.tiny:Weighted)"]


def test_a_damaged_run_is_named_and_the_others_are_compared(compared, tmp_path):
    compared("joint,vanilla")
    run = tmp_path / "out" / "runs" / "vanilla" / "seed-0"
    (run / "complete").unlink()
    (run / "last.pt").write_bytes(b"damaged")
    comparison, _ = compared("joint,vanilla")
    assert [row.label for row in comparison.table.rows][2:] == ["Joint"]
    assert "last.pt is cut short, altered or no checkpoint" in str(comparison.failures[0])


def test_where_every_run_fails_there_is_no_table(compared, tmp_path):
    with pytest.raises(InputError, match=r"^no run finished; the first one, audio alone, seed 0: the .*loss became"):
        compared("joint", {**CONFIG, "optimizer": {"name": "SGD", "lr": 1e30}})
    assert not (tmp_path / "out" / "table.txt").exists()


# --- bad input


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"methods": ""}, "names are needed"),
        ({"methods": []}, "there are no methods to compare"),
        ({"methods": 3}, "methods = 3"),
        ({"methods": ["joint", 3]}, "names are needed"),
        ({"methods": "joint,,miles"}, "names are needed"),
        ({"methods": "joint,mile"}, "unknown method 'mile': did you mean 'miles'?"),
        ({"methods": "joint,joint"}, "method 'joint' is named twice"),
        ({"methods": "all,joint"}, "method 'joint' is named twice"),
        ({"methods": "joint,unimodal"}, "need not be named"),
        ({"methods": "miles+"}, "unknown method ''"),
        ({"methods": "miles+miles"}, "once"),
        ({"methods": "miles+mslr-k"}, "both miles and mslr-k decide the learning rates"),
        ({"methods": "no.such:Method"}, "cannot be imported"),
        ({"methods": ["study.dummies:Curious"]}, "needs the philosopher's stone, which a comparison cannot find"),
        ({"methods": ["study.dummies:Choosy"]}, "Choosy: 24 validation samples are too few"),
        ({"methods": "gblend"}, "G-Blend: fraction = 0.1 of 48 training samples"),
        ({"options": {"miles": {"tau": 0.1}}}, "options are given for the method 'miles', which is not compared"),
        ({"options": {"joint": {"tau": 0.1}}}, "method 'joint' has no option 'tau'"),
        ({"methods": "miles", "options": {"miles": {"tua": 0.1}}}, "did you mean 'tau'?"),
        ({"methods": "miles", "options": {"miles": {"tau": 7}}}, "tau = 7"),
        ({"methods": "miles", "options": {"miles": 7}}, "methods.miles = 7: a mapping"),
        ({"methods": "miles", "options": {"miles": {"name": "joint"}}}, "named by its place"),
        ({"methods": "mslr-k", "options": {"mslr-k": {"rates": {"audio": 0.1}}}}, "image"),
        ({"methods": "mslr-k", "options": {"mslr-k": {"rates": 3}}}, "rates = 3"),
        ({"config": {**CONFIG, "method": "joint"}}, "method = 'joint': a comparison has several"),
        ({"config": {**CONFIG, "dataset": "digit-av"}}, "did you mean 'digits-av'?"),
        ({"config": {**CONFIG, "epochs": 0}}, "epochs = 0"),
        ({"config": {**CONFIG, "metric": "acuracy"}}, "did you mean 'accuracy'?"),
        ({"config": {**CONFIG, "clip": 0.0}}, "clip = 0.0"),
        ({"config": {**CONFIG, "optimizer": {"name": "Adam", "lr": -1.0}}}, "optimizer 'Adam': Invalid learning rate: -1.0"),
        ({"config": {**CONFIG, "device": "cuda:99"}}, "cuda:99"),
        ({"config": {**CONFIG, "scheduler": {"name": "StepLR", "step_size": 0}}}, "scheduler"),
        ({"config": {**CONFIG, "model": {"encoders": {"audio": {"in_features": 9}}}}}, "model.encoders.audio"),
        ({"seeds": 0}, "seeds = 0"),
        ({"seeds": True}, "seeds = True"),
        ({"seeds": []}, "seeds = []"),
        ({"seeds": [1, 1]}, "give each seed once"),
        ({"seeds": ["1"]}, "seeds = ['1']"),
        ({"seeds": "3"}, "seeds = '3'"),
        ({"workers": 0}, "workers = 0"),
        ({"rates": [0.0]}, "learning rate 0.0"),
    ],
    ids=str,
)
def test_bad_input_is_refused_before_anything_is_written(compared, tmp_path, options, said):
    with pytest.raises(InputError) as error:
        compared(**options)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_folders_that_cannot_be_used(compared, tmp_path):
    (tmp_path / "file").write_text("in the way")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match=f"cannot use the folder {out}"):
            compared("joint", out=out)
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("Dear reader")
    with pytest.raises(InputError, match=r"holds 'dear.txt' and no comparison"):
        compared("joint", out=tmp_path / "letters")
    (tmp_path / "letters" / "comparison.json").write_text("Dear reader")
    with pytest.raises(InputError, match=r"comparison.json is no record of a comparison"):
        compared("joint", out=tmp_path / "letters")
    assert {path.name for path in (tmp_path / "letters").iterdir()} == {"dear.txt", "comparison.json"}


def test_a_full_disk_is_met_before_the_first_run(compared, tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(InputError, match="No space left on device"):
        compared("joint")
    assert list((tmp_path / "out").iterdir()) == []


# --- several processes


@pytest.mark.slow
def test_several_processes_find_the_same(compared, tmp_path, tiny):
    alone, _ = compared(["joint", "miles", NEEDY], seeds=2, rates=[1e-2])
    for name, options in {"loaded": {}, "given": {"data": tiny}}.items():
        together, runs = compared(
            ["joint", "miles", NEEDY], seeds=2, rates=[1e-2], workers=2, out=tmp_path / name, cache=tmp_path / name / "c", **options
        )
        assert len(runs) == 10
        assert content(tmp_path / name) == content(tmp_path / "out")
        assert [row.label for row in together.table.rows] == [row.label for row in alone.table.rows]
        assert [row.multimodal for row in together.table.rows] == [row.multimodal for row in alone.table.rows]


@pytest.mark.slow
def test_a_process_that_dies_takes_only_its_own_run_with_it(compared):
    comparison, _ = compared(["study.dummies:Murderous", "study.dummies:Broken", "joint"], seeds=2, workers=2)
    assert [row.label for row in comparison.table.rows] == ["audio alone", "image alone", "Joint"]
    reasons = [failure.reason for failure in comparison.failures if failure.label == "Murderous"]
    assert reasons == ["its process was ended from outside (exit code -9), perhaps for lack of memory"] * 2
    assert [failure.label for failure in comparison.failures].count("Broken") == 2


def test_data_that_cannot_be_sent_are_refused(compared, tmp_path, tiny):
    from types import SimpleNamespace

    dataset, splits = tiny
    own = SimpleNamespace(
        **{name: getattr(dataset, name) for name in ("modalities", "num_outputs", "task", "metric", "encoders")}, hook=lambda: 0
    )
    with pytest.raises(InputError, match=r"the data cannot be sent to other processes: .*workers=1"):
        compared("joint", data=(own, splits), workers=2)
    assert not (tmp_path / "out" / "runs").exists()
