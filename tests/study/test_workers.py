"""Worker processes: what they find does not depend on how many they are, nor on which of them end."""

import pytest

from equimodal import InputError
from equimodal.study.protocol import run_study
from equimodal.study.work import MOST_ATTEMPTS

from .small import JOINT, begun, claim, done, numbers, record_of, series_of, small, states_of, trials_of

pytest.importorskip("optuna", reason="Optuna is not installed (equimodal[study])")


@pytest.mark.slow
def test_two_processes_find_the_same_as_one(tmp_path):
    declaration, wanted = small(methods=["mslr-k"]), {"only": ["tiny/concat/mslr-k/final", JOINT]}
    one = done(declaration, tmp_path / "one", **wanted)
    two = done(declaration, tmp_path / "two", workers=2, **wanted)
    assert numbers(one) == numbers(two)
    assert {trial.attempts for trial in two.trials if trial.done} == {1}
    assert sum(trial.done for trial in two.trials) == 4 * 2 + 2


@pytest.mark.slow
def test_a_trial_that_kills_its_process_is_recorded_and_the_others_are_done(tmp_path):
    murderous = "tiny/concat/study.dummies:Murderous"
    declaration = small(methods=["joint", "study.dummies:Murderous"], trials=1)
    said = []
    wanted = [murderous, f"{JOINT}/final"]
    deaths = 7
    storage = begun(tmp_path, declaration)
    for _ in range(MOST_ATTEMPTS - deaths):
        storage.finish(claim(storage, series_of(declaration)[murderous]), "FAIL", {})
    assert run_study(declaration, tmp_path, workers=2, only=wanted, on_event=lambda event: said.append(event.text))
    record = record_of(declaration, tmp_path)
    (trial,) = trials_of(record, murderous)
    assert (trial.state, trial.attempts) == ("failed", MOST_ATTEMPTS + 1)
    assert trial.reason == f"its process ended {MOST_ATTEMPTS} times after epoch 0, perhaps for lack of memory"
    assert states_of(record, f"{JOINT}/final") == ["complete"] * 2
    assert sum("was ended from outside" in text for text in said) == deaths


@pytest.mark.parametrize("workers", [0, -1, 1.5, True])
def test_a_number_of_workers_that_is_none_is_refused(tmp_path, workers):
    with pytest.raises(InputError, match="workers = "):
        run_study(small(), tmp_path / "study", workers=workers)
    assert not (tmp_path / "study").exists()


def test_what_does_not_go_together_is_refused_before_the_study_has_begun(tmp_path):
    declaration = small(search={"optimizer.lr": -1.0})
    with pytest.raises(InputError, match=r"^tiny/alone/audio: .*Invalid learning rate"):
        run_study(declaration, tmp_path, workers=2)
    assert run_study(small(trials=1), tmp_path, only=[JOINT])


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match=r"cannot make the folder .*; choose another with --out"):
        run_study(small(), tmp_path / "file" / "study")
