"""`avdigits`: MNIST's written digits paired with the Free Spoken Digit Dataset's recordings."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from equimodal.data import fsdd, mnist
from equimodal.data._options import check_choice, check_seed, check_sizes
from equimodal.data.audio import centred, mfcc
from equimodal.data.base import Dataset, Splits
from equimodal.data.downloads import cache_dir
from equimodal.data.tensors import TensorSet
from equimodal.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

__all__ = ["AVDigits", "pair_by_label"]

MEND = "fetch the originals with 'equimodal data fetch avdigits', or name the folder that holds them with --data-dir"
# The last 10,000 of the shuffled training images are kept for validation, so that no size of one split moves the other.
AVAILABLE = {"train": 50_000, "val": 10_000, "test": 10_000}
SPEAKERS = {"train": ("george", "jackson", "nicolas"), "val": ("lucas",), "test": ("theo", "yweweler")}
TAKES = {"train": range(10, 50), "val": range(5, 10), "test": range(5)}


class AVDigits(Dataset):
    """Real pictures and real recordings of digits, paired by label: given the digit, picture and sound are independent.

    The sizes and the 28 × 28 × 1 inputs are those of the paper's S-MNIST; its recordings are others. Pictures: MNIST, from 0 to 1;
    training and validation pictures are drawn from its training part, test pictures from its test part. Sounds: 39 frames of 13 MFCC
    (the middle second, frames of 50 ms every 25 ms, 40 mel bands), each coefficient standardised with its mean and standard deviation
    over the training utterances, resized to 28 × 28 (time by coefficient, bilinear). No utterance is shared between splits, and within
    a split each is used about equally often. Inputs are ``image`` and ``audio``, each ``[samples, 1, 28, 28]``.

    A smaller size takes the first samples of a larger one.

    :param split: which utterances go where. ``"official"`` (the default, closest to the paper): test are takes 0-4 of each digit and
        speaker, as the recordings' authors say, validation takes 5-9, training takes 10-49; all six speakers in each.
        ``"unseen-speakers"``: test are theo and yweweler, validation is lucas, training are the other three.
    :param train: training samples, at most 50,000; 8000 as in the paper.
    :param val: validation samples, at most 10,000; 2000 as in the paper.
    :param test: test samples, at most 10,000; 2000 as in the paper.
    :param pairing_seed: decides which pictures are drawn and which utterance each gets. Results are comparable only under the same.
    :raises InputError: for an unknown split, a size that is not available, or a seed that is no whole number.
    """

    name = "avdigits"
    summary = "MNIST digits paired by label with recordings of the Free Spoken Digit Dataset, at the sizes of the paper's S-MNIST"
    licence = "MNIST: CC BY-SA 3.0; Free Spoken Digit Dataset: CC BY-SA 4.0"
    citation = (
        "LeCun, Bottou, Bengio and Haffner, Gradient-based learning applied to document recognition, Proc. IEEE 1998; "
        "Jackson et al., Free Spoken Digit Dataset, 2018"
    )
    modalities = ("image", "audio")
    num_outputs = 10
    encoders: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "image": {"name": "resnet", "depth": 10, "in_channels": 1},
        "audio": {"name": "resnet", "depth": 10, "in_channels": 1},
    }
    splits: ClassVar[tuple[str, ...]] = ("official", "unseen-speakers")

    def __init__(self, split: str = "official", train: int = 8000, val: int = 2000, test: int = 2000, pairing_seed: int = 20240501) -> None:
        check_choice(self.name, "split", split, self.splits)
        check_sizes(self.name, {"train": train, "val": val, "test": test}, AVAILABLE)
        check_seed(self.name, "pairing_seed", pairing_seed)
        self.split = split
        self.train = train
        self.val = val
        self.test = test
        self.pairing_seed = pairing_seed
        self._heard: dict[str, Tensor] = {}
        self._sounds: Path | fsdd.Recordings | None = None

    def load(self, data_dir: Path | None = None) -> Splits:
        """Read MNIST and the recordings, prepare the sounds and pair them.

        :param data_dir: the folder that holds ``mnist/*.gz`` and ``fsdd/fsdd_8khz_int16.npz``; the cache when not given.
            It is only ever read.
        :raises InputError: when a file is missing, cut short or altered.
        """
        directory = cache_dir() if data_dir is None else Path(data_dir)
        try:
            recordings = fsdd.load(directory / "fsdd")
            train_images, train_labels = mnist.load(directory / "mnist", "train")
            test_images, test_labels = mnist.load(directory / "mnist", "test")
        except InputError as error:
            raise InputError(f"{error}: {MEND}") from None
        pools = self.utterances(recordings)
        sounds = _pictures(recordings, pools["train"])
        order = _shuffled(len(train_labels), self.pairing_seed, "train")
        self._sounds = directory / "fsdd"
        chosen = {
            "train": order[: self.train],
            "val": order[AVAILABLE["train"] :][: self.val],
            "test": _shuffled(len(test_labels), self.pairing_seed, "test")[: self.test],
        }

        def paired(name: str, images: Tensor, labels: Tensor) -> TensorSet:
            targets = labels[chosen[name]]
            heard = self._heard[name] = pair_by_label(targets, recordings.labels, pools[name], seed=(self.pairing_seed, name))
            return TensorSet({"image": images[chosen[name]].unsqueeze(1).float() / 255, "audio": sounds[heard]}, targets)

        return Splits(
            paired("train", train_images, train_labels), paired("val", train_images, train_labels), paired("test", test_images, test_labels)
        )

    def recording(self, split: str, modality: str, index: int) -> tuple[Tensor, int] | None:
        """Return the sound that a sample's spectrogram was made from, whole, and its samples per second.

        :param split: ``"train"``, ``"val"`` or ``"test"``.
        :param modality: only ``"audio"`` is a sound.
        :param index: the sample's number in that split.
        :returns: ``[length]`` within -1 and 1, and 8000; None of a picture, and before the data are loaded.
        :raises InputError: when the recordings have been taken away or altered since they were loaded.
        """
        if modality != "audio" or split not in self._heard or self._sounds is None:
            return None
        if isinstance(self._sounds, Path):
            self._sounds = fsdd.load(self._sounds)  # again, and only now: training has no use for them
        return self._sounds.waveform(int(self._heard[split][index])), fsdd.SAMPLE_RATE

    def utterances(self, recordings: fsdd.Recordings) -> dict[str, Tensor]:
        """Return the numbers of the utterances that each split may use."""
        if self.split == "official":
            member = {name: [take in takes for take in recordings.takes.tolist()] for name, takes in TAKES.items()}
        else:
            member = {name: [speaker in speakers for speaker in recordings.speakers] for name, speakers in SPEAKERS.items()}
        return {name: torch.tensor(mask).nonzero().flatten() for name, mask in member.items()}

    def fetch(
        self,
        data_dir: Path | None = None,
        *,
        mnist_mirrors: Sequence[str] = mnist.MIRRORS,
        fsdd_archive: str = fsdd.ARCHIVE,
        attempts: int = 3,
    ) -> Path:
        """Download what is missing or damaged of the originals (about 27 MB), verify it, and return the folder that holds it.

        :param data_dir: where to put it; the cache when not given.
        :param mnist_mirrors: addresses of folders with MNIST's four files.
        :param fsdd_archive: address of the recordings' zip archive.
        :param attempts: how many times each address is tried.
        :raises InputError: when an original cannot be fetched or written.
        """
        directory = cache_dir() if data_dir is None else Path(data_dir)
        mnist.fetch(directory / "mnist", mnist_mirrors, attempts)
        fsdd.fetch(directory / "fsdd", fsdd_archive, attempts)
        return directory


def pair_by_label(labels: Tensor, pool_labels: Tensor, pool: Tensor, seed: object) -> Tensor:
    """Give each sample a member of the pool that has the same label, each about equally often.

    For each label the members are dealt out in a shuffled order, and again in another one when they are used up. The pairs of the first
    samples do not depend on how many follow.

    >>> pair_by_label(torch.tensor([1, 0, 1]), torch.tensor([0, 0, 1, 1]), torch.tensor([1, 2, 3]), seed=0)[1]
    tensor(1)

    :param labels: ``[samples]``.
    :param pool_labels: ``[members of all splits]``.
    :param pool: ``[members]``, numbers of the members that may be used.
    :param seed: anything with a fixed ``repr``.
    :returns: ``[samples]``, a member's number each.
    """
    pairs = torch.empty_like(labels)
    for label in sorted(set(labels.tolist())):
        samples = (labels == label).nonzero().flatten()
        members = pool[pool_labels[pool] == label]
        rounds = -(-len(samples) // len(members))
        dealt = torch.cat([members[_shuffled(len(members), seed, label, number)] for number in range(rounds)])
        pairs[samples] = dealt[: len(samples)]
    return pairs


def _shuffled(count: int, *purpose: object) -> Tensor:
    """Return 0 to ``count - 1`` in an order that depends on the purpose alone."""
    seed = int.from_bytes(hashlib.sha256(repr(purpose).encode()).digest()[:8], "big") >> 1
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))


def _pictures(recordings: fsdd.Recordings, training: Tensor) -> Tensor:
    """Return the MFCC of every utterance, standardised and resized: ``[utterances, 1, 28, 28]``."""
    second = torch.stack([centred(recordings.waveform(k), fsdd.SAMPLE_RATE) for k in range(len(recordings))])
    # In pieces that fit a processor's cache.
    coefficients = torch.cat([mfcc(piece, fsdd.SAMPLE_RATE, frame=400, hop=200) for piece in torch.split(second, 50)])
    heard = coefficients[training]
    standardised = ((coefficients - heard.mean((0, 1))) / heard.std((0, 1))).float().unsqueeze(1)
    return torch.nn.functional.interpolate(standardised, size=(28, 28), mode="bilinear", align_corners=False)
