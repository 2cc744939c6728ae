"""`cremad`: the acted emotions of CREMA-D, one frame and one spectrogram per clip, as the MILES paper uses them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from equimodal.data._options import check_choice, check_seed
from equimodal.data.audio import log_spectrogram, read_sound, repeated, resampled
from equimodal.data.base import Splits
from equimodal.data.decode import Standardise
from equimodal.data.preparation import Plan, Prepared, PreparedDataset, Stored
from equimodal.data.reading.images import fitted, read_image
from equimodal.data.reading.originals import Damaged, listed, locate
from equimodal.data.reading.video import chosen, read_frame
from equimodal.data.splitting import by_group, by_hash, check_disjoint, check_unique, class_numbers
from equimodal.errors import InputError, require

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["CREMAD"]

WHAT = "CREMA-D"
EMOTIONS = {"ANG": "anger", "DIS": "disgust", "FEA": "fear", "HAP": "happiness", "NEU": "neutral", "SAD": "sadness"}
SIZES = {"train": 5210, "val": 1116, "test": 1116}
CLIPS = sum(SIZES.values())
SIDE = 224
RATE, SECONDS = 16_000, 3

_SOUNDS = "AudioWAV"
_VIDEOS = "VideoFlash"
_FRAMES = "Image-01-FPS"
_ROOTS = ("", "CREMA-D/", "CREMA-D-master/")
_VIDEO_KINDS = (".flv", ".mp4", ".avi", ".mkv", ".mov", ".webm")
_PICTURE_KINDS = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
_NAME = re.compile(r"(\d{4})_([A-Z]{3})_([A-Z]{3})_([A-Z]{2})")


@dataclass(frozen=True)
class _Clip:
    """The originals of one clip.

    :param name: such as ``1001_IEO_ANG_HI``: actor, sentence, emotion and its level.
    :param sound: the recording, where there is one.
    :param picture: the video or the extracted frame, where there is one.
    """

    name: str
    sound: Path | None
    picture: Path | None


class CREMAD(PreparedDataset):
    """CREMA-D: 7,442 clips in which 91 actors say one of twelve sentences in one of six emotions; one frame and the sound of each.

    As in the paper: a frame of 224 × 224 × 3; the spectrogram of three seconds at 16 kHz, 257 × 299 (window 512, overlap 353), its
    logarithm resized to 224 × 224 × 1; sounds shorter than three seconds are repeated; 5210, 1116 and 1116 clips, drawn at random.
    The emotion is the one that the actor was asked for, the third part of the file's name.

    Ours, where the paper is silent: the frame is the middle one and is stretched to a square; the logarithm is taken of the power density
    plus 10⁻⁷; of longer sounds the first three seconds are taken; resizing is bilinear and averages where it makes smaller; frames and
    spectrograms are standardised with mean and standard deviation of each channel over the training clips; splits are drawn by a hash of
    ``split_seed`` and the clip's name, without balancing emotions. Inputs are ``audio`` ``[samples, 1, 224, 224]`` (frequencies from
    low to high, then time) and ``image`` ``[samples, 3, 224, 224]``.

    A clip that lacks its recording or its picture counts as damaged: it is named and refused, and left out only where that is asked
    for. Leaving it out in silence would make a different data set, and a different split, of every incomplete download. A few clips of
    the published set are known to be defective; see the documentation.

    :param split: ``"clip"``, as in the paper, where the same actors are in all splits; or ``"actor"``: no actor is in two splits, so that
        the test tells about people who were never seen (actors, not clips, are drawn in the proportion 70-15-15).
    :param frame: which frame of a clip: 0 is the first, 0.5 the middle, 1 the last.
    :param pictures: where they come from: ``"video"`` (``VideoFlash``), ``"frames"`` (already extracted, in ``Image-01-FPS``), or
        ``"auto"``: the videos where that folder is there.
    :param split_seed: decides which clips, or actors, are in which split.
    :raises InputError: for an unknown option or one out of range.
    """

    name = "cremad"
    summary = "CREMA-D: one frame and the spectrogram of acted emotions, six classes, as in the MILES paper"
    licence = "Open Database License 1.0; contents: Database Contents License 1.0"
    citation = (
        "Cao, Cooper, Keutmann, Gur, Nenkova and Verma, CREMA-D: Crowd-sourced emotional multimodal actors dataset, "
        "IEEE Transactions on Affective Computing 5(4), 2014"
    )
    modalities = ("audio", "image")
    num_outputs = 6
    encoders: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "audio": {"name": "resnet", "depth": 18, "in_channels": 1},
        "image": {"name": "resnet", "depth": 18, "in_channels": 3},
    }
    class_names = tuple(EMOTIONS.values())
    selecting = ("split", "split_seed")
    obtain = "clone https://github.com/CheyneyComputerScience/CREMA-D with Git LFS; its folders AudioWAV and VideoFlash are needed"
    choices: ClassVar[tuple[str, ...]] = ("clip", "actor")
    kinds: ClassVar[tuple[str, ...]] = ("auto", "video", "frames")

    def __init__(self, split: str = "clip", frame: float = 0.5, pictures: str = "auto", split_seed: int = 20240501) -> None:
        check_choice(self.name, "split", split, self.choices)
        if not isinstance(frame, (int, float)) or isinstance(frame, bool) or not 0 <= frame <= 1:
            raise InputError(f"{self.name}: frame={frame!r} is no place in a clip: choose a number from 0 (first) to 1 (last)")
        check_choice(self.name, "pictures", pictures, self.kinds)
        check_seed(self.name, "split_seed", split_seed)
        self.split = split
        self.frame = frame
        self.pictures = pictures
        self.split_seed = split_seed

    def originals(self, folder: Path) -> list[Path]:
        """Return the recordings, and the videos or the one frame of each clip that is taken."""
        return [path for clip in self._clips(folder) for path in (clip.sound, clip.picture) if path is not None]

    def plan(self, folder: Path) -> Plan:
        """Take actor and emotion from the names of the files and check them."""
        numpy = require("numpy", extra="data")
        clips = self._clips(folder)
        parts = [clip.name.split("_") for clip in clips]

        def read(number: int) -> dict[str, NDArray[Any] | None]:
            return {"audio": _spectrogram(clips[number]), "image": self._picture(clips[number])}

        return Plan(
            ids=[clip.name for clip in clips],
            arrays={
                "audio": Stored((1, SIDE, SIDE), "float16", moments=True),
                "image": Stored((3, SIDE, SIDE), "uint8", moments=True),
            },
            read=read,
            columns={
                "target": class_numbers([emotion for _, _, emotion, _ in parts], list(EMOTIONS), f"the names of the clips in {folder}"),
                "actor": numpy.array([actor for actor, *_ in parts]),
            },
            facts={"class_names": list(self.class_names)},
            notes=[f"{len(clips):,} of {CLIPS:,} clips: the splits are smaller in the same proportion"] if len(clips) != CLIPS else [],
            files=lambda number: [path for path in (clips[number].sound, clips[number].picture) if path is not None],
        )

    def splits(self, prepared: Prepared) -> Splits:
        """Draw the clips of each split and standardise with the training clips."""
        rows = self.rows(prepared)
        inputs = {"audio": "audio", "image": "image"}
        decode = {name: Standardise(*prepared.moments(name, rows["train"])) for name in inputs}
        return Splits(*(prepared.tensor_set(rows[name], inputs, decode=decode) for name in SIZES))

    def rows(self, prepared: Prepared) -> dict[str, NDArray[Any]]:
        """Return the rows of each split in the prepared set, ascending; clips that were left out are still among them."""
        if self.split == "clip":
            return by_hash(prepared.ids, SIZES, (self.split_seed, self.split))
        actors = prepared.columns["actor"].tolist()
        found = by_group(actors, SIZES, (self.split_seed, self.split))
        check_disjoint(actors, found, "actor", self.name)
        return found

    def shown(self, modality: str, value: Any) -> Any:
        """Return a spectrogram with its low frequencies at the bottom, where a reader looks for them, and a picture as it is."""
        return value.flip(-2) if modality == "audio" else value

    def _clips(self, folder: Path) -> list[_Clip]:
        """Return every clip of which there is a recording or a picture, by name."""
        heard = locate(folder, [f"{root}{_SOUNDS}" for root in _ROOTS], f"the recordings of {WHAT}")
        kinds = {"video": [_VIDEOS], "frames": [_FRAMES]}.get(self.pictures, [_VIDEOS, _FRAMES])
        seen = locate(heard.parent, kinds, f"the pictures of {WHAT}")
        sounds = _by_clip(heard, (".wav",))
        pictures = _by_clip(seen, _VIDEO_KINDS) if seen.name == _VIDEOS else self._frames(seen)
        for place, found in ((heard, sounds), (seen, pictures)):
            if not found:
                raise InputError(f"{place} holds nothing of {WHAT}: name the folder with the whole of it")
            _check_fetched(next(iter(found.values())))
        return [_Clip(name, sounds.get(name), pictures.get(name)) for name in sorted({*sounds, *pictures})]

    def _frames(self, folder: Path) -> dict[str, Path]:
        """Return the frame that is wanted of each clip's folder; a picture beside the folders is its clip's only one."""
        found: dict[str, Path] = {}
        frames: dict[Path, list[Path]] = {}
        for path in listed(folder, "*/*"):
            if path.suffix.lower() in _PICTURE_KINDS:
                frames.setdefault(path.parent, []).append(path)
        for place, paths in frames.items():
            found[_clip_name(place, place.name)] = sorted(paths, key=_in_time)[chosen(len(paths), self.frame)]
        for name, path in _by_clip(folder, _PICTURE_KINDS).items():
            found.setdefault(name, path)
        return found

    def _picture(self, clip: _Clip) -> NDArray[Any]:
        if clip.picture is None:
            raise Damaged(f"clip {clip.name} has no picture beside its recording {clip.sound}: get it")
        extracted = clip.picture.suffix.lower() in _PICTURE_KINDS
        return fitted(read_image(clip.picture, what="frame") if extracted else read_frame(clip.picture, self.frame), (SIDE, SIDE))


def _spectrogram(clip: _Clip) -> NDArray[Any]:
    if clip.sound is None:
        raise Damaged(f"clip {clip.name} has no recording beside its picture {clip.picture}: get it")
    sound = resampled(*read_sound(clip.sound), RATE)
    return fitted(log_spectrogram(repeated(sound, SECONDS * RATE), RATE)[None], (SIDE, SIDE))


def _by_clip(folder: Path, kinds: tuple[str, ...]) -> dict[str, Path]:
    """Return the files of some kinds by the clip's name; of one clip's several kinds the earlier one."""
    found: dict[str, Path] = {}
    order = {kind: number for number, kind in enumerate(kinds)}
    paths = [path for path in listed(folder, "*") if path.suffix.lower() in order]
    names: list[str] = []
    for path in sorted(paths, key=lambda path: (order[path.suffix.lower()], path.name)):
        name = _clip_name(path, path.stem)
        names.append(f"{name}{path.suffix.lower()}")
        found.setdefault(name, path)
    check_unique(names, str(folder))
    return found


def _clip_name(path: Path, stem: str) -> str:
    # 1040_ITH_SAD_X.wav was published so, and renamed years later.
    name = f"{stem}X" if re.fullmatch(r"\d{4}_[A-Z]{3}_[A-Z]{3}_X", stem) else stem
    if not _NAME.fullmatch(name):
        raise InputError(f"{path} is not named like a clip of {WHAT}, such as 1001_IEO_ANG_HI: rename it or take it out")
    return name


def _in_time(path: Path) -> tuple[list[int], str]:
    """Order frames by the numbers in their names, which need not be of one width."""
    return [int(digits) for digits in re.findall(r"\d+", path.stem)], path.name


def _check_fetched(path: Path) -> None:
    """Refuse a clone without its large files early: each of them is then a few lines of text that name the true file."""
    try:
        with path.open("rb") as file:
            head = file.read(24)
    except OSError:
        return  # whoever reads it as a recording or a picture will say so
    if head.startswith(b"version https://git-lfs"):
        raise InputError(f"{path} is a pointer of Git LFS, not the file itself: run 'git lfs pull' in the clone of {WHAT}")
