"""A user's own data: what each kind of file becomes for an encoder, and what a sample may lack."""

import numpy
import pytest
import torch

from equimodal.data.own import Own

from .own_files import LABELS, rows, track, write_table

pyarrow = pytest.importorskip("pyarrow", reason="needs pyarrow")


def described(folder, text):
    (folder / "my.yaml").write_text(text, encoding="utf-8")
    return Own(str(folder / "my.yaml"))


def with_audio(folder, lines, head="table: samples.csv"):
    """The set with other lines for its audio."""
    inner = "".join(f"    {line}\n" for line in lines)
    return described(folder, f"{head}\nmodalities:\n  image: images.npy\n  audio:\n{inner}")


def write_parquet(path, columns):
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.table(columns), path, row_group_size=7)


# --- kinds of files


def audio(own, split="train"):
    return getattr(own.load(), split)[:].inputs["audio"]


def test_members_of_an_npz_file(folder):
    vectors = numpy.arange(60, dtype="float64").reshape(30, 2)
    numpy.savez_compressed(folder / "features.npz", first=vectors, second=numpy.asfortranarray(-vectors))
    own = with_audio(folder, ["file: features.npz", "member: second"])
    assert own.encoders["audio"] == {"name": "mlp", "in_features": 2}
    assert audio(own).equal(-torch.from_numpy(vectors[:18]).float())


def test_one_npz_file_for_each_sample(folder):
    (folder / "z").mkdir()
    for number in range(30):
        numpy.savez(folder / "z" / f"c{number:02}.npz", mfcc=track(number), rate=8000)
    found = audio(with_audio(folder, ["file: 'z/{id}.npz'", "member: mfcc"]))
    assert found.values[4, : int(found.lengths[4])].numpy().tolist() == track(4).tolist()


def test_columns_of_a_parquet_file(folder):
    numbers = numpy.arange(30)
    write_parquet(folder / "f.parquet", {"b": numbers * 2, "a": numbers * 0.5, "word": ["x"] * 30})
    assert audio(with_audio(folder, ["file: f.parquet", "columns: [b, a]"]))[3].tolist() == [6.0, 1.5]


def test_a_parquet_file_with_ids_is_joined_by_them(folder):
    order = numpy.random.default_rng(0).permutation(30)
    write_parquet(folder / "f.parquet", {"id": [f"c{k:02}" for k in order], "v": [[float(k), -float(k)] for k in order]})
    assert audio(with_audio(folder, ["file: f.parquet", "columns: v"]))[:, 0].tolist() == list(range(18))


@pytest.mark.parametrize("nested", [True, False])
def test_lists_of_different_lengths_in_a_parquet_file(folder, nested):
    lists = [track(k).tolist() if nested else track(k)[:, 0].tolist() for k in range(30)]
    write_parquet(folder / "f.parquet", {"v": lists})
    own = with_audio(folder, ["file: f.parquet", "columns: v", "kind: sequence"])
    found = audio(own)
    assert own.encoders["audio"]["in_features"] == (2 if nested else 1)
    assert found.lengths.tolist() == [3 + k % 4 for k in range(18)]
    assert found.values[7, : int(found.lengths[7]), 0].tolist() == track(7)[:, 0].tolist()


def test_lists_of_fixed_size_and_gaps_in_a_parquet_file(folder):
    import pyarrow.parquet

    values = [None if k % 5 == 0 else [float(k), 1.0] for k in range(30)]
    table = pyarrow.table({"v": pyarrow.array(values, pyarrow.list_(pyarrow.float32(), 2))})
    pyarrow.parquet.write_table(table, folder / "f.parquet", row_group_size=7)
    own = with_audio(folder, ["file: f.parquet", "columns: v", "optional: true"])
    train = own.load().train
    assert train.present["audio"].tolist() == [k % 5 != 0 for k in range(18)]
    assert train[:].inputs["audio"][7].tolist() == [7.0, 1.0]


def test_columns_of_the_table(folder):
    samples = [{**row, "age": 20 + k, "height": 1.5} for k, row in enumerate(rows())]
    write_table(folder, samples)
    assert audio(with_audio(folder, ["columns: [height, age]"]))[2].tolist() == [1.5, 22.0]


def test_a_table_in_parquet(folder):
    write_parquet(folder / "samples.parquet", {**{key: [row[key] for row in rows()] for key in rows()[0]}, "v": numpy.arange(30.0)})
    own = with_audio(folder, ["columns: v"], head="table: samples.parquet")
    assert own.class_names == LABELS
    assert audio(own, "test")[:, 0].tolist() == list(range(24, 30))


def test_paths_in_a_column_and_a_folder_elsewhere(folder, tmp_path, monkeypatch):
    (folder / "audio").rename(folder / "sounds")
    write_table(folder, [{**row, "path": folder / "sounds" / f"{row['id']}.npy"} for row in rows()])
    (tmp_path / "lists").mkdir()
    own = with_audio(folder, ["file: '{path}'"])
    assert audio(own).lengths.tolist() == [3 + k % 4 for k in range(18)]
    monkeypatch.chdir(folder)
    assert Own("my.yaml").encoders == own.encoders
    text = (folder / "my.yaml").read_text()
    (tmp_path / "lists" / "my.yaml").write_text(f"folder: {folder}\n{text}")
    assert audio(Own(str(tmp_path / "lists" / "my.yaml"))).lengths.tolist() == [3 + k % 4 for k in range(18)]


def test_padded_rows_with_lengths(folder):
    numpy.save(folder / "padded.npy", numpy.ones((30, 8, 2)))
    write_table(folder, [{**row, "steps": 1 + k % 8} for k, row in enumerate(rows())])
    found = audio(with_audio(folder, ["file: padded.npy", "lengths: steps", "standardise: true", "max_length: 6"]))
    assert found.values.shape == (18, 6, 2)
    assert found.lengths.tolist() == [min(1 + k % 8, 6) for k in range(18)]


KINDS = {
    "a single number": ((), "float64", [], (1,), {"name": "mlp", "in_features": 1}),
    "whole numbers": ((5,), "int64", [], (5,), {"name": "mlp", "in_features": 5}),
    "half precision": ((5,), "float16", [], (5,), {"name": "mlp", "in_features": 5}),
    "a sequence of one length": ((7, 3), "float32", [], (7, 3), {"name": "sequence", "in_features": 3}),
    "a wave": ((7,), "int16", ["kind: sequence"], (7, 1), {"name": "sequence", "in_features": 1}),
    "a spectrogram": ((30, 40), "float32", ["kind: picture"], (1, 30, 40), {"name": "resnet", "depth": 10, "in_channels": 1}),
    "channels last": ((9, 9, 3), "uint8", ["channels: last"], (3, 9, 9), {"name": "resnet", "depth": 6, "in_channels": 3}),
    "a flattened picture": ((1, 4, 4), "uint8", ["kind: vector"], (16,), {"name": "mlp", "in_features": 16}),
    "an encoder of its own": (
        (5,),
        "float32",
        ["encoder: {name: mlp, hidden: [3]}"],
        (5,),
        {"name": "mlp", "in_features": 5, "hidden": [3]},
    ),
    "a large one": (
        (2, 2, 2, 2),
        "float32",
        ["kind: tensor", "encoder: {name: mlp, in_features: 16}"],
        (2, 2, 2, 2),
        {"name": "mlp", "in_features": 16},
    ),
}


@pytest.mark.parametrize(("shape", "dtype", "lines", "given", "encoder"), KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("standardise", [True, False])
def test_every_shape_has_its_encoder_and_trains(folder, shape, dtype, lines, given, encoder, standardise):
    values = numpy.random.default_rng(0).integers(0, 200, (30, *shape)).astype(dtype)
    numpy.save(folder / "values.npy", values)
    own = with_audio(folder, ["file: values.npy", *lines, *(["standardise: true"] if standardise else [])])
    assert own.encoders["audio"] == encoder
    found = audio(own)
    assert found.shape == (18, *given)
    assert found.dtype == torch.float32
    flat = values[:18].transpose(0, 3, 1, 2) if "channels: last" in lines else values[:18]
    expected = torch.from_numpy(flat.astype("float64")).reshape(found.shape)
    if standardise:
        spread = found.double().reshape(18, -1)
        assert abs(float(spread.mean())) < 1e-3
        assert float(torch.corrcoef(torch.stack([spread.flatten(), expected.flatten()]))[0, 1]) > 0.8
    else:
        torch.testing.assert_close(found.double(), expected / (255 if dtype == "uint8" else 1), rtol=1e-3, atol=1e-6)
    from equimodal.nn.encoders import make_encoder

    assert make_encoder(own.encoders["audio"])(found).shape[0] == 18


def test_vectors_are_standardised_number_by_number(folder):
    values = numpy.random.default_rng(0).normal(5, 3, (30, 4))
    values[:, 3] = 7.0
    numpy.save(folder / "values.npy", values)
    splits = with_audio(folder, ["file: values.npy", "standardise: true"]).load()
    expected = (values[24:] - values[:18].mean(0)) / [*values[:18, :3].std(0), 1]
    numpy.testing.assert_allclose(splits.test[:].inputs["audio"], expected, rtol=1e-4, atol=1e-5)


def test_tokens_are_masked_where_they_are_padding(folder):
    tokens = numpy.array([[5, 7, 0, 0], [3, 2, 9, 0]] * 15)
    numpy.save(folder / "tokens.npy", tokens)
    found = audio(with_audio(folder, ["file: tokens.npy", "kind: tokens", "encoder: {name: text, vocabulary: 10}"]))
    assert found["input_ids"].dtype == torch.int64
    assert found["input_ids"][:2].tolist() == tokens[:2].tolist()
    assert found["attention_mask"][:2].tolist() == [[1, 1, 0, 0], [1, 1, 1, 0]]


# --- what a sample lacks


def test_a_missing_file_is_an_absent_modality_where_that_is_allowed(folder):
    (folder / "audio" / "c03.npy").unlink()
    train = with_audio(folder, ["file: 'audio/{id}.npy'", "optional: true", "standardise: true"]).load().train
    assert train.present["audio"].tolist() == [k != 3 for k in range(18)]
    assert "image" not in train.present


def test_an_empty_cell_is_an_absent_modality_where_that_is_allowed(folder):
    write_table(folder, [{**row, "sound": "" if k == 4 else row["id"]} for k, row in enumerate(rows())])
    train = with_audio(folder, ["file: 'audio/{sound}.npy'", "optional: true"]).load().train
    assert train.present["audio"].tolist() == [k != 4 for k in range(18)]


def test_a_column_tells_where_rows_are_present(folder):
    values = numpy.ones((30, 3))
    values[::4] = numpy.nan
    numpy.save(folder / "values.npy", values)
    write_table(folder, [{**row, "heard": ["no", "1", "true", "Yes"][k % 4]} for k, row in enumerate(rows())])
    train = with_audio(folder, ["file: values.npy", "optional: true", "present: heard"]).load().train
    assert train.present["audio"].tolist() == [k % 4 != 0 for k in range(18)]
    assert train[:].inputs["audio"].isfinite().all()
