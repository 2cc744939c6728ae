"""One modality alone: an encoder and its head."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from equimodal.errors import InputError
from equimodal.nn._checks import by_modality, positive_integer, samples
from equimodal.nn._encoding import check_masks, encode_present
from equimodal.nn.prediction import Prediction, Routes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from equimodal.nn.prediction import Transform

__all__ = ["UnimodalModel"]


class UnimodalModel(nn.Module):
    """The encoder and the head of one modality, with the face of :class:`~equimodal.nn.JointFusion`.

    It takes the same batches and looks at its own modality alone; its multimodal logits are those of its head.

    >>> import torch
    >>> from equimodal.nn import MLP, JointFusion
    >>> model = JointFusion({"audio": MLP(20), "image": MLP(64)}, num_outputs=10).only("audio")
    >>> prediction = model({"audio": torch.zeros(4, 20), "image": torch.zeros(4, 1, 8, 8)})
    >>> torch.equal(prediction.multimodal, prediction.unimodal["audio"]), list(prediction.unimodal)
    (True, ['audio'])

    :param modality: its name.
    :param encoder: returns ``[batch, features]``.
    :param head: from the feature to the outputs ``[batch, outputs]``.
    :param feature_size: the size of the feature; by default what the head, a linear layer, is made for.
    :param num_outputs: how many outputs the head has; by default likewise.
    :raises InputError: for a head that states neither size, and none given.
    """

    def __init__(
        self, modality: str, encoder: nn.Module, head: nn.Module, *, feature_size: int | None = None, num_outputs: int | None = None
    ) -> None:
        super().__init__()
        self.modality = modality
        self.modalities = (modality,)
        size = feature_size or getattr(head, "in_features", None)
        outputs = num_outputs or getattr(head, "out_features", None)
        if size is None or outputs is None:
            raise InputError(f"the head of {modality!r}, a {type(head).__name__}, states no sizes: give feature_size and num_outputs")
        self.num_outputs = positive_integer(outputs, "num_outputs")
        self.feature_sizes = {modality: positive_integer(size, f"the feature size of {modality!r}")}
        self.encoder = encoder
        self.head = head

    def encode(self, inputs: Mapping[str, Any], present: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """Return the modality's feature, zero in the samples that lack it.

        :raises InputError: when the batch has no input of the modality, or for a mask of wrong type or shape.
        """
        by_modality(inputs, self.modalities)
        if self.modality not in inputs:
            raise InputError(f"this model sees {self.modality!r} alone and is given {', '.join(inputs) or 'nothing'}: give that modality")
        value, masks = inputs[self.modality], present or {}
        batch = samples({self.modality: value})
        check_masks(masks, self.modalities, batch)
        size = self.feature_sizes[self.modality]
        return {self.modality: encode_present(self.encoder, self.head, size, value, masks.get(self.modality), batch, self.modality)}

    def fuse(self, features: Mapping[str, Tensor]) -> Tensor:
        """Return the head's logits ``[batch, outputs]``.

        :raises InputError: when the modality's feature is not there.
        """
        if self.modality not in features:
            raise InputError(
                f"this model sees {self.modality!r} alone and is given {', '.join(features) or 'no feature'}: give that feature"
            )
        logits: Tensor = self.head(features[self.modality])
        return logits

    def contributions(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the head's logits ``[batch, outputs]`` by name, which are all there is of the multimodal ones."""
        return {self.modality: self.fuse(features)}

    def classify(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the head's logits ``[batch, outputs]`` by name, or nothing where the modality's feature is not there."""
        return {modality: self.head(features[modality]) for modality in self.modalities if modality in features}

    def forward(
        self, inputs: Mapping[str, Any], present: Mapping[str, Tensor] | None = None, transform: Transform | None = None
    ) -> Prediction:
        """Predict; the parameters are those of :meth:`equimodal.nn.JointFusion.forward`, other modalities are not looked at."""
        features = self.encode(inputs, present)
        routes = Routes(features, features) if transform is None else transform(dict(features))
        multimodal = self.fuse(routes.fusion)
        unimodal = {self.modality: multimodal} if transform is None else self.classify(routes.heads)
        masks = {modality: mask for modality, mask in (present or {}).items() if modality == self.modality}
        return Prediction(multimodal, unimodal, features, masks)

    def predict(self, inputs: Mapping[str, Any], present: Mapping[str, Tensor] | None = None) -> Tensor:
        """Return the logits ``[batch, outputs]``.

        :raises InputError: when a sample lacks the modality, and as :meth:`encode` does.
        """
        prediction: Prediction = self(inputs, present)
        mask = prediction.present.get(self.modality)
        if mask is not None and not mask.all():
            raise InputError(f"sample {int(mask.logical_not().nonzero()[0])} of the batch lacks {self.modality!r}: leave it out")
        return prediction.multimodal

    def modality_modules(self) -> dict[str, dict[str, nn.Module]]:
        """Return the modules that belong to the modality, by role."""
        return {self.modality: {"encoder": self.encoder, "head": self.head}}

    def only(self, modality: str) -> UnimodalModel:
        """Return the model of that modality, which is this one.

        :raises InputError: for another modality.
        """
        if modality != self.modality:
            raise InputError(f"unknown modality {modality!r}: this model sees {self.modality!r} alone")
        return self
