import gzip
import hashlib
import shutil

import pytest
import torch

from equimodal.data import fsdd, mnist
from equimodal.data.avdigits import SPEAKERS, AVDigits, _pictures, pair_by_label
from equimodal.errors import InputError

SMALL = {"train": 300, "val": 100, "test": 100}


@pytest.fixture(scope="module")
def recordings(data_dir):
    return fsdd.load(data_dir / "fsdd")


@pytest.fixture(scope="module")
def small(data_dir):
    return AVDigits(split="unseen-speakers", **SMALL).load(data_dir)


# --- pairing and options: no data needed ---


def test_pairs_have_the_same_label_and_stay_within_the_pool():
    labels = torch.arange(10).repeat(30)
    pool_labels = torch.arange(100) % 10
    pool = torch.arange(20, 90)
    pairs = pair_by_label(labels, pool_labels, pool, seed=0)
    assert torch.equal(pool_labels[pairs], labels)
    assert set(pairs.tolist()) == set(pool.tolist())


def test_pairs_use_the_pool_equally_often():
    pairs = pair_by_label(torch.zeros(25).long(), torch.zeros(10).long(), torch.arange(10), seed=0)
    assert sorted(set(pairs.bincount(minlength=10).tolist())) == [2, 3]


def test_the_first_pairs_do_not_depend_on_how_many_follow():
    labels = torch.randint(10, (500,), generator=torch.Generator().manual_seed(0))
    pool_labels = torch.arange(60) % 10
    pool = torch.arange(60)
    assert torch.equal(pair_by_label(labels, pool_labels, pool, 7)[:123], pair_by_label(labels[:123], pool_labels, pool, 7))


def test_pairs_are_the_same_on_every_machine():
    pairs = pair_by_label(torch.arange(10).repeat(20), torch.arange(70) % 10, torch.arange(70), seed=(20240501, "train"))
    assert hashlib.sha256(repr(pairs.tolist()).encode()).hexdigest()[:16] == "91f8b8f79766100e"


def test_another_seed_pairs_otherwise():
    labels, pool_labels, pool = torch.arange(10).repeat(20), torch.arange(70) % 10, torch.arange(70)
    assert not torch.equal(pair_by_label(labels, pool_labels, pool, 0), pair_by_label(labels, pool_labels, pool, 1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "offical"}, "unknown split 'offical': did you mean 'official'"),
        ({"split": 3}, "unknown split 3"),
        ({"train": 50_001}, "train=50001 samples are not available: choose a whole number from 1 to 50000"),
        ({"val": 10_001}, "val=10001"),
        ({"test": 10_001}, "test=10001"),
        ({"train": 0}, "train=0"),
        ({"train": 10.5}, r"train=10\.5"),
        ({"train": True}, "train=True"),
        ({"pairing_seed": "x"}, "pairing_seed='x'"),
    ],
)
def test_wrong_options_are_told_in_one_line(options, message):
    with pytest.raises(InputError, match=message) as caught:
        AVDigits(**options)
    assert "\n" not in str(caught.value)


def test_default_sizes_are_the_papers():
    assert AVDigits().options() == {"split": "official", "train": 8000, "val": 2000, "test": 2000, "pairing_seed": 20240501}


# --- with the real data ---


def test_shapes_and_types(small):
    for name, size in SMALL.items():
        split = getattr(small, name)
        assert len(split) == size
        for modality in ("image", "audio"):
            assert split.inputs[modality].shape == (size, 1, 28, 28)
            assert split.inputs[modality].dtype == torch.float32
            assert split.inputs[modality].isfinite().all()
        assert split.targets.dtype == torch.int64
        assert split.inputs["image"].min() >= 0
        assert split.inputs["image"].max() <= 1


def test_loading_twice_gives_the_same(data_dir, small):
    again = AVDigits(split="unseen-speakers", **SMALL).load(data_dir)
    for name in SMALL:
        for modality in ("image", "audio"):
            assert torch.equal(getattr(again, name).inputs[modality], getattr(small, name).inputs[modality])


def test_a_smaller_size_is_the_beginning_of_a_larger_one(data_dir, small):
    larger = AVDigits(split="unseen-speakers", train=400, val=150, test=120).load(data_dir)
    for name, size in SMALL.items():
        beginning = getattr(larger, name).subset(torch.arange(size))
        assert torch.equal(beginning.targets, getattr(small, name).targets)
        for modality in ("image", "audio"):
            assert torch.equal(beginning.inputs[modality], getattr(small, name).inputs[modality])


@pytest.mark.parametrize("split", AVDigits.splits)
def test_no_picture_and_no_utterance_is_in_two_splits(data_dir, recordings, split):
    dataset = AVDigits(split=split, train=3000, val=1000, test=1000)
    pools = [set(pool.tolist()) for pool in dataset.utterances(recordings).values()]
    assert sum(map(len, pools)) == len(set.union(*pools)) == 3000
    splits = dataset.load(data_dir)
    for modality in ("image", "audio"):
        seen = [{row.numpy().tobytes() for row in part.inputs[modality]} for part in (splits.train, splits.val, splits.test)]
        assert sum(map(len, seen)) == len(set.union(*seen))


def test_official_split_tests_on_the_first_takes_of_all_speakers(recordings):
    pools = AVDigits().utterances(recordings)
    assert {name: len(pool) for name, pool in pools.items()} == {"train": 2400, "val": 300, "test": 300}
    assert set(recordings.takes[pools["test"]].tolist()) == set(range(5))
    assert len({recordings.speakers[k] for k in pools["test"].tolist()}) == 6


def test_unseen_speakers_are_unseen(recordings):
    pools = AVDigits(split="unseen-speakers").utterances(recordings)
    assert {name: len(pool) for name, pool in pools.items()} == {"train": 1500, "val": 500, "test": 1000}
    assert {name: tuple(sorted({recordings.speakers[k] for k in pool.tolist()})) for name, pool in pools.items()} == SPEAKERS


def test_sounds_are_standardised_by_the_training_utterances(data_dir):
    audio = AVDigits(split="unseen-speakers", train=1500, val=1, test=1).load(data_dir).train.inputs["audio"]
    # The bilinear resizing averages neighbours, which keeps the mean and lessens the spread.
    assert abs(audio.mean()) < 0.05
    assert 0.7 < audio.std() < 1


def test_the_sound_of_a_sample_is_the_one_its_spectrogram_was_made_from(data_dir, recordings):
    dataset = AVDigits(split="unseen-speakers", **SMALL)
    assert dataset.recording("val", "audio", 3) is None  # nothing is loaded
    splits = dataset.load(data_dir)
    pools = dataset.utterances(recordings)
    pictures = _pictures(recordings, pools["train"])
    for name in SMALL:
        values, rate = dataset.recording(name, "audio", 7)
        utterance = next(k for k in pools[name].tolist() if torch.equal(recordings.waveform(k), values))
        assert rate == 8000
        assert torch.equal(pictures[utterance], getattr(splits, name).inputs["audio"][7])
        assert recordings.labels[utterance] == getattr(splits, name).targets[7]
    assert dataset.recording("val", "image", 3) is None
    with pytest.raises(IndexError):
        dataset.recording("val", "audio", 100)


def test_data_directory_is_only_read(data_dir, tmp_path, small):
    copy = _copy(data_dir, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in copy.rglob("*")}
    AVDigits(**SMALL).load(copy)
    assert {path: path.stat().st_mtime_ns for path in copy.rglob("*")} == before


# --- what can be wrong with the files ---


def _copy(data_dir, folder):
    """A data directory of links to the real files, any of which may be replaced."""
    for path in [*(data_dir / "mnist" / name for name in mnist.MD5), data_dir / "fsdd" / fsdd.FILE]:
        link = folder / path.relative_to(data_dir)
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(path)
    return folder


def _replace(path, content):
    path.unlink()
    path.write_bytes(content)


def _refused(folder, message):
    with pytest.raises(InputError, match=message) as caught:
        AVDigits(**SMALL).load(folder)
    text = str(caught.value)
    assert "\n" not in text
    assert str(folder) in text
    assert "equimodal data fetch avdigits" in text
    assert "--data-dir" in text


def test_an_empty_cache_names_both_ways(tmp_path, monkeypatch):
    monkeypatch.setenv("EQUIMODAL_CACHE", str(tmp_path / "cache"))
    with pytest.raises(InputError, match="missing") as caught:
        AVDigits().load()
    text = str(caught.value)
    assert str(tmp_path / "cache") in text
    assert "equimodal data fetch avdigits" in text
    assert "--data-dir" in text
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("name", ["mnist/train-images-idx3-ubyte.gz", "mnist/t10k-labels-idx1-ubyte.gz", f"fsdd/{fsdd.FILE}"])
def test_missing_cut_and_altered_files_are_told_in_one_line(data_dir, tmp_path, name):
    folder = _copy(data_dir, tmp_path)
    path = folder / name
    content = path.read_bytes()
    _replace(path, content[: len(content) // 2])
    _refused(folder, "cut short or damaged")
    _replace(path, b"")
    _refused(folder, "cut short or damaged")
    _replace(path, b"not this at all")
    _refused(folder, "cut short or damaged")
    path.unlink()
    _refused(folder, "missing")
    path.mkdir()
    _refused(folder, "cannot be read")


def test_altered_pictures_are_noticed(data_dir, tmp_path):
    folder = _copy(data_dir, tmp_path)
    path = folder / "mnist" / "t10k-labels-idx1-ubyte.gz"
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[100] ^= 1
    _replace(path, gzip.compress(bytes(content)))
    _refused(folder, "not the original")


def test_pictures_compressed_anew_are_accepted(data_dir, tmp_path):
    path = tmp_path / "t10k-labels-idx1-ubyte.gz"
    shutil.copyfile(data_dir / "mnist" / "t10k-images-idx3-ubyte.gz", tmp_path / "t10k-images-idx3-ubyte.gz")
    path.write_bytes(gzip.compress(gzip.decompress((data_dir / "mnist" / path.name).read_bytes()), compresslevel=1))
    images, labels = mnist.load(tmp_path, "test")
    assert images.shape == (10_000, 28, 28)
    assert labels[:5].tolist() == [7, 2, 1, 0, 4]


def test_altered_sounds_are_noticed(data_dir, tmp_path):
    numpy = pytest.importorskip("numpy")
    folder = _copy(data_dir, tmp_path)
    path = folder / "fsdd" / fsdd.FILE
    with numpy.load(path, allow_pickle=False) as file:
        arrays = dict(file)
    arrays["wav"][1000] += 1
    path.unlink()
    numpy.savez(path, **arrays)
    _refused(folder, "not the original")
    del arrays["offsets"]
    numpy.savez(path, **arrays)
    _refused(folder, "cut short or damaged")
