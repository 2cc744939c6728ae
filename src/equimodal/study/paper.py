"""The figures of the MILES paper, Tables I to VI, as they are printed there, to stand beside those of a study.

All are percentages with one decimal, of the test split, from one run of the configuration that was best on the validation split. Heads have
the names of the modalities here: what the paper calls video (CREMA-D: one frame) and poster (MM-IMDb) is ``image``.

Where the paper is at odds with itself:

- Table I heads LUMA with F1 and MM-IMDb with accuracy; the text and the other tables have accuracy for LUMA and F1 for MM-IMDb.
- Table II has a frame encoder of CREMA-D (60.8) above the model of that modality alone (60.7 in Table I), and calls that a gap of 0 %.
- Table II has Δ = +20.4 for MILES on LUMA, whose printed heads, 95.1 and 75.1, differ by 20.0. Every other Δ is its heads' difference.
- Table V heads its last two columns image, audio and holds audio, image: its row for μ = 0.5 must be that of Table IV for τ = 0.2. They are
  the right way round here.
- Table VI is said to be tuned anew; its rows for validation scores are those of Tables II and III.
- Tables II and III call MSES "MSSES".
- The paper has no row ``joint``: the losses of single modalities without any scheduler.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from equimodal.scores import MULTIMODAL

__all__ = [
    "DIFFERENCE",
    "EPOCH",
    "SENSITIVITY",
    "TITLES",
    "Likeness",
    "likeness",
    "modalities_of",
    "mu_figures",
    "scores",
    "tau_figures",
    "training_figures",
    "unimodal_figure",
]

DIFFERENCE = "difference"
"""The key of Δ: the strongest head's score minus the weakest one's."""

EPOCH = "epoch"
"""The key of the best epoch in Table VI."""

SENSITIVITY = "luma"
"""The data set of Tables IV, V and VI."""

TITLES = {"cremad": "CREMA-D", "smnist": "S-MNIST", "luma": "LUMA", "mmimdb": "MM-IMDb"}
"""The paper's data sets as it spells them, by their names here, in the order of Tables II and III."""

_MODALITIES = {"cremad": ("audio", "image"), "smnist": ("image", "audio"), "luma": ("audio", "image"), "mmimdb": ("text", "image")}

# Data sets of this package that the paper lacks, and the one of the paper's whose task and modalities are most like theirs: digits that are
# seen and spoken, and pictures with texts.
_LIKE = {"avdigits": "smnist", "digits-av": "smnist", "fashion-image-text": "mmimdb", "wiki-image-text": "mmimdb"}

# Table I: the score of the model of one modality alone and the metric that the paper says it is.
_ALONE = {
    "smnist": {"audio": (88.9, "accuracy"), "image": (99.0, "accuracy")},
    "cremad": {"audio": (61.9, "accuracy"), "image": (60.7, "accuracy")},
    "mmimdb": {"text": (64.4, "accuracy"), "image": (38.9, "accuracy")},
    "luma": {"audio": (97.2, "F1"), "image": (79.1, "F1")},
}

_ROWS = ("vanilla", "mslr-k", "mslr-s", "mslr-d", "ogm", "ogm-ge", "mses", "gblend", "miles")

# Tables II and III: per row the multimodal score, the stronger head, the weaker head and Δ, for the data sets in the order of TITLES.
_FUSED = {
    "concat": """
        62.6 58.2 26.6 +31.6   98.4 98.5 53.9 +44.6   98.2 71.0 29.8 +41.2   63.3 62.5 27.9 +34.6
        65.1 59.9 29.7 +30.2   99.0 98.8 58.9 +39.9   98.7 87.8 38.1 +49.7   63.4 62.4 27.9 +34.5
        64.8 58.2 29.2 +29.0   99.1 98.6 66.1 +32.5   98.5 93.2 35.7 +57.5   63.6 62.7 28.2 +34.5
        64.3 59.9 39.7 +20.2   99.0 98.8 76.9 +21.9   98.7 93.3 37.0 +56.3   63.6 62.6 28.5 +34.1
        63.9 57.9 34.6 +23.3   98.9 98.8 64.5 +34.3   98.5 86.4 44.0 +42.4   63.7 63.0 28.3 +34.7
        70.4 54.6 44.2 +10.4   99.0 97.3 73.0 +24.3   96.2 74.7 49.7 +25.0   64.0 62.6 29.3 +33.3
        71.6 57.7 55.9 +1.8    98.4 98.3 77.8 +20.5   98.1 88.3 66.2 +22.1   64.4 63.4 30.6 +32.8
        71.8 58.4 56.2 +2.2    98.8 98.1 75.9 +22.2   98.5 88.4 67.7 +20.7   64.3 63.4 30.3 +33.1
        75.1 59.9 60.8 -0.9    99.8 98.8 84.9 +13.9   99.7 95.1 75.1 +20.4   65.1 64.2 36.6 +27.6
    """,
    "sum": """
        62.9 58.5 27.2 +31.3   98.3 98.0 55.8 +42.2   98.5 86.7 43.2 +43.5   63.1 63.1 27.8 +35.3
        65.7 57.4 33.3 +24.1   98.7 98.5 68.2 +30.3   98.8 87.0 43.6 +43.4   63.5 61.5 29.1 +32.4
        66.0 59.9 31.1 +28.8   98.8 98.8 58.1 +40.7   98.7 92.0 44.3 +47.7   63.9 61.8 28.9 +32.9
        65.4 59.9 34.9 +25.0   99.1 98.7 73.5 +25.2   98.9 91.8 48.2 +43.6   64.0 62.0 29.3 +32.7
        65.6 56.8 36.9 +19.9   98.6 97.8 61.8 +36.0   98.7 87.3 46.7 +40.6   63.9 62.2 28.7 +33.5
        68.6 52.5 43.6 +8.9    99.0 96.9 79.1 +17.8   97.7 73.2 48.4 +24.8   63.9 62.0 29.0 +33.0
        72.1 55.1 58.1 -3.0    98.9 98.6 81.4 +17.2   98.4 90.2 70.6 +19.6   64.0 63.8 29.1 +34.7
        72.3 54.9 57.6 -2.7    99.2 98.8 80.1 +18.7   98.7 90.3 71.1 +19.2   64.3 63.1 29.1 +34.0
        75.7 60.0 60.8 -0.8    99.8 98.8 85.0 +13.8   99.8 95.7 76.6 +19.1   65.0 64.0 33.1 +30.9
    """,
}

# Table IV: τ, then multimodal, audio, image.
_TAU = {
    "concat": "0.5 98.9 97.4 57.6   0.3 99.1 95.4 66.7   0.2 99.7 95.1 75.1   0.1 99.1 93.1 76.8   0.0 98.7 91.7 77.5",
    "sum": "0.5 99.1 97.3 66.6   0.3 99.2 95.8 73.2   0.2 99.8 95.7 76.6   0.1 99.3 93.3 77.4   0.0 98.9 91.5 78.1",
}

# Table V: μ, then multimodal, audio, image.
_MU = {
    "concat": """
        1.00 98.7 97.5 57.7   0.75 99.4 96.9 65.5   0.50 99.7 95.1 75.1   0.25 99.1 94.5 75.4   0.10 94.7 92.2 76.8
        0.05 90.3 89.3 77.7   0.01 86.7 84.4 79.0
    """,
    "sum": """
        1.00 99.0 97.3 66.7   0.75 99.7 96.7 69.3   0.50 99.8 95.7 76.6   0.25 99.4 94.9 76.8   0.10 97.6 93.9 78.2
        0.05 91.5 88.8 78.9   0.01 89.6 83.9 79.4
    """,
}

# Table VI: multimodal, audio, image and the best epoch, by the split whose scores MILES looks at.
_SPLITS = {
    ("concat", "train"): (99.8, 95.6, 73.6, 53.0),
    ("concat", "val"): (99.7, 95.1, 75.1, 47.0),
    ("sum", "train"): (99.8, 97.3, 76.4, 53.0),
    ("sum", "val"): (99.8, 95.7, 76.6, 45.0),
}

Figures = Mapping[str, float]


@dataclass(frozen=True)
class Likeness:
    """The data set of the paper that one is shown beside.

    :param key: its name here, such as ``"smnist"``.
    :param same: whether it is the very same data set, not only one like it.
    """

    key: str
    same: bool

    @property
    def title(self) -> str:
        """Its name as the paper spells it."""
        return TITLES[self.key]


def likeness(dataset: str) -> Likeness | None:
    """Return the paper's data set that one is shown beside: itself, or the one most like it; None where there is none.

    >>> likeness("cremad"), likeness("avdigits").title, likeness("utd-mhad")
    (Likeness(key='cremad', same=True), 'S-MNIST', None)

    :param dataset: a registered name.
    """
    key = _LIKE.get(dataset, dataset)
    return Likeness(key, key == dataset) if key in TITLES else None


def modalities_of(key: str) -> tuple[str, str]:
    """Return the modalities of one of the paper's data sets, the stronger one first.

    >>> modalities_of("smnist")
    ('image', 'audio')
    """
    return _MODALITIES[key]


def unimodal_figure(key: str, modality: str) -> tuple[float, str] | None:
    """Return a model of one modality in Table I: its score and the metric that the table says it is.

    >>> unimodal_figure("luma", "audio")
    (97.2, 'F1')
    """
    return _ALONE.get(key, {}).get(modality)


def scores(key: str, fusion: str, row: str) -> Figures | None:
    """Return a row of Table II (``"concat"``) or III (``"sum"``) for one data set; None where the paper has none.

    >>> dict(scores("smnist", "concat", "miles"))
    {'multimodal': 99.8, 'image': 98.8, 'audio': 84.9, 'difference': 13.9}

    :param key: the data set.
    :param fusion: the fusion.
    :param row: the method's name here.
    """
    if key not in TITLES or fusion not in _FUSED or row not in _ROWS:
        return None
    line = _FUSED[fusion].strip().splitlines()[_ROWS.index(row)].split()
    start = 4 * list(TITLES).index(key)
    names = (MULTIMODAL, *_MODALITIES[key], DIFFERENCE)
    return MappingProxyType(dict(zip(names, map(float, line[start : start + 4]), strict=True)))


def tau_figures(fusion: str) -> dict[float, Figures]:
    """Return Table IV by the value of τ; empty for a fusion that the paper lacks.

    >>> dict(tau_figures("concat")[0.2])
    {'multimodal': 99.7, 'audio': 95.1, 'image': 75.1}
    """
    return _swept(_TAU, fusion)


def mu_figures(fusion: str) -> dict[float, Figures]:
    """Return Table V by the value of μ, its last two columns the right way round; empty for a fusion that the paper lacks.

    >>> mu_figures("concat")[0.5] == tau_figures("concat")[0.2]
    True
    """
    return _swept(_MU, fusion)


def training_figures(fusion: str, split: str) -> Figures | None:
    """Return a row of Table VI: scores and best epoch of MILES that looks at the scores of a split; None where the paper has none.

    >>> dict(training_figures("sum", "val"))
    {'multimodal': 99.8, 'audio': 95.7, 'image': 76.6, 'epoch': 45.0}

    :param fusion: the fusion.
    :param split: ``"train"`` or ``"val"``.
    """
    found = _SPLITS.get((fusion, split))
    return None if found is None else _named(found, EPOCH)


def _swept(lines: Mapping[str, str], fusion: str) -> dict[float, Figures]:
    numbers = [float(word) for word in lines.get(fusion, "").split()]
    return {numbers[start]: _named(numbers[start + 1 : start + 4]) for start in range(0, len(numbers), 4)}


def _named(numbers: Sequence[float], *more: str) -> Figures:
    return MappingProxyType(dict(zip((MULTIMODAL, *_MODALITIES[SENSITIVITY], *more), numbers, strict=True)))
