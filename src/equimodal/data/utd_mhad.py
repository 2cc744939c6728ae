"""`utd-mhad`: 27 actions of eight people, seen by a skeleton tracker, a depth camera and an inertial sensor at once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from equimodal.data.base import Splits
from equimodal.data.decode import Standardise
from equimodal.data.preparation import Plan, Prepared, PreparedDataset, Stored
from equimodal.data.reading.originals import Damaged
from equimodal.data.splitting import check_disjoint
from equimodal.data.utd_mhad_files import ACTIONS, FRAMES, HEIGHT, JOINTS, REDUCED, WHAT, WIDTH, published, published_files, reduced
from equimodal.errors import InputError, require
from equimodal.nn.encoders.sequence import Sequences

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["UTDMHAD"]

RECORDINGS = 861
TRAINERS, TESTERS = (1, 3, 5, 7), (2, 4, 6, 8)
HIP = 3  # the hip's centre is the fourth joint
LONGEST = {"skeleton": 125, "inertial": 326}


class UTDMHAD(PreparedDataset):
    """861 recordings of 27 actions by eight people: skeleton, inertial sensor and depth, truly paired.

    ``skeleton``: 41 to 125 frames of 20 joints (x, y and z in metres), from which the hip's place in the first frame is subtracted, so that
    where in the room a person stands does not matter. ``inertial``: 107 to 326 steps of acceleration and rotation (three axes each).
    Both are :class:`equimodal.nn.Sequences`, padded to the longest of all. ``depth``: 16 evenly spaced frames of 30 × 40 as 16
    channels. Each feature, and each frame of the depth, is standardised with its mean and standard deviation over the training split.

    From the files as published the same numbers are made as the reduced file holds: joints rounded to 16 bits; of each depth frame chosen
    the mean over 8 × 8 pixels of those that have a depth, in steps of 16 mm.

    The split is by person: odd ones train, even ones test. One of the four who train is held out for validation, so that what is chosen
    is chosen for people never seen. The default is person 7: when each is held out in turn, the accuracies of the single modalities on
    person 7 are nearest to their average over the four (the people of the test were not looked at).

    :param val_subject: who is held out for validation: 1, 3, 5 or 7.
    :raises InputError: for another number.
    """

    name = "utd-mhad"
    summary = "861 recordings of 27 actions by 8 people: skeleton, inertial sensor and depth; the people of the test are unseen"
    licence = "not stated; offered by the University of Texas at Dallas for research, with citation"
    citation = (
        "Chen, Jafari and Kehtarnavaz, UTD-MHAD: a multimodal dataset for human action recognition utilizing a depth camera and a wearable "
        "inertial sensor, ICIP 2015"
    )
    modalities = ("skeleton", "inertial", "depth")
    num_outputs = ACTIONS
    class_names = (
        *("swipe left", "swipe right", "wave", "clap", "throw", "cross arms", "basketball shot", "draw x", "draw circle clockwise"),
        *("draw circle counter-clockwise", "draw triangle", "bowling", "boxing", "baseball swing", "tennis swing", "arm curl"),
        *("tennis serve", "push", "knock", "catch", "pick up and throw", "jog", "walk", "stand up", "sit down", "lunge", "squat"),
    )
    encoders: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "skeleton": {"name": "sequence", "in_features": 3 * JOINTS},
        "inertial": {"name": "sequence", "in_features": 6},
        "depth": {"name": "resnet", "depth": 6, "in_channels": FRAMES},
    }
    selecting = ("val_subject",)
    obtain = (
        "Skeleton.zip, Inertial.zip and Depth.zip are at https://personal.utdallas.edu/~kehtar/UTD-MHAD.html: unpack them into one folder"
    )

    def __init__(self, val_subject: int = 7) -> None:
        if not isinstance(val_subject, int) or isinstance(val_subject, bool) or val_subject not in TRAINERS:
            raise InputError(f"{self.name}: val_subject={val_subject!r} is none of those who train: choose 1, 3, 5 or 7")
        self.val_subject = val_subject

    def originals(self, folder: Path) -> list[Path]:
        """Return the reduced file, in the folder or in ``utd_mhad`` within it, or else every ``.mat`` file below the folder."""
        if not folder.is_dir():
            raise InputError(f"{folder} is {'no folder' if folder.exists() else 'not there'}: name the folder that holds {WHAT}")
        for path in (folder / "utd_mhad" / REDUCED, folder / REDUCED):
            if path.exists():
                return [path]
        return [path for files in published_files(folder).values() for path in files.values() if path.exists()]

    def plan(self, folder: Path) -> Plan:
        """Read which recordings there are, and check that each is there once, of a known action and person."""
        numpy = require("numpy", extra="data")
        first = self.originals(folder)[0]
        files = None if first.name == REDUCED else published_files(folder)
        recordings, values = reduced(first) if files is None else published(files)

        def read(number: int) -> dict[str, NDArray[Any] | None]:
            found = values(number)
            where = f"recording {recordings[number]}"
            return {
                **_padded(_centred(found.skeleton), "skeleton", where),
                **_padded(found.inertial, "inertial", where),
                "depth": found.depth,
            }

        held = len(recordings)
        return Plan(
            ids=[str(recording) for recording in recordings],
            arrays={
                "skeleton.values": Stored((LONGEST["skeleton"], 3 * JOINTS), "float32", moments=True, channels="last"),
                "skeleton.lengths": Stored((), "int64"),
                "inertial.values": Stored((LONGEST["inertial"], 6), "float32", moments=True, channels="last"),
                "inertial.lengths": Stored((), "int64"),
                "depth": Stored((FRAMES, HEIGHT, WIDTH), "uint8", moments=True),
            },
            read=read,
            columns={
                "target": numpy.array([recording.action - 1 for recording in recordings], dtype="int64"),
                "subject": numpy.array([recording.subject for recording in recordings], dtype="int64"),
                "trial": numpy.array([recording.trial for recording in recordings], dtype="int64"),
            },
            facts={"class_names": list(self.class_names)},
            notes=() if held == RECORDINGS else (f"{held} of {RECORDINGS} recordings: splits are by person, in whatever sizes result",),
            files=None if files is None else lambda number: list(files[recordings[number]].values()),
        )

    def splits(self, prepared: Prepared) -> Splits:
        """Choose by person, and standardise by the training split."""
        rows = self.rows(prepared)
        decode = {
            "skeleton": Standardise(*prepared.moments("skeleton.values", rows["train"])),
            "inertial": Standardise(*prepared.moments("inertial.values", rows["train"])),
            "depth": Standardise(*prepared.moments("depth", rows["train"])),
        }
        inputs = {
            "skeleton": Sequences("skeleton.values", "skeleton.lengths"),  # type: ignore[arg-type]  # names, where tensors will be
            "inertial": Sequences("inertial.values", "inertial.lengths"),  # type: ignore[arg-type]
            "depth": "depth",
        }
        return Splits(*(prepared.tensor_set(chosen, inputs, decode=decode) for chosen in rows.values()))

    def rows(self, prepared: Prepared) -> dict[str, NDArray[Any]]:
        """Return the rows of the training, validation and test split, ascending.

        :raises InputError: when a person, or a recording under two names, is in two of them, or a split is empty.
        """
        numpy = require("numpy", extra="data")
        subject = prepared.columns["subject"]
        people = {
            "train": [number for number in TRAINERS if number != self.val_subject],
            "val": [self.val_subject],
            "test": list(TESTERS),
        }
        found = {name: numpy.flatnonzero(numpy.isin(subject, numbers)) for name, numbers in people.items()}
        for name, chosen in found.items():
            if not len(chosen):
                raise InputError(f"{self.name}: the {name} split is empty: no recording of person {' or '.join(map(str, people[name]))}")
        where = f"{self.name} in {prepared.folder}"
        check_disjoint(subject.tolist(), found, "person", where)
        homes = {row: part for part, chosen in found.items() for row in chosen.tolist()}
        first: dict[bytes, int] = {}
        for row, values in enumerate(prepared.array("inertial.values").numpy()):
            same = first.setdefault(values.tobytes(), row) if prepared.usable[row] else row
            if homes[same] != homes[row]:
                raise InputError(
                    f"{where}: {prepared.ids[same]} in {homes[same]} and {prepared.ids[row]} in {homes[row]} hold the same inertial"
                    " recording, which leaks: get both anew"
                )
        return found


def _centred(skeleton: NDArray[Any]) -> NDArray[Any]:
    """Return the joints as seen from where the hip is in the first frame."""
    joints = skeleton.astype("float32").reshape(len(skeleton), JOINTS, 3)
    centred: NDArray[Any] = (joints - joints[0, HIP]).reshape(len(skeleton), 3 * JOINTS)
    return centred


def _padded(values: NDArray[Any], kind: str, where: str) -> dict[str, NDArray[Any] | None]:
    numpy = require("numpy", extra="data")
    length, longest = len(values), LONGEST[kind]
    if length > longest:
        raise Damaged(f"{where}: its {kind} has {length} steps, and the longest of the data set has {longest}: get it anew")
    padded = numpy.zeros((longest, values.shape[1]), dtype="float32")
    padded[:length] = values
    return {f"{kind}.values": padded, f"{kind}.lengths": numpy.asarray(length, dtype="int64")}
