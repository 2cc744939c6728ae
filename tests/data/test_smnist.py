from types import SimpleNamespace

import pytest
import torch

from equimodal.data.smnist import SMNIST
from equimodal.errors import InputError

numpy = pytest.importorskip("numpy")
pytest.importorskip("PIL")

TRAIN, TEST = 600, 100
SMALL = {"train": 240, "val": 60, "test": 60}


def write_originals(folder, train=TRAIN, test=TEST, *, scale=255.0, dtype="float64"):
    """The six files as they are published: rows in no order of class, 784 and 507 numbers, utterances that repeat."""
    folder.mkdir(parents=True, exist_ok=True)
    random = numpy.random.default_rng(0)
    for part, count in (("train", train), ("test", test)):
        labels = random.integers(0, 10, count)
        written = numpy.zeros((count, 784))
        spoken = numpy.zeros((count, 507))
        for row, label in enumerate(labels):
            written[row, label * 28 : label * 28 + 28] = 255  # the digit's own line is white
            written[row, 783] = row % 256
            # Sixty percent of the rows have an utterance of their own, as in the original; the others repeat one.
            utterance = random.integers(0, max(1, int(count * 0.6)))
            spoken[row] = numpy.random.default_rng([utterance, label, part == "test"]).normal(size=507)
        numpy.save(folder / f"data_wr_{part}.npy", (written / 255 * scale).astype(dtype))
        numpy.save(folder / f"data_sp_{part}.npy", spoken)
        numpy.save(folder / f"labels_{part}.npy", labels)
    return folder


@pytest.fixture
def folder(tmp_path):
    return write_originals(tmp_path / "originals")


# --- options ---


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "utterances"}, "unknown split 'utterances': did you mean 'utterance'"),
        ({"train": 50_001}, "train=50001 samples are not available: choose a whole number from 1 to 50000"),
        ({"val": 0}, "val=0"),
        ({"test": 10_001}, "test=10001"),
        ({"test": True}, "test=True"),
        ({"draw_seed": 1.5}, r"draw_seed=1\.5"),
    ],
)
def test_wrong_options_are_told_in_one_line(options, message):
    with pytest.raises(InputError, match=message) as caught:
        SMNIST(**options)
    assert "\n" not in str(caught.value)


def test_default_sizes_are_the_papers():
    assert SMNIST().options() == {"split": "pair", "train": 8000, "val": 2000, "test": 2000, "draw_seed": 20240501}


def test_image_is_the_stronger_modality_as_in_the_papers_table():
    assert SMNIST.modalities == ("image", "audio")
    assert {name: encoder["depth"] for name, encoder in SMNIST.encoders.items()} == {"image": 10, "audio": 10}


# --- from the files to tensors ---


def test_shapes_types_and_ranges(folder):
    splits = SMNIST(**SMALL).load(folder)
    for name, size in SMALL.items():
        batch = getattr(splits, name)[:]
        assert len(batch.targets) == size
        assert batch.targets.dtype == torch.int64
        for modality in ("image", "audio"):
            assert batch.inputs[modality].shape == (size, 1, 28, 28)
            assert batch.inputs[modality].dtype == torch.float32
            assert batch.inputs[modality].isfinite().all()
        assert batch.inputs["image"].min() == 0
        assert batch.inputs["image"].max() == 1


def test_every_row_keeps_its_picture_its_sound_and_its_label(folder):
    labels = numpy.load(folder / "labels_train.npy")
    spoken = numpy.load(folder / "data_sp_train.npy").reshape(-1, 39, 13)
    dataset = SMNIST(**SMALL)
    prepared = dataset.prepare(folder)
    rows = dataset.rows(prepared)["train"]
    batch = dataset.splits(prepared).train[:]
    assert batch.targets.tolist() == labels[rows].tolist()
    # The line of the digit is white in its own picture.
    assert (batch.inputs["image"][:, 0, :10].sum(2).argmax(1) == batch.targets).all()
    # A sound keeps its mean when it is resized: time stays along the first side, coefficients along the second.
    found = batch.inputs["audio"][:, 0]
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(spoken[rows]).float().unsqueeze(1), size=(28, 28), mode="bilinear", antialias=True, align_corners=False
    )[:, 0]
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("scale", "dtype"), [(255.0, "float64"), (1.0, "float64"), (1.0, "float32"), (255, "uint8")])
def test_pictures_of_either_range_and_any_type_become_the_same(tmp_path, scale, dtype):
    folder = write_originals(tmp_path / "originals", scale=scale, dtype=dtype)
    prepared = SMNIST().prepare(folder)
    pictures = prepared.array("image")
    assert pictures.dtype == torch.uint8
    assert pictures[:256, 0, 27, 27].tolist() == [row % 256 for row in range(256)]


def test_training_and_validation_come_from_the_training_part_and_share_no_pair(folder):
    dataset = SMNIST(**SMALL)
    prepared = dataset.prepare(folder)
    rows = {name: set(found.tolist()) for name, found in dataset.rows(prepared).items()}
    assert max(rows["train"] | rows["val"]) < TRAIN <= min(rows["test"])
    assert not rows["train"] & rows["val"]


def test_the_utterance_split_shares_no_sound_and_the_pair_split_does(folder):
    def heard(split):
        splits = SMNIST(split=split, **SMALL).load(folder)
        return [{row.numpy().tobytes() for row in part[:].inputs["audio"]} for part in (splits.train, splits.val)]

    train, val = heard("utterance")
    assert not train & val
    train, val = heard("pair")
    assert train & val


def test_a_smaller_size_is_a_part_of_a_larger_one_and_moves_no_other_split(folder):
    dataset = SMNIST(**SMALL)
    prepared = dataset.prepare(folder)
    larger = dataset.rows(prepared)
    smaller = SMNIST(**{**SMALL, "train": 100}).rows(prepared)
    assert len(smaller["train"]) == 100
    assert set(smaller["train"].tolist()) < set(larger["train"].tolist())
    for name in ("val", "test"):
        assert (smaller[name] == larger[name]).all()


def test_another_seed_draws_other_pairs(folder):
    prepared = SMNIST(**SMALL).prepare(folder)
    first, second = (set(SMNIST(draw_seed=seed, **SMALL).rows(prepared)["train"].tolist()) for seed in (1, 2))
    assert first != second


def test_all_selections_share_one_prepared_set(folder):
    assert SMNIST(**SMALL).entry() == SMNIST(split="utterance", draw_seed=3).entry()
    SMNIST(**SMALL).load(folder)
    assert len(SMNIST(split="utterance", **SMALL).load().test) == 60


def test_the_papers_sizes_come_from_the_published_counts():
    # Of 60,000 and 10,000 pairs only names, parts and utterances matter here.
    published = SimpleNamespace(
        ids=[f"{part}/{row:05d}" for part, count in (("train", 60_000), ("test", 10_000)) for row in range(count)],
        columns={
            "split": numpy.repeat(["train", "test"], [60_000, 10_000]),
            "utterance": numpy.concatenate([numpy.random.default_rng(0).integers(0, 34_801, 60_000), numpy.arange(60_000, 70_000)]),
        },
    )
    for split in SMNIST.choices:
        rows = SMNIST(split=split).rows(published)
        assert {name: len(set(found.tolist())) for name, found in rows.items()} == {"train": 8000, "val": 2000, "test": 2000}
    largest = SMNIST(train=50_000, val=10_000, test=10_000).rows(published)
    assert {name: len(found) for name, found in largest.items()} == {"train": 50_000, "val": 10_000, "test": 10_000}


def test_a_smaller_source_keeps_the_proportions_and_says_so(folder):
    dataset = SMNIST()
    prepared = dataset.prepare(folder)
    # 600 of 60,000: validation has 100 of its 10,000, which is less than the 2000 asked for, so that all sizes shrink to a twentieth.
    assert {name: len(found) for name, found in dataset.rows(prepared).items()} == {"train": 400, "val": 100, "test": 100}
    assert prepared.manifest["notes"][0].startswith("600 of 60,000 train pairs")
    assert prepared.manifest["notes"][1].startswith("100 of 10,000 test pairs")


def test_a_test_sound_that_is_in_the_training_part_is_noted(folder):
    spoken = numpy.load(folder / "data_sp_test.npy")
    spoken[:3] = numpy.load(folder / "data_sp_train.npy")[:3]
    numpy.save(folder / "data_sp_test.npy", spoken)
    assert "3 test pairs have a sound that is also in the training part" in SMNIST().prepare(folder).manifest["notes"]


# --- what can be wrong with the files ---


def _refused(folder, message, **options):
    with pytest.raises(InputError, match=message) as caught:
        SMNIST(**SMALL, **options).load(folder)
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize("name", ["data_wr_train", "data_sp_test", "labels_train"])
def test_missing_cut_and_foreign_files_are_told_in_one_line(folder, name):
    path = folder / f"{name}.npy"
    content = path.read_bytes()
    for wrong, message in [
        (content[: len(content) // 2], "cut short or damaged"),
        (b"", "cut short or damaged"),
        (b"<!doctype html><html>sign in</html>", "is an HTML page, not data"),
        (b"not this at all", "cut short or damaged"),
    ]:
        path.write_bytes(wrong)
        assert str(path) in _refused(folder, message)
    path.unlink()
    assert path.name in _refused(folder, "does not hold the written and spoken digits")


def test_a_folder_that_is_not_there_is_told_in_one_line(tmp_path):
    _refused(tmp_path / "none", r"none cannot be read \(No such file or directory\): name a folder or an archive of originals")


def test_without_originals_and_without_a_prepared_set_the_way_is_named():
    assert "zenodo" in _refused(None, "has not been prepared")


def test_a_file_that_would_run_code_is_refused(folder):
    numpy.save(folder / "labels_train.npy", numpy.array([print] * TRAIN, dtype=object), allow_pickle=True)
    _refused(folder, "cut short or damaged")


@pytest.mark.parametrize("label", [10, -1, 3.5])
def test_an_unknown_label_is_told_with_its_row(folder, label):
    labels = numpy.load(folder / "labels_train.npy").astype("float64")
    labels[[17, 20]] = label
    numpy.save(folder / "labels_train.npy", labels)
    _refused(folder, rf"unknown label {float(label)} in row 17 \(2 such rows\)")


def test_parts_that_do_not_belong_together_are_told_in_one_line(folder):
    numpy.save(folder / "labels_train.npy", numpy.load(folder / "labels_train.npy")[:-1])
    _refused(folder, "has 600 rows and .*labels_train.npy has 599")


def test_spoken_and_written_files_put_in_each_others_place_are_told_in_one_line(folder):
    (folder / "data_wr_test.npy").rename(folder / "held")
    (folder / "data_sp_test.npy").rename(folder / "data_wr_test.npy")
    (folder / "held").rename(folder / "data_sp_test.npy")
    _refused(folder, r"data_wr_test.npy holds float64 of shape \[100, 507\]: numbers of shape \[pairs, 784\]")


def test_pictures_that_were_standardised_are_refused_and_not_wrapped_around(folder):
    numpy.save(folder / "data_wr_train.npy", numpy.load(folder / "data_wr_train.npy") - 100)
    _refused(folder, "holds values from -100 to 155")


@pytest.mark.parametrize("damaged", [4096, None], ids=["the first rows", "all rows"])
def test_pictures_of_many_rows_of_nan_keep_their_range(tmp_path, damaged):
    written = numpy.random.default_rng(0).random((4100, 784)).astype("float32")  # from 0 to 1
    written[:damaged] = numpy.nan
    for name, values in {"data_wr": written, "data_sp": numpy.zeros((4100, 507)), "labels": numpy.zeros(4100, "int64")}.items():
        numpy.save(tmp_path / f"{name}_train.npy", values)
        numpy.save(tmp_path / f"{name}_test.npy", values[-2:] if damaged else numpy.ones_like(values[-2:]))
    assert "row 0 holds a value that is NaN" in _refused(tmp_path, f"{damaged - 1 if damaged else 4099} others")
    if damaged:
        stored = SMNIST().prepare(tmp_path, skip_damaged=True).array("image")[4096:4100].flatten(1)
        numpy.testing.assert_allclose(stored.numpy(), written[4096:] * 255, atol=0.51)


@pytest.mark.parametrize("name", ["data_wr_train", "data_sp_train"])
def test_a_row_with_nan_is_refused_or_left_out(folder, name):
    values = numpy.load(folder / f"{name}.npy")
    values[5, 7] = numpy.nan
    numpy.save(folder / f"{name}.npy", values)
    assert "--skip-damaged" in _refused(folder, f"{name}.npy: row 5 holds a value that is NaN")
    prepared = SMNIST(**SMALL).prepare(folder, skip_damaged=True)
    assert prepared.usable.sum() == TRAIN + TEST - 1
    splits = SMNIST(train=480, val=90, test=90).splits(prepared)
    assert len(splits.train) + len(splits.val) == 569  # the row is in one of the two, and in neither of them now
