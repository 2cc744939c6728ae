import csv
import os
import pickle
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

pytest.importorskip("scipy")
pytest.importorskip("soundfile")

import numpy

from data.luma_copy import HUNDRED, OURS, RECORDINGS, SOURCES, TEN, picture, write_cifar, write_generated, write_recordings, write_table
from data.media import write_sound
from equimodal.data import cifar, luma
from equimodal.data.luma import LUMA, WORDS
from equimodal.errors import InputError
from equimodal.nn import JointFusion
from equimodal.nn.encoders import make_encoder


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("luma")
    write_recordings(folder / "audio")
    write_cifar(folder)
    with pytest.MonkeyPatch.context() as patch:
        write_generated(folder / "edm_images.pickle", patch)
    return folder


@pytest.fixture
def folder(made, tmp_path):
    """A copy in which any file may be replaced."""
    shutil.copytree(made, tmp_path / "originals", copy_function=os.link)
    return tmp_path / "originals"


def replaced(path, content):
    path.unlink()
    path.write_bytes(content)


def refused(folder, message, **options):
    with pytest.raises(InputError, match=message) as caught:
        LUMA(**options).prepare(folder)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700
    return str(caught.value)


# --- what is made of it ---


def test_shapes_types_and_sizes(made):
    splits = LUMA().load(made)
    # Nine pairs of each of 22 classes, in the proportion of 25,000 to 4000 to 4000.
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [150, 24, 24]
    batch = splits.train[torch.arange(7)]
    assert batch.inputs["audio"].shape == (7, 1, 96, 96)
    assert batch.inputs["image"].shape == (7, 3, 96, 96)
    assert all(batch.inputs[name].dtype == torch.float32 for name in LUMA.modalities)
    assert splits.train.targets.dtype == torch.int64
    assert splits.train[3].inputs["image"].shape == (3, 96, 96)
    every = torch.cat([splits.train.targets, splits.val.targets, splits.test.targets])
    assert every.bincount().tolist() == [9] * 22


def test_the_classes_are_those_with_the_most_pairs_in_lumas_order(made):
    dataset = LUMA()
    prepared = dataset.prepare(made)
    assert prepared.facts["class_names"] == list(WORDS[:22])
    assert prepared.manifest["notes"] == [
        "9 pairs of each of the 22 classes instead of 1,500, as many as there are of 'man': the splits are smaller in the same proportion"
    ]
    dataset.load()
    assert dataset.class_names == WORDS[:22]


def test_word_and_picture_of_a_pair_are_of_its_class(made):
    prepared = LUMA().prepare(made)
    pixels, targets = prepared.array("image"), torch.from_numpy(prepared.columns["target"])
    assert torch.equal(pixels[:, 0, 0, 0].long() // 4, targets)
    assert [name.split("/")[1] for name in prepared.ids] == [WORDS[number] for number in targets.tolist()]
    loudest = prepared.array("audio").float()[:, 0].mean(2).argmax(1)
    for number in range(21):  # the pitch rises from word to word
        assert loudest[targets == number].float().mean() < loudest[targets == number + 1].float().mean()


def test_pictures_are_stored_as_they_are_and_stand_upright(made):
    prepared = LUMA().prepare(made)
    for row, name in enumerate(prepared.ids):
        source = name.split(" + ")[1].split("/")[0]
        stored = prepared.array("image")[row].numpy()
        assert numpy.array_equal(stored, picture(WORDS[prepared.columns["target"][row]], source, int(stored[2, 0, 0]) - SOURCES[source]))


def test_pictures_come_from_all_three_sources_and_each_is_used_once(made):
    ids = LUMA().prepare(made).ids
    pictures = [name.split(" + ")[1] for name in ids]
    assert {name.split("/")[0] for name in pictures} == set(SOURCES)
    assert len(set(pictures)) == len(pictures)
    assert len({name.split(" + ")[0] for name in ids}) == len(ids)


def test_pictures_are_enlarged_and_both_modalities_standardised_by_the_training_pairs(made):
    train = LUMA().load(made).train
    batch = train[torch.arange(len(train))]
    for name in LUMA.modalities:
        value = batch.inputs[name].transpose(0, 1).flatten(1)
        torch.testing.assert_close(value.mean(1), torch.zeros(len(value)), atol=0.02, rtol=0)
        torch.testing.assert_close(value.std(1), torch.ones(len(value)), atol=0.05, rtol=0)
    green = batch.inputs["image"][0, 1]
    assert (green.diff(dim=1) > -1e-5).all()  # bilinear: no steps back
    assert len(green[0].unique()) > 60


def test_a_tone_is_loudest_in_the_middle_of_the_time_and_at_its_band(tmp_path):
    path = tmp_path / "tone.wav"
    write_sound(path, seconds=0.3, rate=22_050, frequency=1000)
    spectrogram = luma._spectrogram(path)[0]
    assert spectrogram.shape == (96, 96)
    peak = 2595 * numpy.log10(1 + 1000 / 700)
    low, high = (2595 * numpy.log10(1 + edge / 700) for edge in (20, 8000))
    assert abs(spectrogram[:, 48].argmax() + 1 - (peak - low) / (high - low) * 97) <= 1
    heard = spectrogram.max(0) > -10
    assert heard[36:60].all()
    assert not heard[:30].any()
    assert not heard[-30:].any()
    assert numpy.allclose(spectrogram[:, 0], numpy.log(1e-8))


def test_a_spectrogram_is_shown_with_its_low_bands_at_the_bottom(made):
    sample = LUMA().load(made).train[0].inputs
    assert torch.equal(LUMA().shown("audio", sample["audio"])[:, 95], sample["audio"][:, 0])
    assert LUMA().shown("image", sample["image"]) is sample["image"]


def test_every_band_hears_something(tmp_path):
    noise = torch.randn(luma.SAMPLES, generator=torch.Generator().manual_seed(0)) * 0.1
    power = luma.log_mel(noise, luma.RATE, bands=luma.BANDS, frame=luma.FRAME, hop=luma.HOP, fft_length=luma.FFT, pre_emphasis=0)
    assert power.shape == (96, 96)
    assert power.mean(0).min() > -10


@pytest.mark.parametrize("place", ["", "data", "LUMA"])
def test_the_layouts_in_use_are_found(made, tmp_path, place):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / place / ".").resolve().mkdir(exist_ok=True)
    for name in ("audio", "edm_images.pickle"):
        (tmp_path / "elsewhere" / place / name).symlink_to(made / name)
    for name in ("cifar-10-batches-py", "cifar-100-python"):
        (tmp_path / "elsewhere" / name).symlink_to(made / name)
    assert len(LUMA().load(tmp_path / "elsewhere").train) == 150


def test_binary_files_of_cifar_hold_the_same_pictures(made, tmp_path):
    write_cifar(tmp_path / "binary", binary=True)
    for classes, names, total in ((10, TEN, 120), (100, HUNDRED, 600)):
        ours, theirs = (cifar.find(place, classes).pictures() for place in (made, tmp_path / "binary"))
        assert [part.name for part in ours] == [part.name for part in theirs]
        assert sum(len(part.labels) for part in ours) == total
        for one, other in zip(ours, theirs, strict=True):
            assert one.labels == other.labels
            assert set(one.labels) == set(names)
            assert numpy.array_equal(one.pixels, other.pixels)


def test_pickup_trucks_and_aquarium_fish_have_lumas_names(made):
    labels = {label for part in luma._Files(made).pictures() for label in part.labels}
    assert set(WORDS) <= labels
    assert not set(OURS) & labels


# --- who is where ---


def test_official_counts_give_the_papers_sizes():
    """22 classes with 1500 recordings and pictures or more, 28 with fewer."""
    counts = [1500 + 40 * (21 - k) if k < 22 else 1400 - k for k in range(50)]
    order = numpy.random.default_rng(0).permutation(50).tolist()
    recordings = {WORDS[word]: [f"{WORDS[word]}/{take}.wav" for take in range(count)] for word, count in zip(order, counts, strict=True)}
    labels = [word for word in WORDS for _ in range(1600)]
    files = SimpleNamespace(
        recordings=lambda: recordings,
        pictures=lambda: [cifar.Pictures("all", numpy.zeros((0, 3, 32, 32), "uint8"), labels)],
        list=Path("audio/datalist.csv"),
    )
    chosen = luma._draw(files, 0)
    assert set(chosen.classes) == {WORDS[word] for word in order[:22]}
    ids = [f"{sound} + {pixels}" for sound, pixels in zip(chosen.recordings, chosen.pictures, strict=True)]
    assert len(set(ids)) == 33_000
    rows = LUMA().rows(SimpleNamespace(ids=ids))
    assert {name: len(part) for name, part in rows.items()} == {"train": 25_000, "val": 4000, "test": 4000}
    assert len(set(numpy.concatenate(list(rows.values())).tolist())) == 33_000
    balance = numpy.bincount(numpy.array([chosen.classes.index(chosen.labels[row]) for row in rows["test"]]))
    assert balance.min() > 120  # 182 on average


def test_seeds_change_the_pairs_and_the_splits_and_nothing_else_does(made):
    first = LUMA().prepare(made)
    other = LUMA(pairing_seed=1).prepare(made)
    assert other.folder != first.folder
    assert set(other.ids) != set(first.ids)
    assert [name.split(" + ")[0] for name in sorted(other.ids)] == [name.split(" + ")[0] for name in sorted(first.ids)]
    moved = LUMA(split_seed=1)
    assert moved.entry() == first.folder
    assert moved.rows(first)["test"].tolist() != LUMA().rows(first)["test"].tolist()


def test_the_list_may_be_in_any_order(folder, made):
    path = folder / "audio" / "datalist.csv"
    head, *lines = path.read_text().splitlines()
    before = LUMA().prepare(made).ids
    replaced(path, "\n".join(["\ufeff" + head, *reversed(lines)]).encode())
    assert LUMA().plan(folder).ids == before


@pytest.mark.parametrize("option", ["pairing_seed", "split_seed"])
def test_a_seed_is_a_whole_number(option):
    with pytest.raises(InputError, match=f"{option}='x' is not a whole number"):
        LUMA(**{option: "x"})


def test_the_default_encoders_take_it(made):
    splits = LUMA().load(made)
    encoders = {name: make_encoder(LUMA.encoders[name]) for name in LUMA.modalities}
    model = JointFusion(encoders, num_outputs=LUMA.num_outputs)
    batch = splits.val[torch.arange(2)]
    assert model(batch.inputs).multimodal.shape == (2, 22)


# --- what can be wrong ---


def test_a_missing_a_corrupt_and_an_empty_recording_are_named_and_may_be_left_out(folder):
    names = [name.split(" + ")[0] for name in LUMA().plan(folder).ids]
    missing, cut, empty = (folder / "audio" / names[row] for row in (3, 50, 120))
    missing.unlink()
    replaced(cut, cut.read_bytes()[:1000])
    write_sound(folder / "silence.wav", seconds=0.0)
    replaced(empty, (folder / "silence.wav").read_bytes())
    message = refused(folder, r"recording .* is missing \(and 2 others: .*--skip-damaged")
    assert str(missing) in message
    prepared = LUMA().prepare(folder, skip_damaged=True)
    assert (~prepared.usable).nonzero()[0].tolist() == [3, 50, 120]
    splits = LUMA().splits(prepared)
    assert sum(map(len, (splits.train, splits.val, splits.test))) == 195


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: [*lines, lines[5]], "stands there more than once"),
        (lambda lines: [*lines, "../../outside.wav,man,man"], r"names the recording '\.\./\.\./outside\.wav': a path below"),
        (lambda lines: [*lines, "/etc/passwd,man,man"], "names the recording '/etc/passwd'"),
        (lambda lines: [*lines, ",man,man"], "names the recording ''"),
        (lambda lines: [*lines, "cv_audio/x.wav,mann,mann"], "unknown label 'mann' of sample 208: did you mean 'man'"),
        (lambda lines: ["file,word", *lines[1:]], "has no column label and no column path"),
        (lambda lines: ["<html><body>Sign in</body></html>"], "is an HTML page"),
    ],
)
def test_a_wrong_list_is_told_in_one_line(folder, change, message):
    path = folder / "audio" / "datalist.csv"
    replaced(path, "\n".join(change(path.read_text().splitlines())).encode())
    assert str(path) in refused(folder, message)


@pytest.mark.parametrize(
    "name", ["edm_images.pickle", "cifar-10-batches-py/data_batch_3", "cifar-100-python/train", "cifar-100-python/meta"]
)
def test_pickles_that_are_cut_short_pages_or_evil_are_told_in_one_line(folder, tmp_path, name):
    path = folder / name
    content = path.read_bytes()
    for wrong, message in (
        (content[: len(content) // 2], "is cut short or damaged|are cut short or damaged"),
        (b"<!DOCTYPE html><html></html>", "is an HTML page"),
        (b"", "is empty|is cut short or damaged"),
        (pickle.dumps(Evil(tmp_path / "ran")), r"is refused: it asks for posix\.system"),
        (pickle.dumps({"nothing": "of it"}), "it is not|they are not"),
        (pickle.dumps([1, 2, 3]), "it is not|they are not"),
    ):
        replaced(path, wrong)
        assert str(path) in refused(folder, message)
    assert not (tmp_path / "ran").exists()
    path.unlink()
    assert path.name in refused(folder, "is missing|is needed there")


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def test_a_claim_of_a_huge_array_is_refused(folder):
    path = folder / "cifar-10-batches-py" / "data_batch_1"
    content = path.read_bytes()
    held = b"J" + (20).to_bytes(4, "little") + b"J" + (3072).to_bytes(4, "little")
    assert held in content
    replaced(path, content.replace(held, b"J" + (2**30).to_bytes(4, "little") + b"J" + (2**30).to_bytes(4, "little")))
    refused(folder, f"claims {2**60} bytes and holds {20 * 3072}")


def test_generated_pictures_of_another_shape_are_refused(folder, monkeypatch):
    path = folder / "edm_images.pickle"
    whole, other = numpy.zeros((32, 32, 3), "uint8"), numpy.zeros((28, 28, 3), "uint8")
    path.unlink()
    with monkeypatch.context() as patch:
        write_table(path, [whole, other], ["man", "boy"], patch)
    refused(folder, "row 1 holds no picture of 32 × 32 × 3 bytes")
    path.unlink()
    with monkeypatch.context() as patch:
        write_table(path, [whole, whole.astype("float32")], ["man", "boy"], patch)
    refused(folder, "row 1 holds no picture of 32 × 32 × 3 bytes")


def test_binary_files_of_cifar_that_are_cut_short_or_have_other_labels(tmp_path):
    write_cifar(tmp_path, binary=True)
    path = tmp_path / "cifar-100-binary" / "train.bin"
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    with pytest.raises(InputError, match=r"train\.bin are cut short or not CIFAR's"):
        cifar.find(tmp_path, 100).pictures()
    path.write_bytes(b"\x00\xff" + content[2:])
    with pytest.raises(InputError, match="have the label 255, and there are 100 classes"):
        cifar.find(tmp_path, 100).pictures()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("audio", "does not hold the list of recordings of LUMA"),
        ("cifar-10-batches-py", "does not hold CIFAR-10: cifar-10-batches-py or cifar-10-batches-bin"),
        ("cifar-100-python", "does not hold CIFAR-100"),
        ("edm_images.pickle", "does not hold the generated pictures of LUMA"),
    ],
)
def test_what_is_missing_is_named(folder, name, message):
    path = folder / name
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    refused(folder, message)


def test_too_few_classes_are_refused(folder):
    path = folder / "audio" / "datalist.csv"
    kept = [line for line in path.read_text().splitlines() if line.split(",")[1] not in WORDS[15:24]]
    replaced(path, "\n".join(kept).encode())
    refused(folder, "has recordings and pictures of 15 classes: 22 are needed; '.*' has 0 recordings and")


def test_only_what_is_read_is_listed_and_a_new_recording_is_noticed(folder):
    dataset = LUMA()
    prepared = dataset.prepare(folder)
    sources = set(prepared.manifest["sources"])
    drawn = {f"audio/{name.split(' + ')[0]}" for name in prepared.ids}
    assert drawn < sources
    assert len(sources - drawn) == 1 + 1 + 7 + 3
    assert not any("television" in name for name in sources)
    before = prepared.manifest["seconds"]
    assert dataset.prepare(folder).manifest["seconds"] == before
    write_sound(folder / "audio" / prepared.ids[0].split(" + ")[0], seconds=0.5, rate=22_050, frequency=5000)
    with pytest.raises(InputError, match=r"the originals in .* have changed"):
        LUMA().load(folder)


def test_the_copy_is_as_the_data_set_is_published(made):
    """A guard of the copy itself: columns, encodings and names."""
    with (made / "audio" / "datalist.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["path", "label", "tts_label"]
    assert [row["path"] for row in rows] != sorted(row["path"] for row in rows)
    assert sum(RECORDINGS.values()) == len(rows)
    assert (made / "cifar-10-batches-py" / "data_batch_1").read_bytes().startswith(b"\x80\x02}")
    assert b"pandas.core.internals.managers" in (made / "edm_images.pickle").read_bytes()
