"""``equimodal export``: one file of weights from a run."""

import pytest
import torch

from equimodal import load
from equimodal.train.exporting import load_modality, load_model

INPUTS = {"audio": torch.linspace(-1, 1, 20).reshape(4, 5), "image": torch.linspace(0, 2, 20).reshape(4, 5)}


@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
def test_a_modality_and_a_model(finished, run_command, tmp_path, suffix):
    said = run_command("export", finished[0], "--modality", "audio", "--to", tmp_path / f"audio.{suffix}")
    assert "encoder and head of audio, 3 outputs, weights of epoch" in " ".join(said.split())
    audio, model = load_modality(tmp_path / f"audio.{suffix}"), load(finished[0])
    assert torch.equal(audio.predict({"audio": INPUTS["audio"]}), model.predict({"audio": INPUTS["audio"]}))
    run_command("export", finished[0], "--to", tmp_path / f"all.{suffix}")
    assert torch.equal(load_model(tmp_path / f"all.{suffix}").predict(INPUTS), model.predict(INPUTS))


def test_the_last_weights(finished, run_command, tmp_path):
    run_command("export", finished[0], "--weights", "last", "--to", tmp_path / "last.pt")
    last = torch.load(finished[0] / "last.pt", weights_only=True)["model"]
    exported = torch.load(tmp_path / "last.pt", weights_only=True)
    assert list(exported) == list(last)
    assert all(torch.equal(exported[name], last[name]) for name in last)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["RUN", "--to", "x.bin"], "x.bin ends with '.bin': weights are written to a file that ends with .safetensors or .pt"),
        (["RUN", "--to", "x.pt", "--modality", "audoi"], "unknown modality 'audoi': did you mean 'audio'?"),
        (["nowhere", "--to", "x.pt"], "no run in 'nowhere'"),
        (["RUN"], "--to"),
        (["RUN", "--to", "no/folder/x.pt"], "cannot write no/folder/x.pt"),
        (["RUN", "--to", "x.pt", "--modalty", "audio"], "did you mean '--modality'?"),
    ],
)
def test_bad_input_is_refused_in_one_line_and_nothing_is_written(finished, refused, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    assert said in refused("export", *(finished[0] if word == "RUN" else word for word in words))
    assert not list(tmp_path.iterdir())


def test_a_run_of_fit_is_sent_to_python(refused, tmp_path):
    from train.examples import run

    run(out=tmp_path / "fitted")
    loaded = f"equimodal.load('{tmp_path / 'fitted'}', model=my_model)"
    said = refused("export", tmp_path / "fitted", "--modality", "audio", "--to", "audio.pt")
    assert f"equimodal.train.exporting.export_modality({loaded}, 'audio', 'audio.pt')" in said
    assert f"export_model({loaded}, 'model.pt')" in refused("export", tmp_path / "fitted", "--to", "model.pt")


def test_without_safetensors_the_line_says_how_to_get_it(finished, refused, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "safetensors.torch", None)
    assert "pip install 'equimodal[safetensors]'" in refused("export", finished[0], "--to", tmp_path / "x.safetensors")
    assert not list(tmp_path.iterdir())
