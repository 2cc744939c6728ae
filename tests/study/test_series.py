"""What a study consists of, and what makes one trial another."""

import pytest

from equimodal import InputError
from equimodal.study.comparison import UNIMODAL_RATES
from equimodal.study.protocol import needed
from equimodal.study.series import Selected, Start, check_fit, corners, expand
from equimodal.train.config import load_data

from .small import DATA, NO_ABLATIONS, series_of, small

OTHER_DATA = {"dataset": "cli.tiny:Tiny", "label": "other"}
SWEEPS = {"tau": [0.5, 0.1], "mu": [1.0], "training_scores": False, "example": None}
CHOSEN = Start(selected=Selected(1, {"optimizer.lr": 0.01, "method.tau": 0.3, "method.mu": 0.5}))
RATES = Start({UNIMODAL_RATES: {"audio": 0.01, "image": 0.001}})


def keys(series, start=CHOSEN):
    """The trials' keys by what is set in them."""
    return {str(series.settings[number]): series.draft(number, start).key for number in range(series.count)}


# --- what there is


def test_a_study_has_every_row_of_every_data_set_and_fusion_once():
    example = {"lr": 0.001, "tau": 0.05, "mu": 0.5}
    declaration = small(
        datasets=[DATA, OTHER_DATA],
        fusions=["concat", "sum"],
        methods=["vanilla", "miles"],
        ablations={"tau": [0.1], "mu": [0.5, 1.0], "example": example},
    )
    names = {series.name for series in expand(declaration)}
    wanted = set()
    for data in ("tiny", "other"):
        searches = [f"{data}/alone/audio", f"{data}/alone/image"]
        for fusion in ("concat", "sum"):
            searches += [f"{data}/{fusion}/{row}" for row in ("vanilla", "joint", "miles", "training-scores")]
            wanted |= {f"{data}/{fusion}/miles/{what}" for what in ("tau", "mu", "example")}
        wanted |= {*searches, *(f"{name}/final" for name in searches)}
    assert names == wanted


def test_searches_come_before_all_that_waits_for_them():
    kinds = [series.kind for series in expand(small(datasets=[DATA, OTHER_DATA], methods=["miles", "mslr-k"], ablations={}))]
    assert kinds.index("final") > max(place for place, kind in enumerate(kinds) if kind == "search")


def test_only_searches_leave_the_test_split_alone_and_under_the_oracle_not_even_they():
    for rule, expected in (("best-validation", {"search": False}), ("oracle", {"search": True})):
        for series in expand(small(methods=["miles"], selection=rule, ablations={})):
            assert series.test == expected.get(series.kind, True)


def test_the_selected_run_has_the_seed_of_the_search_and_the_others_fresh_ones():
    final = series_of(small(seed=7, seeds=3))["tiny/concat/joint/final"]
    configs = [final.config(final.draft(number, CHOSEN).params, Start(selected=Selected(1, {"optimizer.lr": 0.01}))) for number in range(4)]
    assert [config["seed"] for config in configs] == [7, 8, 9, 10]
    assert {config["optimizer"]["lr"] for config in configs} == {0.01}


def test_a_sweep_sets_one_option_of_the_selected_configuration():
    tau = series_of(small(methods=["miles"], ablations={**SWEEPS, "seeds": 2}))["tiny/concat/miles/tau"]
    configs = [tau.config(tau.draft(number, CHOSEN).params, CHOSEN) for number in range(tau.count)]
    assert [(config["method"]["tau"], config["seed"]) for config in configs] == [(0.5, 0), (0.1, 0), (0.5, 1), (0.1, 1)]
    assert {(config["method"]["mu"], config["optimizer"]["lr"]) for config in configs} == {(0.5, 0.01)}


def test_training_scores_are_what_that_row_alone_looks_at():
    found = series_of(small(methods=["miles"], ablations={**NO_ABLATIONS, "training_scores": True}))
    splits = {name: found[f"tiny/concat/{name}"].draft(0, Start()) for name in ("miles", "training-scores")}
    configs = {name: found[f"tiny/concat/{name}"].config(draft.params, Start()) for name, draft in splits.items()}
    assert configs["miles"]["method"].pop("split") == "val"
    assert configs["training-scores"]["method"].pop("split") == "train"
    assert configs["miles"] == configs["training-scores"]


def test_every_fusion_trains_its_own_model():
    found = series_of(small(fusions=["concat", "sum"]))
    for fusion in ("concat", "sum"):
        assert found[f"tiny/{fusion}/joint"].config({"optimizer.lr": 0.01}, Start())["model"]["fusion"] == fusion


def test_options_of_the_file_are_those_of_the_trials():
    series = series_of(small(methods=["mslr-s"], options={"mslr_s": {"heads": "trained"}}))["tiny/concat/mslr-s"]
    config = series.config({"optimizer.lr": 0.01, "method.strength": 0.25}, RATES)
    assert (config["method"]["heads"], config["method"]["strength"], config["method"]["rates"]) == (
        "trained",
        0.25,
        {"audio": 0.01, "image": 0.001},
    )


# --- what makes a trial another one


def test_values_and_seeds_that_are_added_leave_the_keys_of_the_others():
    before = series_of(small(methods=["miles"], ablations=SWEEPS))
    more = {**SWEEPS, "tau": [0.4, 0.5, 0.0, 0.1], "seeds": 2}
    after = series_of(small(methods=["miles"], ablations=more, seeds=4))
    for name in ("tiny/concat/miles/tau", "tiny/concat/miles/mu", "tiny/concat/miles/final"):
        old, new = keys(before[name]), keys(after[name])
        assert old.items() <= new.items()
        assert len(set(new.values())) == len(new) > len(old)


def test_a_trial_of_a_search_keeps_its_draw_whatever_it_starts_from():
    series = series_of(small(methods=["mslr-s"]))["tiny/concat/mslr-s"]
    others = [Start({UNIMODAL_RATES: {"audio": rate, "image": 0.001}}) for rate in (0.01, 0.02)]
    drafts = [series.draft(1, start) for start in others]
    assert drafts[0].params == drafts[1].params
    assert drafts[0].key != drafts[1].key


def test_a_final_trial_is_another_one_where_another_configuration_was_selected():
    final = series_of(small())["tiny/concat/joint/final"]
    others = [Start(selected=Selected(number, {"optimizer.lr": rate})) for number, rate in ((1, 0.01), (2, 0.01), (1, 0.02))]
    assert len({final.draft(0, start).key for start in others}) == 3
    assert final.draft(0, others[0]).key == final.draft(0, Start(selected=Selected(1, {"optimizer.lr": 0.01}))).key


def test_what_a_sampler_is_to_say_is_not_drawn():
    found = series_of(small(sampler="TPESampler"))
    draft = found["tiny/concat/joint"].draft(0, Start(), drawn=False)
    assert (draft.params, draft.key) == (None, "0")
    assert found["tiny/concat/joint/final"].draft(1, CHOSEN, drawn=False).params == {"seed": 1}


# --- what is tried before anything is trained


def test_the_ends_of_every_range_and_every_choice_are_tried():
    search = {"optimizer.lr": {"low": 0.1, "high": 0.2}, "batch_size": [8, 16, 32]}
    found = corners(series_of(small(search=search))["tiny/concat/joint"])
    assert found == [
        {"optimizer.lr": 0.1, "batch_size": 8},
        {"optimizer.lr": 0.2, "batch_size": 32},
        {"optimizer.lr": 0.1, "batch_size": 16},
    ]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"methods": ["miles"], "search": {"methods": {"miles": {"mu": [0.5, 3.0, 1.0]}}}}, r"^tiny/concat/miles: .*mu = 3.0"),
        ({"datasets": [{**DATA, "model": {"encoders": {"audio": {"in_features": 4}}}}]}, r"^tiny/alone/audio: "),
        ({"methods": ["study.dummies:Choosy"]}, r"^tiny/concat/study.dummies:Choosy: 24 validation samples are too few$"),
    ],
    ids=["option", "encoder", "method"],
)
def test_what_does_not_go_together_is_refused_with_its_row(changes, said):
    declaration = small(**changes)
    with pytest.raises(InputError, match=said):
        check_fit(expand(declaration), {"tiny": load_data(declaration.base("tiny"))})


def test_a_method_that_needs_what_nobody_can_find_is_refused():
    with pytest.raises(InputError, match="needs the philosopher's stone"):
        expand(small(methods=["study.dummies:Curious"]))


# --- parts of a study


def test_what_a_series_needs_comes_with_it():
    series = expand(small(methods=["mslr-k", "miles"], ablations=SWEEPS))
    found = {one.name for one in needed(series, ["tiny/concat/mslr-k/final"])}
    assert found == {"tiny/concat/mslr-k/final", "tiny/concat/mslr-k", "tiny/alone/audio", "tiny/alone/image"}
    assert {one.name for one in needed(series, ["tiny/concat/miles/tau"])} == {"tiny/concat/miles/tau", "tiny/concat/miles"}
    assert needed(series, None) == series


def test_a_series_that_the_study_does_not_have_is_refused_with_the_nearest():
    with pytest.raises(InputError, match=r"'tiny/concat/mile'.*did you mean 'tiny/concat/miles'\?"):
        needed(expand(small(methods=["miles"])), ["tiny/concat/mile"])
