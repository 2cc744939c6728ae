"""A small encoder for texts of a few words, trained from scratch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional

from equimodal.errors import InputError, nearest
from equimodal.nn._checks import positive_integer, probability
from equimodal.nn.encoders.sequence import SequenceEncoder, Sequences

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["TextEncoder"]


class TextEncoder(nn.Module):
    """A learned vector for each word, and over the vectors of a text a :class:`SequenceEncoder`, which ends with ReLU.

    Input is what a tokenizer gives: ``input_ids`` and ``attention_mask``. Where the mask is zero there is no word, whichever number
    stands there, and the others move up: neither the amount of padding nor its side has an influence. Nothing is read back from the
    device.

    >>> words = {"input_ids": torch.tensor([[5, 2, 9], [7, 0, 0]]), "attention_mask": torch.tensor([[1, 1, 1], [1, 0, 0]])}
    >>> TextEncoder(vocabulary=10)(words).shape
    torch.Size([2, 64])

    :param vocabulary: how many different words there are; word numbers go from 0 to one less.
    :param embedding_size: how many numbers stand for a word.
    :param channels: the width of the convolutions.
    :param out_features: the size of the feature.
    :param kernel_size: how many words a convolution spans; odd, so that it is centred.
    :param dropout: the share of the values of the words' vectors to drop in training, at least 0 and below 1.
    :raises InputError: for a size that is not a positive integer, an even kernel, or a dropout out of range.
    """

    name = "text"

    def __init__(
        self,
        vocabulary: int,
        embedding_size: int = 64,
        channels: int = 64,
        out_features: int = 64,
        kernel_size: int = 3,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.vocabulary = positive_integer(vocabulary, "TextEncoder vocabulary")
        self.embedding_size = positive_integer(embedding_size, "TextEncoder embedding_size")
        self.channels = positive_integer(channels, "TextEncoder channels")
        self.out_features = positive_integer(out_features, "TextEncoder out_features")
        self.kernel_size = positive_integer(kernel_size, "TextEncoder kernel_size")
        if self.kernel_size % 2 == 0:
            raise InputError(f"TextEncoder kernel_size is {kernel_size}: give an odd number, such as {self.kernel_size + 1}")
        self.dropout = probability(dropout, "TextEncoder dropout")
        self.embedding = nn.Embedding(self.vocabulary, self.embedding_size)
        self.sequence = SequenceEncoder(self.embedding_size, self.channels, self.out_features, self.kernel_size)

    def forward(self, value: Tensor | Mapping[str, Tensor]) -> Tensor:
        """Return ``[batch, out_features]``.

        :param value: ``input_ids`` ``[batch, words]`` and ``attention_mask`` of the same shape (zero where there is no word) in a mapping,
            of which other entries are not used; or the word numbers alone, where every text has full length.
            A text without words counts as zeros.
        :raises InputError: for word numbers or a mask of another shape or type, and, on the CPU, for a number beyond the vocabulary.
        """
        ids, mask = self._parts(value)
        lengths = None
        if mask is not None:
            # A stable sort keeps the words' order and closes the gaps between them.
            order = mask.ne(0).to(torch.uint8).argsort(dim=1, descending=True, stable=True)
            ids = torch.where(mask.ne(0), ids, 0).gather(1, order)
            lengths = mask.ne(0).sum(dim=1)
        try:
            vectors = self.embedding(ids)
        except IndexError:
            raise InputError(
                f"TextEncoder was given a word number outside of 0 to {self.vocabulary - 1} (the numbers go from {int(ids.min())} to"
                f" {int(ids.max())}): set vocabulary to suit"
            ) from None
        vectors = functional.dropout(vectors, self.dropout, self.training)
        feature: Tensor = self.sequence(vectors if lengths is None else Sequences(vectors, lengths))
        return feature

    @staticmethod
    def _parts(value: Any) -> tuple[Tensor, Tensor | None]:
        mask = None
        if isinstance(value, Mapping):
            for entry in ("input_ids", "attention_mask"):
                if entry not in value:
                    raise InputError(f"TextEncoder was given a mapping without {entry!r}: {nearest(entry, map(str, value))}")
            value, mask = value["input_ids"], value["attention_mask"]
        if value.dim() != 2 or value.shape[1] == 0 or value.dtype not in (torch.int32, torch.int64):
            raise InputError(
                f"TextEncoder expects integers [batch, words] and was given shape {list(value.shape)} of type {value.dtype}:"
                " give int32 or int64 word numbers"
            )
        if mask is not None and mask.shape != value.shape:
            raise InputError(f"the attention mask has shape {list(mask.shape)} and input_ids {list(value.shape)}: they must be equal")
        return value, mask
