import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from equimodal.data import digits_av
from equimodal.data.digits_av import AUDIO_MEAN, AUDIO_STD, FILE, DigitsAV
from equimodal.errors import InputError, MissingDependency

numpy = pytest.importorskip("numpy")


@pytest.fixture(scope="module")
def splits():
    return DigitsAV().load()


@pytest.fixture(scope="module")
def file():
    with numpy.load(FILE, allow_pickle=False) as content:
        return dict(content)


def test_sizes_shapes_and_types(splits):
    for split, size in ((splits.train, 1100), (splits.val, 300), (splits.test, 397)):
        assert len(split) == size
        assert split.inputs["image"].shape == (size, 1, 8, 8)
        assert split.inputs["audio"].shape == (size, 1, 24, 24)
        assert split.inputs["image"].dtype == split.inputs["audio"].dtype == torch.float32
        assert split.targets.dtype == torch.int64
        assert split.targets.bincount(minlength=10).min() >= 0.07 * size


def test_images_are_between_0_and_1(splits):
    images = splits.train.inputs["image"]
    assert images.min() == 0
    assert images.max() == 1


def test_audio_is_standardised_by_the_training_split(splits, file):
    audio = splits.train.inputs["audio"]
    assert abs(audio.mean()) < 1e-4
    assert abs(audio.std() - 1) < 1e-4
    heard = file["audio"][file["split"] == 0].astype(float)
    assert (heard.mean(), heard.std()) == pytest.approx((AUDIO_MEAN, AUDIO_STD), abs=1e-4)


def test_every_picture_of_the_bundled_set_is_there_once_with_its_label(file):
    datasets = pytest.importorskip("sklearn.datasets")
    original = datasets.load_digits()
    shipped = sorted((*image.flatten().tolist(), label) for image, label in zip(file["image"], file["label"].tolist(), strict=True))
    bundled = sorted((*image.flatten().tolist(), label) for image, label in zip(original.images, original.target.tolist(), strict=True))
    assert shipped == bundled


def test_no_voice_is_heard_in_two_splits(file):
    voices = [set(file["voice"][file["split"] == number].tolist()) for number in range(3)]
    assert [len(heard) for heard in voices] == [59, 17, 24]
    assert sum(map(len, voices)) == len(set.union(*voices)) == len(file["voices"])


def test_related_voices_stand_in_one_split(file):
    split_of = dict(zip(file["voice"].tolist(), file["split"].tolist(), strict=True))
    stems = {}
    for number, voice in enumerate(file["voices"].tolist()):
        if len(voice) > 2:  # f1 to f5 and m1 to m8 are different people
            stems.setdefault(re.sub(r"\d+$", "", voice), set()).add(split_of[number])
    assert all(len(splits) == 1 for splits in stems.values())


def test_every_sound_is_its_own(file):
    assert len(numpy.unique(file["audio"], axis=0)) == len(file["audio"])


def test_it_is_small_enough_to_ship():
    assert FILE.stat().st_size < 2_000_000


def test_nothing_to_fetch():
    with pytest.raises(InputError, match="nothing to fetch"):
        DigitsAV().fetch()


@pytest.mark.parametrize(("damage", "message"), [("cut", "is not the file that was shipped"), ("gone", "cannot be read")])
def test_a_damaged_file_is_told_in_one_line(tmp_path, monkeypatch, damage, message):
    path = tmp_path / "digits-av.npz"
    if damage == "cut":
        path.write_bytes(FILE.read_bytes()[:-1])
    monkeypatch.setattr(digits_av, "FILE", path)
    with pytest.raises(InputError, match=message) as caught:
        DigitsAV().load()
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_the_script_makes_the_same_arrays_again(tmp_path, file):
    script = Path(__file__).parents[2] / "scripts" / "make_digits_av.py"
    sklearn = pytest.importorskip("sklearn")
    if shutil.which("espeak-ng") is None or not script.exists():
        pytest.skip("needs espeak-ng and the repository's script")
    version = subprocess.run(["espeak-ng", "--version"], capture_output=True, text=True, check=True).stdout
    here = f"eSpeak NG {re.search(r'[0-9][0-9a-z.]*', version)[0]}, scikit-learn {sklearn.__version__}"
    if here.split(",")[0] != str(file["made_with"]).split(",")[0]:
        pytest.skip(f"the file was made with {file['made_with']}, here is {here}")
    made = tmp_path / "again.npz"
    subprocess.run([sys.executable, str(script), "--out", str(made)], check=True, capture_output=True)
    with numpy.load(made, allow_pickle=False) as again:
        for name in ("image", "label", "split", "voice", "voices"):
            assert numpy.array_equal(again[name], file[name]), name
        # Another processor may round a half the other way.
        different = again["audio"] != file["audio"]
        assert different.mean() < 1e-4
        assert numpy.abs(again["audio"].astype(int) - file["audio"].astype(int)).max() <= 1


def test_a_missing_package_is_told_with_the_way_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(MissingDependency, match=r"numpy is needed here .*pip install 'equimodal\[data\]'"):
        DigitsAV().load()
