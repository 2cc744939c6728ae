"""Joint fusion: one encoder per modality, a fusion of their features, and a head on each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from equimodal.errors import InputError, nearest
from equimodal.nn._checks import by_modality, known_modalities, modality_names, positive_integer, samples
from equimodal.nn._encoding import Projected, check_masks, encode_present, read_feature_size, zero_feature
from equimodal.nn._heads import classified, make_heads
from equimodal.nn._predicting import from_what_is_there
from equimodal.nn.fusion import fusion_class, sliceable
from equimodal.nn.prediction import Prediction, Routes
from equimodal.nn.unimodal import UnimodalModel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from equimodal.nn.prediction import Transform

__all__ = ["JointFusion"]


class JointFusion(nn.Module):
    """A multimodal network: ``z_m = encoder_m(x_m)``, multimodal logits from the fusion of all ``z_m``, unimodal ones ``y_m = h_m(z_m)``.

    Every ``h_m`` is one linear layer, unless ``heads`` says otherwise. With ``fusion="concat"`` or ``"sum"`` this is the model of MILES
    (Eq. 1-3).

    >>> import torch
    >>> from equimodal.nn import MLP, ResNet
    >>> model = JointFusion({"audio": MLP(20), "image": ResNet(6, in_channels=1)}, num_outputs=10)
    >>> prediction = model({"audio": torch.zeros(4, 20), "image": torch.zeros(4, 1, 28, 28)})
    >>> prediction.multimodal.shape, prediction.unimodal["audio"].shape, prediction.features["image"].shape
    (torch.Size([4, 10]), torch.Size([4, 10]), torch.Size([4, 128]))

    A modality may be absent, from the whole batch (leave it out of the inputs) or from single samples (give a mask). The fusion
    then sees a zero feature, after the encoder; presence is never guessed from zeros in the input.

    >>> prediction = model({"audio": torch.zeros(4, 20)})
    >>> list(prediction.unimodal), prediction.features["image"].abs().max().item()
    (['audio'], 0.0)

    An encoder that no sample of a batch needs does not run, so under ``DistributedDataParallel`` such batches need
    ``find_unused_parameters=True``.

    :param encoders: by modality, a module that is called with the modality's input as its one argument and returns ``[batch, features]``
        (or ``[batch, features, 1, 1]``). The names are Python identifiers, other than ``multimodal``; there are at least two.
    :param num_outputs: how many classes, labels or values to predict.
    :param fusion: ``"concat"`` (:class:`~equimodal.nn.fusion.Concat`), ``"sum"`` (:class:`~equimodal.nn.fusion.Sum`), ``"additive"``
        (:class:`~equimodal.nn.fusion.Additive`), ``"late"`` (:class:`~equimodal.nn.fusion.Late`), ``"gated"``
        (:class:`~equimodal.nn.fusion.Gated`), ``"film"`` (:class:`~equimodal.nn.fusion.FiLM`), ``"attention"``
        (:class:`~equimodal.nn.fusion.Attention`), or any module that takes the features of all modalities as a dictionary and returns
        ``[batch, num_outputs]``; one with an attribute ``of_heads = True`` is given the logits of the heads instead. For ``"sum"``,
        an encoder whose size differs from the smallest is followed by a linear projection to that size, which then belongs to the encoder.
    :param feature_sizes: the feature sizes of encoders that do not state theirs. A stated one is read from ``out_features``,
        ``num_features``, ``config.hidden_size`` or the last of ``config.hidden_sizes``, in this order; a given one comes before it.
    :param heads: by modality, a module from its feature to ``[batch, num_outputs]``, where a linear layer will not do.
    :raises InputError: for a name that cannot name a modality, an unknown fusion, a feature size that is neither stated nor given, or a
        head that is no module.
    """

    def __init__(
        self,
        encoders: Mapping[str, nn.Module],
        num_outputs: int,
        fusion: str | nn.Module = "concat",
        *,
        feature_sizes: Mapping[str, int] | None = None,
        heads: Mapping[str, nn.Module] | None = None,
    ) -> None:
        super().__init__()
        encoders = dict(encoders.items())
        self.modalities = modality_names(encoders)
        self.num_outputs = positive_integer(num_outputs, "num_outputs")
        self.feature_sizes = _feature_sizes(encoders, feature_sizes or {})
        if isinstance(fusion, str):
            kind = fusion_class(fusion)
            if kind.equal_sizes:
                self._equalize(encoders)
            fusion = kind(self.feature_sizes, self.num_outputs)
        elif not isinstance(fusion, nn.Module):
            raise InputError(f"fusion is {fusion!r}: give a name or a module")
        self.encoders = nn.ModuleDict(encoders)
        self.heads = nn.ModuleDict(make_heads(self.feature_sizes, self.num_outputs, heads or {}))
        self.fusion = fusion

    def _equalize(self, encoders: dict[str, nn.Module]) -> None:
        common = min(self.feature_sizes.values())
        for modality, size in self.feature_sizes.items():
            if size != common:
                encoders[modality] = Projected(modality, encoders[modality], size, common)
                self.feature_sizes[modality] = common

    def encode(self, inputs: Mapping[str, Any], present: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """Return the feature ``[batch, features]`` of every modality, zero where it is absent.

        Only the samples that have a modality go through its encoder: what stands in the other rows, be it NaN, has no influence on
        values, gradients or batch statistics. A mask on an accelerator costs one synchronisation; without masks there is none.

        :param inputs: by modality, a tensor ``[batch, ...]``, or a tuple or mapping of such. A modality left out is absent for the
            whole batch.
        :param present: for modalities that some samples lack, a boolean mask ``[batch]``. The mask of a modality that is left out of
            the inputs is not looked at.
        :raises InputError: for no modality at all, an unknown one, unequal numbers of samples, a mask of wrong type or shape, and an
            encoder that returns another shape than ``[batch, features]``.
        """
        by_modality(inputs, self.modalities)
        masks = present or {}
        known_modalities(inputs, self.modalities, "the inputs")
        known_modalities(masks, self.modalities, "the presence masks")
        if not inputs:
            raise InputError(f"the inputs are empty: give at least one of {', '.join(self.modalities)}")
        batch = samples(inputs)
        check_masks(masks, inputs, batch)
        features = {}
        for modality in self.modalities:
            head, size = self.heads[modality], self.feature_sizes[modality]
            features[modality] = (
                encode_present(self.encoders[modality], head, size, inputs[modality], masks.get(modality), batch, modality)
                if modality in inputs
                else zero_feature(head, size, batch)
            )
        return features

    def fuse(self, features: Mapping[str, Tensor]) -> Tensor:
        """Return the multimodal logits ``[batch, outputs]``.

        :param features: by modality ``[batch, features]``; every modality must be there.
        :raises InputError: for a modality that is missing or unknown, and for a fusion that returns another shape.
        """
        logits: Tensor = self.fusion(self._for_fusion(features))
        expected = self._logits_shape(features)
        if logits.shape != expected:
            raise InputError(f"the fusion returned shape {list(logits.shape)}: it must be [batch, outputs] = {list(expected)}")
        return logits

    def contributions(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return each modality's part ``[batch, outputs]`` of the multimodal logits; the parts add up to what :meth:`fuse` returns.

        A bias that belongs to no modality is shared out evenly. ``"concat"``, ``"sum"``, ``"additive"`` and ``"late"`` have such parts,
        and so has a module that defines ``contributions`` of its own.

        >>> import torch
        >>> from equimodal.nn import MLP
        >>> model = JointFusion({"audio": MLP(20), "image": MLP(64)}, num_outputs=10)
        >>> features = model.encode({"audio": torch.ones(4, 20), "image": torch.ones(4, 64)})
        >>> torch.allclose(sum(model.contributions(features).values()), model.fuse(features), atol=1e-5)
        True

        :param features: by modality ``[batch, features]``; every modality must be there.
        :raises InputError: for a fusion without parts, and as :meth:`fuse` does.
        """
        if not sliceable(self.fusion):
            raise InputError(
                f"the fusion {type(self.fusion).__name__} cannot be sliced, as it defines no contributions(features):"
                " use 'zeroed-feature' or 'head' as evidence"
            )
        parts: dict[str, Tensor] = self.fusion.contributions(self._for_fusion(features))  # type: ignore[operator]
        expected = self._logits_shape(features)
        for modality in self.modalities:
            if modality not in parts or parts[modality].shape != expected:
                found = f"of shape {list(parts[modality].shape)}" if modality in parts else "missing"
                raise InputError(
                    f"the part of {modality!r} in contributions() of {type(self.fusion).__name__} is {found}:"
                    f" it must be [batch, outputs] = {list(expected)}"
                )
        return parts

    def _for_fusion(self, features: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        known_modalities(features, self.modalities, "the features for the fusion")
        for modality in self.modalities:
            if modality not in features:
                raise InputError(f"the fusion lacks the feature of {modality!r}: where the modality is absent, give zeros")
        return self.classify(features) if getattr(self.fusion, "of_heads", False) else features

    def _logits_shape(self, features: Mapping[str, Tensor]) -> tuple[int, int]:
        return features[self.modalities[0]].shape[0], self.num_outputs

    def classify(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the logits ``[batch, outputs]`` of the head of every modality that is given.

        :param features: by modality ``[batch, features]``.
        :raises InputError: for an unknown modality, or a head that returns another shape.
        """
        known_modalities(features, self.modalities, "the features for the heads")
        return {
            modality: classified(self.heads[modality], features[modality], self.num_outputs, modality)
            for modality in self.modalities
            if modality in features
        }

    def forward(
        self, inputs: Mapping[str, Any], present: Mapping[str, Tensor] | None = None, transform: Transform | None = None
    ) -> Prediction:
        """Encode, transform, fuse and classify.

        :param inputs: as for :meth:`encode`.
        :param present: as for :meth:`encode`.
        :param transform: given the features of every modality, says which ones the fusion sees and which ones the heads see;
            both see them as they are by default.
        :returns: the logits of the fusion and of the heads of all modalities in ``inputs``, and the features before the transform.
        :raises InputError: as :meth:`encode`, :meth:`fuse` and :meth:`classify` do.
        """
        features = self.encode(inputs, present)
        routes = Routes(features, features) if transform is None else transform(dict(features))
        multimodal = self.fuse(routes.fusion)
        unimodal = self.classify({modality: feature for modality, feature in routes.heads.items() if modality in inputs})
        return Prediction(multimodal, unimodal, features, {name: mask for name, mask in (present or {}).items() if name in inputs})

    def predict(self, inputs: Mapping[str, Any], present: Mapping[str, Tensor] | None = None) -> Tensor:
        """Return one set of logits ``[batch, outputs]`` per sample, from whatever the sample has.

        A sample with all modalities gets the multimodal logits, any other the mean of the logits of the heads of its modalities.
        Evaluation mode and ``torch.no_grad()`` are the caller's to choose.

        >>> import torch
        >>> from equimodal.nn import MLP
        >>> model = JointFusion({"audio": MLP(20), "image": MLP(64)}, num_outputs=10).eval()
        >>> audio = torch.ones(4, 20)
        >>> torch.equal(model.predict({"audio": audio}), model({"audio": audio}).unimodal["audio"])
        True

        :param inputs: as for :meth:`encode`.
        :param present: as for :meth:`encode`.
        :raises InputError: for a sample without any modality, and as :meth:`encode` does.
        """
        return from_what_is_there(self(inputs, present), self.modalities)

    def modality_modules(self) -> dict[str, dict[str, nn.Module]]:
        """Return the modules that belong to each modality, by role; what is left over, nothing for ``"late"``, belongs to the fusion."""
        return {modality: {"encoder": self.encoders[modality], "head": self.heads[modality]} for modality in self.modalities}

    def only(self, modality: str) -> UnimodalModel:
        """Return a model of one modality, which shares that modality's encoder and head with this one.

        :raises InputError: for an unknown modality.
        """
        if modality not in self.modalities:
            raise InputError(f"unknown modality {modality!r}: {nearest(modality, self.modalities)}")
        return UnimodalModel(
            modality, self.encoders[modality], self.heads[modality], feature_size=self.feature_sizes[modality], num_outputs=self.num_outputs
        )


def _feature_sizes(encoders: Mapping[str, nn.Module], given: Mapping[str, int]) -> dict[str, int]:
    known_modalities(given, encoders, "feature_sizes")
    sizes: dict[str, int] = {}
    for modality, encoder in encoders.items():
        if not isinstance(encoder, nn.Module):
            raise InputError(f"the encoder of {modality!r} is a {type(encoder).__name__}: give a torch.nn.Module")
        size = given.get(modality, read_feature_size(encoder))
        if size is None:
            raise InputError(
                f"the encoder of {modality!r} ({type(encoder).__name__}) does not state its feature size:"
                f" give feature_sizes={{{modality!r}: N}} or set its attribute out_features"
            )
        sizes[modality] = positive_integer(size, f"the feature size of {modality!r}")
    return sizes
