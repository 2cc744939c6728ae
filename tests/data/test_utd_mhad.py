import hashlib
import shutil

import pytest
import torch

from equimodal.data import utd_mhad_files
from equimodal.data.utd_mhad import UTDMHAD
from equimodal.data.utd_mhad_files import REDUCED
from equimodal.errors import InputError
from equimodal.nn import JointFusion, make_encoder

numpy = pytest.importorskip("numpy")
scipy_io = pytest.importorskip("scipy.io")

KINDS = {"skeleton": "d_skel", "inertial": "d_iner", "depth": "d_depth"}


@pytest.fixture
def real(real_folder):
    return real_folder(f"utd_mhad/{REDUCED}")


# --- a small copy of the published files, and of the reduced one ---


def recorded(action, subject, trial):
    """Return what the three sensors gave, in the arrays of the published files."""
    random = numpy.random.default_rng([action, subject, trial])
    time = int(random.integers(17, 24))
    skeleton = random.normal([0.0, 0.0, 2.9], 0.3, (time, 20, 3)).transpose(1, 2, 0)
    inertial = random.normal(0, 1, (int(random.integers(30, 50)), 6))
    depth = numpy.zeros((240, 320, time), dtype="uint16")
    depth[60:200, 100 + subject : 180] = random.integers(2400, 3100, (140, 80 - subject, 1)) + 3 * numpy.arange(time, dtype="uint16")
    depth[random.random((240, 320)) < 0.2] = 0  # where the camera saw nothing
    return {"skeleton": skeleton, "inertial": inertial, "depth": depth}


# Actions of one and of two figures, so that an order by name is another than by number.
RECORDINGS = {(action, subject, 1): recorded(action, subject, 1) for action in (2, 11) for subject in range(1, 9)}


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    return write_published(tmp_path_factory.mktemp("template"), RECORDINGS)


@pytest.fixture
def folder(tmp_path, template):
    """A folder with the published files, for a test to do with as it likes."""
    return shutil.copytree(template, tmp_path / "published")


def write_published(folder, recordings):
    """Write three files for each recording, in the folders of the published archives."""
    for (action, subject, trial), values in recordings.items():
        for kind, name in KINDS.items():
            path = folder / kind.capitalize() / f"a{action}_s{subject}_t{trial}_{kind}.mat"
            path.parent.mkdir(parents=True, exist_ok=True)
            scipy_io.savemat(path, {name: values[kind]}, do_compression=True)
    (folder / "Depth" / ".DS_Store").write_bytes(b"\0")
    (folder / "a2_s1_t1_color.avi").write_bytes(b"RIFF")
    return folder


def by_hand(depth):
    """Return a depth film reduced as the reduced file's description says."""
    last = depth.shape[2] - 1
    small = numpy.zeros((16, 30, 40), dtype="uint8")
    for frame in range(16):
        picture = depth[:, :, round(last * frame / 15)].astype(float)
        for row in range(30):
            for column in range(40):
                block = picture[8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
                small[frame, row, column] = round(block[block > 0].mean() / 16) if (block > 0).any() else 0
    return small


@pytest.fixture(scope="module")
def reduced_arrays():
    skeletons = [values["skeleton"].transpose(2, 0, 1).reshape(-1, 60).astype("float16") for values in RECORDINGS.values()]
    inertials = [values["inertial"].astype("float32") for values in RECORDINGS.values()]
    actions, subjects, trials = zip(*RECORDINGS, strict=True)
    return {
        "skeleton": numpy.concatenate(skeletons),
        "skeleton_offsets": numpy.cumsum([0, *map(len, skeletons)]).astype("int32"),
        "inertial": numpy.concatenate(inertials),
        "inertial_offsets": numpy.cumsum([0, *map(len, inertials)]).astype("int32"),
        "depth": numpy.stack([by_hand(values["depth"]) for values in RECORDINGS.values()]),
        "labels": numpy.array(actions, dtype="uint8") - 1,
        "subjects": numpy.array(subjects, dtype="uint8"),
        "trials": numpy.array(trials, dtype="uint8"),
    }


def write_reduced(folder, arrays, monkeypatch=None):
    """Write the reduced file and, if asked, have it be the known one."""
    folder.mkdir(parents=True, exist_ok=True)
    numpy.savez_compressed(folder / REDUCED, **arrays)
    if monkeypatch is not None:
        monkeypatch.setattr(utd_mhad_files, "SHA256", hashlib.sha256((folder / REDUCED).read_bytes()).hexdigest())
    return folder


def refused(folder, message, named=None, **options):
    with pytest.raises(InputError, match=message) as caught:
        UTDMHAD(**options).load(folder)
    text = str(caught.value)
    assert "\n" not in text
    assert str(folder if named is None else named) in text


# --- both roads ---


def test_the_published_files_and_the_reduced_one_give_the_same_tensors(tmp_path, monkeypatch, folder, reduced_arrays):
    published = UTDMHAD().load(folder)
    monkeypatch.setenv("EQUIMODAL_CACHE", str(tmp_path / "other"))
    reduced = UTDMHAD().load(write_reduced(tmp_path / "utd_mhad", reduced_arrays, monkeypatch))
    for name in ("train", "val", "test"):
        one, other = (getattr(splits, name)[:] for splits in (published, reduced))
        assert torch.equal(one.targets, other.targets)
        for modality in ("skeleton", "inertial"):
            assert torch.equal(one.inputs[modality].lengths, other.inputs[modality].lengths)
            torch.testing.assert_close(one.inputs[modality].values, other.inputs[modality].values, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(one.inputs["depth"], other.inputs["depth"], rtol=1e-4, atol=1e-4)


def test_what_a_sensor_gave_arrives_standardised_by_the_training_people(folder):
    dataset = UTDMHAD()
    prepared = dataset.prepare(folder)
    train = dataset.splits(prepared).train[:]
    ids = [prepared.ids[row] for row in dataset.rows(prepared)["train"]]
    assert ids == [f"a{action}_s{subject}_t1" for action in (2, 11) for subject in (1, 3, 5)]
    assert train.targets.tolist() == [1, 1, 1, 10, 10, 10]
    moved = [RECORDINGS[action, subject, 1]["inertial"] for action in (2, 11) for subject in (1, 3, 5)]
    joints = [RECORDINGS[action, subject, 1]["skeleton"] for action in (2, 11) for subject in (1, 3, 5)]
    # Seen from the hip's centre, the fourth joint, in the first frame.
    stood = [(values - values[3:4, :, :1]).transpose(2, 0, 1).reshape(-1, 60) for values in joints]
    for name, recordings, tolerance in (("inertial", moved, 1e-3), ("skeleton", stood, 0.02)):  # joints are rounded to 16 bits
        steps = numpy.concatenate(recordings)
        for number, recording in enumerate(recordings):
            expected = (recording - steps.mean(0)) / steps.std(0)
            assert train.inputs[name].lengths[number] == len(expected)
            numpy.testing.assert_allclose(train.inputs[name].values[number][: len(expected)], expected, rtol=tolerance, atol=tolerance)
    seen = [by_hand(RECORDINGS[action, subject, 1]["depth"]) for action in (2, 11) for subject in (1, 3, 5)]
    mean, std = numpy.mean(seen, axis=(0, 2, 3)), numpy.std(seen, axis=(0, 2, 3))
    expected = (seen - mean[:, None, None]) / std[:, None, None]
    numpy.testing.assert_allclose(train.inputs["depth"], expected, rtol=1e-3, atol=1e-3)


def test_where_a_person_stands_does_not_matter(tmp_path, monkeypatch, folder):
    here = UTDMHAD().load(folder)
    elsewhere = {}
    for key, values in RECORDINGS.items():
        elsewhere[key] = {**values, "skeleton": values["skeleton"] + numpy.array([0.5, -0.25, 0.125])[None, :, None]}
    monkeypatch.setenv("EQUIMODAL_CACHE", str(tmp_path / "other"))
    there = UTDMHAD().load(write_published(tmp_path / "there", elsewhere))
    torch.testing.assert_close(
        here.test[:].inputs["skeleton"].values, there.test[:].inputs["skeleton"].values, rtol=0, atol=0.03
    )  # joints are rounded to 16 bits


def test_the_people_of_the_splits_are_different_ones(folder):
    prepared = UTDMHAD().prepare(folder)
    for held in (1, 3, 5, 7):
        dataset = UTDMHAD(val_subject=held)
        assert dataset.entry() == prepared.folder
        people = {name: set(prepared.columns["subject"][rows].tolist()) for name, rows in dataset.rows(prepared).items()}
        assert people == {"train": {1, 3, 5, 7} - {held}, "val": {held}, "test": {2, 4, 6, 8}}


def test_default_encoders_take_a_batch_and_pass_gradients_back(folder):
    batch = UTDMHAD().load(folder).train[torch.tensor([0, 3, 5])]
    model = JointFusion({name: make_encoder(spec) for name, spec in UTDMHAD.encoders.items()}, UTDMHAD.num_outputs, "concat")
    model(batch.inputs).multimodal.square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.encoders.parameters())


def test_fewer_recordings_than_published_are_noted(folder):
    assert "16 of 861 recordings" in " ".join(UTDMHAD().prepare(folder).manifest["notes"])


# --- options ---


@pytest.mark.parametrize("subject", [2, 0, "7", True, 9])
def test_who_cannot_be_held_out_is_told_in_one_line(subject):
    with pytest.raises(InputError, match=f"val_subject={subject!r} is none of those who train: choose 1, 3, 5 or 7"):
        UTDMHAD(val_subject=subject)


# --- what can be wrong with the published files ---


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_without_one_of_the_kinds_is_refused(folder, kind):
    shutil.rmtree(folder / kind.capitalize())
    refused(folder, rf"there is no file a\*_s\*_t\*_{kind}.mat below it")


def test_a_missing_file_is_named_and_its_recording_may_be_left_out(folder):
    path = folder / "Inertial" / "a11_s3_t1_inertial.mat"
    path.unlink()
    refused(folder, "a11_s3_t1_inertial.mat is missing", path)
    prepared = UTDMHAD().prepare(folder, skip_damaged=True)
    assert [len(part) for part in UTDMHAD().splits(prepared).parts().values()] == [5, 2, 8]


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_named_and_its_recording_may_be_left_out(folder, kind):
    path = folder / kind.capitalize() / f"a2_s4_t1_{kind}.mat"
    path.write_bytes(path.read_bytes()[:300])
    refused(folder, "is cut short or damaged", path)
    path.write_bytes(b"<html>404</html>")
    refused(folder, "is an HTML page", path)
    path.write_bytes(b"")
    refused(folder, "is empty", path)
    prepared = UTDMHAD().prepare(folder, skip_damaged=True)
    assert list(prepared.manifest["damaged"]) == ["a2_s4_t1"]
    assert len(UTDMHAD().splits(prepared).test) == 7


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        ("skeleton", numpy.full((20, 3, 18), numpy.nan), "d_skel holds a value that is NaN or infinite"),
        ("inertial", numpy.full((40, 6), numpy.inf), "d_iner holds a value that is NaN or infinite"),
        ("skeleton", numpy.full((20, 3, 18), -1e6), "d_skel holds 1e.06, and places in metres are needed"),
        ("skeleton", numpy.ones((19, 3, 18)), r"d_skel has shape \[19, 3, 18\], \[20, 3, time\] is needed"),
        ("inertial", numpy.ones((40, 7)), r"d_iner has shape \[40, 7\], \[time, 6\] is needed"),
        ("inertial", numpy.ones((0, 6)), r"d_iner has shape \[0, 6\]"),
        ("depth", numpy.ones((240, 320)), r"d_depth has shape \[240, 320\], \[240, 320, time\] is needed"),
        ("skeleton", numpy.ones((20, 3, 126)), "its skeleton has 126 steps, and the longest of the data set has 125"),
        ("inertial", numpy.array([["walk"]]), "d_iner does not hold real numbers"),
    ],
)
def test_wrong_values_are_told_in_one_line(folder, kind, values, message):
    scipy_io.savemat(folder / kind.capitalize() / f"a11_s8_t1_{kind}.mat", {KINDS[kind]: values})
    refused(folder, message, "a11_s8_t1")


def test_another_variable_is_told_in_one_line(folder):
    path = folder / "Depth" / "a2_s1_t1_depth.mat"
    scipy_io.savemat(path, {"depth": numpy.ones(3)})
    refused(folder, "has no d_depth", path)


def test_a_file_of_a_newer_version_is_told_in_one_line(folder):
    path = folder / "Depth" / "a2_s1_t1_depth.mat"
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(512))
    refused(folder, "is a MATLAB file of version 7.3: save it as version 7 or older", path)


@pytest.mark.parametrize(
    ("name", "message"), [("a28_s1_t1", "unknown action 28: 1 to 27"), ("a1_s9_t1", "unknown person 9"), ("a1_s1_t5", "unknown trial 5")]
)
def test_an_unknown_action_person_or_trial_is_refused(folder, name, message):
    path = folder / "Inertial" / f"{name}_inertial.mat"
    shutil.copyfile(folder / "Inertial" / "a2_s1_t1_inertial.mat", path)
    refused(folder, message, path)


def test_an_archive_unpacked_twice_is_refused(folder):
    shutil.copytree(folder / "Inertial", folder / "Inertial (1)")
    refused(folder, r"_inertial.mat is there twice, in .*Inertial and in .*Inertial \(1\): remove one")


def test_a_recording_of_two_people_leaks_and_is_refused(folder):
    shutil.copyfile(folder / "Inertial" / "a2_s1_t1_inertial.mat", folder / "Inertial" / "a2_s2_t1_inertial.mat")
    refused(folder, "a2_s1_t1 in train and a2_s2_t1 in test hold the same inertial recording, which leaks: get both anew", "utd-mhad")


def test_a_split_without_a_person_is_refused(tmp_path):
    folder = write_published(tmp_path, {key: values for key, values in RECORDINGS.items() if key[1] != 7})
    refused(folder, "the val split is empty: no recording of person 7", "utd-mhad")
    assert len(UTDMHAD(val_subject=5).load(folder).train) == 4


def test_an_empty_or_missing_folder_is_refused(tmp_path):
    refused(tmp_path, "does not hold utd_mhad.npz, or the files")
    refused(tmp_path / "none", "is not there|cannot be read")


# --- what can be wrong with the reduced file ---


def test_the_reduced_file_is_known_by_its_checksum(tmp_path, reduced_arrays):
    folder = write_reduced(tmp_path / "utd_mhad", reduced_arrays)
    refused(folder, "sha256 [0-9a-f]{64}, not aeac6007", folder / REDUCED)
    refused(tmp_path, "is not the original", folder / REDUCED)


def test_a_truncated_reduced_file_is_told_in_one_line(tmp_path, monkeypatch, reduced_arrays):
    path = write_reduced(tmp_path, reduced_arrays, monkeypatch) / REDUCED
    content = path.read_bytes()
    for length in (len(content) // 2, len(content) - 1, 10):
        path.write_bytes(content[:length])
        refused(tmp_path, "cut short or damaged", path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": lambda labels: labels + 20}, "unknown action 31: 1 to 27 are known"),
        ({"subjects": lambda subjects: subjects * 0}, "unknown person 0"),
        ({"subjects": lambda subjects: subjects * 0 + 1}, "'a2_s1_t1' stands there more than once"),
        ({"inertial": lambda values: values * numpy.nan}, "inertial of a2_s1_t1 holds a value that is NaN"),
        ({"skeleton": lambda values: values[:, :59]}, "skeleton has shape"),
        ({"skeleton_offsets": lambda values: values[::-1]}, "skeleton_offsets do not divide"),
        ({"depth": lambda values: values[:3]}, r"depth has shape \[3, 16, 30, 40\], \[16, 16, 30, 40\] is needed"),
        ({"trials": lambda values: numpy.array([object()] * len(values))}, "cut short or damaged"),
    ],
)
def test_wrong_contents_of_the_reduced_file_are_told_in_one_line(tmp_path, monkeypatch, reduced_arrays, changes, message):
    arrays = {name: changes[name](values) if name in changes else values for name, values in reduced_arrays.items()}
    folder = write_reduced(tmp_path, arrays, monkeypatch)
    refused(folder, message, folder / REDUCED)


# --- with the real file ---


def test_real_sizes_people_and_balance(real):
    dataset = UTDMHAD()
    prepared = dataset.prepare(real)
    assert not prepared.manifest["notes"]
    splits = dataset.splits(prepared)
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [323, 108, 430]
    for part, each in ((splits.train, 12), (splits.val, 4), (splits.test, 16)):
        batch = part[:]
        assert batch.inputs["skeleton"].values.shape == (len(part), 125, 60)
        assert batch.inputs["inertial"].values.shape == (len(part), 326, 6)
        assert batch.inputs["depth"].shape == (len(part), 16, 30, 40)
        assert all(set(counts) <= {each - 1, each} for counts in [part.targets.bincount(minlength=27).tolist()])
    lengths = {name: torch.cat([part[:].inputs[name].lengths for part in splits.parts().values()]) for name in ("skeleton", "inertial")}
    assert {name: (values.min().item(), values.max().item()) for name, values in lengths.items()} == {
        "skeleton": (41, 125),
        "inertial": (107, 326),
    }
    people = [set(prepared.columns["subject"][rows].tolist()) for rows in dataset.rows(prepared).values()]
    assert people == [{1, 3, 5}, {7}, {2, 4, 6, 8}]


def test_real_training_split_is_standardised(real):
    train = UTDMHAD().load(real).train[:]
    for name in ("skeleton", "inertial"):
        values, lengths = train.inputs[name]
        steps = values[torch.arange(values.shape[1]) < lengths[:, None]]
        torch.testing.assert_close(steps.mean(0), torch.zeros(steps.shape[1]), atol=1e-3, rtol=0)
        torch.testing.assert_close(steps.std(0), torch.ones(steps.shape[1]), atol=1e-3, rtol=0)
    frames = train.inputs["depth"].transpose(0, 1).flatten(1)
    torch.testing.assert_close(frames.std(1), torch.ones(16), atol=1e-3, rtol=0)
