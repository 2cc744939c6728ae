"""From texts to token numbers: word pieces by a given vocabulary file, or whole words by a vocabulary made from training texts."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from equimodal.data.reading.originals import read_bytes
from equimodal.errors import InputError, require

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

__all__ = ["PADDING", "UNKNOWN", "WordPieces", "joined", "word_ids", "word_vocabulary", "words"]

PADDING, UNKNOWN = "<pad>", "<unknown>"  # neither is a word, so that no text can hold them
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


class WordPieces:
    """A text as BERT takes it: ``[CLS]``, word pieces of a vocabulary, ``[SEP]``; cut or padded to a length.

    The pieces are made by Hugging Face's tokenizers. Calling it from several threads at once is safe.

    :param path: the vocabulary: one piece per line, whose number is that of the line, from 0; ``vocab.txt`` of a BERT model.
    :param length: tokens kept, with the first and the last.
    :param lower_case: whether the vocabulary is of lower-case words without accents, as in ``bert-base-uncased``.
    :raises InputError: for a length below 3, or a file that is missing or no such vocabulary.
    :raises MissingDependency: when tokenizers is not installed.
    """

    def __init__(self, path: Path, length: int, *, lower_case: bool = True) -> None:
        if not isinstance(length, int) or isinstance(length, bool) or length < 3:
            raise InputError(f"length={length!r} of a text in word pieces: give a whole number from 3")
        self.vocabulary = _lines(path)
        numbers = {piece: number for number, piece in enumerate(self.vocabulary)}
        self.length = length
        self._padding = numbers["[PAD]"]
        tokenizers = require("tokenizers", extra="transformers")
        self._tokenizer = tokenizers.BertWordPieceTokenizer(vocab=numbers, lowercase=lower_case)
        self._tokenizer.enable_truncation(length)

    def __call__(self, text: str) -> tuple[Any, Any]:
        """Return the token numbers and the mask that says which are tokens: int32 ``[length]`` and uint8 ``[length]``."""
        return _padded(self._tokenizer.encode(text).ids, self.length, self._padding)


def _lines(path: Path) -> list[str]:
    """Read the pieces of a vocabulary."""
    what = "vocabulary"
    try:
        pieces = read_bytes(path, what).decode("utf-8-sig").removesuffix("\n").split("\n")
    except UnicodeDecodeError:
        raise InputError(f"{what} {path} is no text: vocab.txt of a BERT model is needed") from None
    pieces = [piece.removesuffix("\r") for piece in pieces]
    if lacking := [piece for piece in SPECIAL if piece not in pieces]:
        raise InputError(f"{what} {path} has no {', no '.join(lacking)}: vocab.txt of a BERT model is needed, one piece per line")
    if len(set(pieces)) < len(pieces):
        twice = next(piece for number, piece in enumerate(pieces) if piece in pieces[:number])
        raise InputError(f"{what} {path} has {twice!r} in two lines: vocab.txt of a BERT model is needed")
    return pieces


def joined(pieces: Iterable[str]) -> str:
    """Return word pieces as a text to read, without the tokens that only BERT needs.

    >>> joined(["[CLS]", "un", "##seen", "[SEP]", "[PAD]"])
    'unseen'
    """
    return " ".join(piece for piece in pieces if piece not in ("[PAD]", "[CLS]", "[SEP]")).replace(" ##", "")


def words(text: str) -> list[str]:
    """Return the words of a text in lower case: runs of letters and digits, with apostrophes between them.

    >>> words("Men's T-shirt, 2-pack_XL")
    ["men's", 't', 'shirt', '2', 'pack', 'xl']
    """
    return [word.replace("’", "'") for word in _WORD.findall(text.lower())]


def word_vocabulary(texts: Iterable[str], size: int, least: int = 1) -> list[str]:
    """Return the most frequent words of the texts, behind the two entries for padding and for unknown words.

    A word's place is its number: 0 is padding, 1 is an unknown word. Words equally frequent stand in alphabetical order, so that the
    order of the texts does not matter. Give training texts only.

    >>> word_vocabulary(["Blue shirt", "blue jeans"], size=4)
    ['<pad>', '<unknown>', 'blue', 'jeans']

    :param texts: any texts.
    :param size: the number of entries at most, with the first two.
    :param least: how often a word must occur to be counted in.
    :raises InputError: for a size or a count that is no whole number large enough.
    """
    for name, value, smallest in (("size", size, 3), ("least", least, 1)):
        if not isinstance(value, int) or isinstance(value, bool) or value < smallest:
            raise InputError(f"{name}={value!r} of the vocabulary: give a whole number from {smallest}")
    counts = Counter(word for text in texts for word in words(text))
    ordered = sorted((-count, word) for word, count in counts.items() if count >= least)
    return [PADDING, UNKNOWN, *(word for _, word in ordered[: size - 2])]


def word_ids(text: str, vocabulary_index: Mapping[str, int], length: int) -> tuple[Any, Any]:
    """Return a text's word numbers, cut or padded to a length, and the mask that says which are words.

    >>> ids, mask = word_ids("A blue shirt", {"<pad>": 0, "<unknown>": 1, "blue": 2, "shirt": 3}, length=4)
    >>> ids.tolist(), mask.tolist()
    ([1, 2, 3, 0], [1, 1, 1, 0])

    :param text: the text.
    :param vocabulary_index: each word's number; 0 for padding, 1 for unknown words.
    :param length: words kept, from the first.
    :returns: int32 ``[length]`` and uint8 ``[length]``; a text without words is all padding.
    """
    return _padded([vocabulary_index.get(word, 1) for word in words(text)], length, padding=0)


def _padded(numbers: list[int], length: int, padding: int) -> tuple[Any, Any]:
    numpy = require("numpy", extra="data")
    kept = numbers[:length]
    ids, mask = numpy.full(length, padding, dtype="int32"), numpy.zeros(length, dtype="uint8")
    ids[: len(kept)] = kept
    mask[: len(kept)] = 1
    return ids, mask
