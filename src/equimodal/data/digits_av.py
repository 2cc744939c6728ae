"""`digits-av`: written digits, each with its own synthetic spoken digit; shipped with the package."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from equimodal.data.base import Dataset, Splits
from equimodal.data.tensors import TensorSet
from equimodal.errors import InputError, require

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DigitsAV"]

FILE = Path(__file__).parent / "files" / "digits-av.npz"
# Printed by scripts/make_digits_av.py; mean and standard deviation are those of the training split's bytes.
SHA256 = "6e160c480d82484548d5bd24a697499b11ed18108b3dd3cf434f7e594a42e898"
AUDIO_MEAN, AUDIO_STD = 93.7501, 19.3783


class DigitsAV(Dataset):
    """Pictures of handwritten digits, each paired with a digit of the same label spoken by a speech synthesiser.

    The pictures are scikit-learn's bundled digits, the sounds were made with eSpeak NG in many voices, accents, speeds and
    pitches under noise: real handwriting, synthetic speech, paired by label. The voices of the validation and of the test split
    are heard nowhere else. Inputs are ``image`` ``[samples, 1, 8, 8]`` from 0 to 1 and ``audio`` ``[samples, 1, 24, 24]`` (mel
    bands by frames of a log-mel spectrogram of one second), standardised with the mean and standard deviation of the training split.

    >>> splits = DigitsAV().load()
    >>> batch = splits.test[:2]
    >>> batch.inputs["image"].shape, batch.inputs["audio"].shape, batch.targets.shape
    (torch.Size([2, 1, 8, 8]), torch.Size([2, 1, 24, 24]), torch.Size([2]))
    """

    name = "digits-av"
    summary = "1797 handwritten digits, each with a synthetic spoken digit (eSpeak NG); shipped with the package"
    licence = "digits: CC BY 4.0 (UCI), as bundled with scikit-learn; sounds: output of eSpeak NG, made for this package (Apache-2.0)"
    citation = "Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998"
    modalities = ("image", "audio")
    num_outputs = 10
    encoders: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "image": {"name": "mlp", "in_features": 64},
        "audio": {"name": "resnet", "depth": 6, "in_channels": 1},
    }

    def load(self, data_dir: Path | None = None) -> Splits:  # noqa: ARG002
        """Read the shipped file.

        :param data_dir: not used: the file is part of the package.
        :returns: 1100 training, 300 validation and 397 test samples.
        :raises InputError: when the file is missing or altered.
        """
        numpy = require("numpy", extra="data")
        mend = "install equimodal anew"
        try:
            content = FILE.read_bytes()
        except OSError as error:
            raise InputError(f"{FILE} cannot be read ({error.strerror}): {mend}") from None
        digest = hashlib.sha256(content).hexdigest()
        if digest != SHA256:
            raise InputError(f"{FILE} is not the file that was shipped (sha256 {digest[:12]}…, not {SHA256[:12]}…): {mend}")
        with numpy.load(io.BytesIO(content), allow_pickle=False) as file:
            image, audio, label, split = (torch.from_numpy(file[key]) for key in ("image", "audio", "label", "split"))
        samples = TensorSet(
            {"image": image.float().div(16).unsqueeze(1), "audio": audio.float().sub(AUDIO_MEAN).div(AUDIO_STD).unsqueeze(1)},
            label.long(),
        )
        train, val, test = (samples.subset(torch.nonzero(split == number).flatten()) for number in range(3))
        return Splits(train, val, test)
