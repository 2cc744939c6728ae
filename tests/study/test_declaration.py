"""The study file: its defaults, what is refused in it, and what may still be changed once a study has begun."""

import math

import pytest

from equimodal import InputError
from equimodal.study.declaration import declare, read_declaration, ready_files
from equimodal.study.series import check_fit, expand
from equimodal.train.config import load_data
from equimodal.train.record import plain

from .small import BASE, DATA, small

PAPER = ["vanilla", "joint", "miles"]
OTHER_DATA = {"dataset": "cli.tiny:Tiny", "label": "other"}


# --- what a file says, and what it leaves out


def test_a_file_that_names_only_its_data_is_the_paper_s_protocol():
    file = declare({"name": "paper", "datasets": ["digits-av"]}).file
    assert (file["trials"], file["fusions"], file["selection"], file["pruner"]) == (80, ["concat", "sum"], "best-validation", None)
    assert file["sampler"] == {"name": "random"}
    assert file["methods"][:2] == ["vanilla", "joint"]
    assert len(file["methods"]) >= 8
    assert file["ablations"]["tau"] == [0.5, 0.3, 0.2, 0.1, 0.0]
    assert len(file["ablations"]["mu"]) == 7


@pytest.mark.parametrize(
    ("given", "rows"),
    [
        (["vanilla", "miles"], PAPER),
        (["miles"], ["joint", "miles"]),
        (["miles", "joint"], ["miles", "joint"]),
        ("miles, vanilla", ["miles", "vanilla", "joint"]),
    ],
    ids=str,
)
def test_joint_training_is_always_among_the_methods(given, rows):
    assert small(methods=given).methods == rows


def test_what_a_data_set_says_stands_before_what_is_said_of_all():
    datasets = [
        DATA,
        {**DATA, "label": "long", "epochs": 9},
        {**DATA, "label": "sgd", "optimizer": {"name": "SGD", "lr": 0.1}},
    ]
    file = small(datasets=datasets, epochs=3, train={"batch_size": 16, "threads": 2}).file["datasets"]
    assert [file[label]["epochs"] for label in ("tiny", "long", "sgd")] == [3, 9, 3]
    assert file["sgd"]["optimizer"]["name"] == "SGD"
    assert {config["batch_size"] for config in file.values()} == {16}
    assert {config["threads"] for config in file.values()} == {2}


def test_an_empty_entry_stands_for_its_default():
    assert small(budget=None, pruner=None, search=None).file == small().file


@pytest.mark.parametrize("name", ["smnist", "cremad", "luma", "mmimdb", "avdigits"])
def test_the_paper_s_studies_come_with_the_package_and_go_together(name):
    assert name in ready_files()
    declaration = read_declaration(name)
    assert declaration.name == name
    assert {"vanilla", "joint", "miles"} <= set(declaration.methods)
    series = expand(declaration)
    assert len({one.name for one in series}) == len(series)
    check_fit([one for one in series if one.fusion == "sum"], {})


def test_a_study_is_called_by_its_file_unless_it_has_a_name(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("datasets: [digits-av]\n")
    assert read_declaration(path).name == "mine"
    path.write_text("name: other\ndatasets: [digits-av]\n")
    assert read_declaration(path).name == "other"


def test_a_file_or_name_that_is_not_there_is_said_so(tmp_path):
    with pytest.raises(InputError, match=r"^study 'avdigit': .*did you mean 'avdigits'\?$"):
        read_declaration("avdigit")
    with pytest.raises(InputError, match=r"there is no such file$"):
        read_declaration(tmp_path / "none.yaml")


@pytest.mark.parametrize("text", ["datasets: [digits-av\n", "", "- digits-av\n", "datasets: [digits-av]\ntrial: 3\n"])
def test_what_is_wrong_in_a_file_is_said_with_its_path(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        read_declaration(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


# --- what is refused


def check_all(given):
    """All that is checked before a study begins."""
    declaration = declare(given)
    check_fit(expand(declaration), {label: load_data(declaration.base(label)) for label in declaration.file["datasets"]})


WRONG = [
    ({"trial": 3}, "unknown key 'trial' in the study: did you mean 'trials'?"),
    ({"name": "a/b"}, "name = 'a/b'"),
    ({"name": 3}, "name = 3"),
    ({"seed": 1.5}, "seed = 1.5"),
    ({"trials": 0}, "trials = 0"),
    ({"trials": True}, "trials = True"),
    ({"seeds": 0}, "seeds = 0"),
    ({"heartbeat": 0.5}, "heartbeat = 0.5"),
    ({"budget": 0}, "budget = 0"),
    ({"budget": math.nan}, "budget = nan"),
    ({"budget": "long"}, "budget = 'long'"),
    ({"selection": "oracl"}, "did you mean 'oracle'?"),
    ({"metric": "acuracy"}, "did you mean 'accuracy'?"),
    ({"epochs": "x"}, "epochs = 'x'"),
    ({"methods": ["mile"]}, "did you mean 'miles'?"),
    ({"methods": ["miles", "miles"]}, "'miles' is named twice"),
    ({"methods": ["unimodal"]}, "'unimodal' need not be named"),
    ({"methods": []}, "give at least one name"),
    ({"fusions": ["conact"]}, "did you mean 'concat'?"),
    ({"fusions": [["concat"]]}, "['concat'] is no fusion"),
    ({"fusions": []}, "fusions = []"),
    ({"fusions": ["sum", "sum"]}, "give each fusion once"),
    ({"datasets": "digits-av"}, "datasets = 'digits-av': a list"),
    ({"datasets": []}, "datasets = []"),
    ({"datasets": ["digit-av"]}, "datasets[0]: unknown data set 'digit-av': did you mean 'digits-av'?"),
    ({"datasets": [DATA, DATA]}, "two data sets are called 'tiny'"),
    ({"datasets": [3]}, "datasets[0] = 3"),
    ({"datasets": [{"dataset": 3}]}, "datasets[0].dataset = 3"),
    ({"datasets": [{**DATA, "label": "a b"}]}, "datasets[0].label = 'a b'"),
    ({"datasets": [{**DATA, "epoch": 3}]}, "unknown key 'epoch' in datasets[0]: did you mean 'epochs'?"),
    ({"datasets": [{**DATA, "method": "miles"}]}, "datasets[0].method is decided by the study as a whole: give it as methods"),
    ({"datasets": [{**DATA, "seed": 3}]}, "datasets[0].seed is decided"),
    ({"train": {"model": {"fusion": "sum"}}}, "train.model.fusion is decided by the study as a whole: give it as fusions"),
    ({"train": {"epoch": 3}}, "did you mean 'epochs'?"),
    ({"train": 3}, "train = 3: a mapping"),
    ({"options": {"mile": {"tau": 0.1}}}, "did you mean 'miles'?"),
    ({"options": {"miles": {"ta": 0.1}}}, "did you mean 'tau'?"),
    ({"options": {"miles": {"tau": 7}}}, "tau = 7.0"),
    ({"search": {"optimizer.lr": {"low": 1, "high": 0.1}}}, "search.optimizer.lr goes from 1 to 0.1"),
    ({"search": {"optimizer.lr": {"low": 0, "high": 0.1, "log": True}}}, "search.optimizer.lr.low = 0"),
    ({"search": {"optimizer.lr": {"low": -1, "high": 0.1}}}, "tiny/alone/audio: optimizer 'Adam': Invalid learning rate: -1.0"),
    ({"search": {"optimizer.lr": "fast"}}, "lr = 'fast'"),
    ({"search": {"optimizer.lr": None}}, "lr = None"),
    ({"search": {"optimizer.ler": 0.1}}, "did you mean 'lr'?"),
    ({"search": {"optimzer.lr": 0.1}}, "did you mean 'optimizer.lr'?"),
    ({"search": {"batch_size": {"low": 16, "high": 32}}}, "batch_size = 16.0"),
    ({"search": {"scheduler.step_size": [1, 2]}}, "scheduler.step_size cannot be set, as scheduler = None"),
    ({"search": {"methods": {"mile": {"tau": 0.1}}}}, "did you mean 'miles'?"),
    ({"search": {"methods": {"miles": {"ta": 0.1}}}}, "did you mean 'tau'?"),
    ({"search": {"methods": {"miles": {"tau": {"low": 0.0, "high": 3.0}}}}}, "tiny/concat/miles: method 'miles': tau = 3.0"),
    ({"search": {"methods": {"miles": {"mu": [0.5, 7.0]}}}}, "tiny/concat/miles: method 'miles': mu = 7.0"),
    ({"search": {"methods": {"miles": 3}}}, "search.methods.miles = 3"),
    ({"search": {"methods": 3}}, "search.methods = 3"),
    ({"sampler": "TPESample"}, "did you mean 'TPESampler'?"),
    ({"sampler": {"name": "random", "seed": 3}}, "sampler 'random' has no option 'seed'"),
    ({"sampler": {"name": "TPESampler", "startup": 3}}, "sampler 'TPESampler' has no option 'startup'"),
    ({"sampler": {"name": "TPESampler", "n_startup_trials": "x"}}, "sampler 'TPESampler' does not work"),
    ({"sampler": "BruteForceSampler"}, "sampler 'BruteForceSampler' does not work"),
    ({"sampler": 3}, "sampler = 3"),
    ({"pruner": "MedianPrune"}, "did you mean 'MedianPruner'?"),
    ({"pruner": {"name": "MedianPruner", "n_startup_trial": 1}}, "did you mean 'n_startup_trials'?"),
    ({"ablations": {"ta": [0.1]}}, "did you mean 'tau'?"),
    ({"ablations": {"tau": 3}}, "ablations.tau = 3"),
    ({"ablations": {"tau": [0.1, math.nan]}}, "ablations.tau[1] = nan"),
    ({"ablations": {"mu": [7.0]}}, "tiny/concat/miles/mu: method 'miles': mu = 7.0"),
    ({"ablations": {"training_scores": 1}}, "ablations.training_scores = 1"),
    ({"ablations": {"seeds": 0}}, "ablations.seeds = 0"),
    ({"ablations": {"example": {"lr": 1}}}, "lr, tau and mu are needed"),
    ({"ablations": {"example": {"lr": "x", "tau": 0.1, "mu": 0.5}}}, "ablations.example.lr = 'x'"),
    ({"ablations": {"example": {"lr": -1.0, "tau": 0.1, "mu": 0.5}}}, "tiny/concat/miles/example: optimizer 'Adam': Invalid learning rate"),
]


@pytest.mark.parametrize(("given", "said"), WRONG, ids=lambda value: str(value)[:60])
def test_what_cannot_be_is_refused_before_anything_is_trained(given, said):
    with pytest.raises(InputError) as error:
        check_all({**BASE, "methods": ["miles"], **given})
    assert said in str(error.value)
    assert "\n" not in str(error.value)


# --- what may change once it has begun

BEFORE = {
    "methods": ["vanilla", "mslr-k", "miles"],
    "ablations": {"tau": [0.5, 0.1], "mu": [1.0], "training_scores": False, "example": None},
    "options": {"miles": {"every": 2}},
    "search": {"methods": {"miles": {"tau": {"low": 0.0, "high": 0.3}}}},
}


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"trials": 7},
        {"seeds": 4},
        {"fusions": ["sum", "concat"]},
        {"methods": ["gblend", "miles", "mslr-k", "vanilla"]},
        {"methods": [*BEFORE["methods"], "mslr-s"], "options": {"miles": {"every": 2}, "mslr_s": {"strength": 0.1}}},
        {"methods": [*BEFORE["methods"], "mslr-s"], "search": {"methods": {**BEFORE["search"]["methods"], "mslr-s": {"strength": [0.5]}}}},
        {"datasets": [OTHER_DATA, DATA]},
        {"ablations": {**BEFORE["ablations"], "tau": [0.5, 0.3, 0.1]}},
        {"ablations": {**BEFORE["ablations"], "seeds": 3, "mu": [0.1, 1.0]}},
        {"ablations": {**BEFORE["ablations"], "training_scores": True, "example": {"lr": 0.001, "tau": 0.05, "mu": 0.5}}},
        {"budget": 2.5},
    ],
    ids=str,
)
def test_more_of_what_a_study_has_can_be_added(more):
    small(**{**BEFORE, **more}).check_extends(plain(dict(small(**BEFORE).file)))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"trials": 1}, "(trials = 2 there, 1 here)"),
        ({"epochs": 2}, "(datasets.tiny.epochs = 1 there, 2 here)"),
        ({"heartbeat": 30}, "(heartbeat = 1 there, 30 here)"),
        ({"datasets": [OTHER_DATA, {**DATA, "epochs": 2}]}, "(datasets.tiny.epochs = 1 there, 2 here)"),
        ({"datasets": [OTHER_DATA]}, "(datasets.tiny = "),
        ({"seed": 1}, "(seed = 0 there, 1 here)"),
        ({"fusions": ["sum"]}, "(fusions.0 = 'concat' there, 'sum' here)"),
        ({"methods": ["vanilla", "miles"]}, "(methods = "),
        ({"selection": "oracle"}, "(selection = 'best-validation' there, 'oracle' here)"),
        ({"sampler": "TPESampler"}, "(sampler.name = 'random' there, 'TPESampler' here)"),
        ({"pruner": "MedianPruner"}, "(pruner = None there"),
        ({"metric": "macro-f1"}, "(datasets.tiny.metric = "),
        ({"options": {"miles": {"every": 3}}}, "(options.miles.every = 2 there, 3 here)"),
        ({"options": {**BEFORE["options"], "vanilla": {}, "mslr_k": {"heads": "fixed"}}}, "(options."),
        ({"search": {}}, "(search.methods = "),
        ({"search": {**BEFORE["search"], "optimizer.lr": [0.1]}}, "(search.optimizer.lr = None there, [0.1] here)"),
        ({"ablations": {**BEFORE["ablations"], "tau": [0.5, 0.3, 0.1], "mu": [0.5]}}, "(ablations.mu.0 = 1.0 there, 0.5 here)"),
        ({"ablations": {**BEFORE["ablations"], "tau": []}}, "(ablations.tau = [0.5, 0.1] there, [] here)"),
    ],
    ids=str,
)
def test_any_other_change_is_refused_and_named(change, said):
    with pytest.raises(InputError, match=r"the file of the study 'small' was changed after it began") as error:
        small(**{**BEFORE, **change}).check_extends(plain(dict(small(**BEFORE).file)))
    assert said in str(error.value)
    assert "\n" not in str(error.value)
