"""Any backbone of Hugging Face transformers, by name."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import shorten
from typing import Any

import torch
from torch import Tensor, nn

from equimodal.errors import InputError, nearest, require
from equimodal.nn._encoding import read_feature_size

__all__ = ["TransformersBackbone"]


class TransformersBackbone(nn.Module):
    """A model of transformers, with one feature per sample.

    The feature is the model's own ``pooler_output`` where it has one, else the mean of ``last_hidden_state`` over the steps that the
    attention mask leaves (over height and width for a feature map). Of an encoder-decoder such as T5, only the encoder is kept.

    .. code-block:: python

        text = TransformersBackbone("bert-base-uncased")
        poster = TransformersBackbone("microsoft/resnet-50")
        model = JointFusion({"text": text, "poster": poster}, num_outputs=23, fusion="sum")
        model({"text": tokenizer(titles, padding=True, return_tensors="pt"), "poster": pictures})

    Weights are held in torch's default type whatever the file holds, and the model starts in training mode, as every module does.

    :param model: with ``pretrained``, the name of a model on the Hugging Face hub or a folder that ``save_pretrained`` wrote;
        without, one of these for its configuration alone, or a model type such as ``"bert"``. A model of transformers that already
        exists is taken as it is.
    :param pretrained: whether to load weights, or to draw them at random.
    :param config: entries of the model's configuration to override, such as ``{"hidden_size": 32}``.
    :param input_name: the argument that a plain tensor is passed as, such as ``"input_ids"`` or ``"pixel_values"``;
        by default the model's own ``main_input_name``.
    :param revision: the branch, tag or commit on the hub, where the default branch is not meant.
    :raises InputError: for a model that cannot be loaded or built, an unknown configuration entry, or a model that states no feature size.
    :raises MissingDependency: when transformers is not installed.
    """

    name = "transformers"

    def __init__(
        self,
        model: str | nn.Module,
        *,
        pretrained: bool = True,
        config: Mapping[str, Any] | None = None,
        input_name: str | None = None,
        revision: str | None = None,
    ) -> None:
        super().__init__()
        if config is not None and not isinstance(config, Mapping):
            raise InputError(f"config is {config!r}: give a mapping of configuration entries, such as {{'hidden_size': 32}}")
        if isinstance(model, nn.Module):
            if config or revision:
                raise InputError(
                    f"config and revision say how to load a model, and {type(model).__name__} is loaded already: leave them out"
                )
            self.backbone = model
        elif isinstance(model, str):
            self.backbone = _load(model, pretrained, dict(config or {}), revision).train()
        else:
            raise InputError(f"the model is {model!r}: give a name, a folder, or a model of transformers")
        self.model = model if isinstance(model, str) else type(model).__name__
        self.pretrained = pretrained
        self.input_name = input_name or str(getattr(self.backbone, "main_input_name", "input_ids"))
        size = read_feature_size(self.backbone)
        if size is None:
            raise InputError(
                f"the configuration of {self.model!r} states neither hidden_size nor hidden_sizes: such a model cannot be used"
            )
        self.out_features = size

    def forward(self, value: Tensor | Mapping[str, Tensor]) -> Tensor:
        """Return ``[batch, out_features]``.

        :param value: the tensor that the model calls ``input_name``, or a mapping of keyword arguments, such as a tokenizer's output.
            Padded sequences need the mapping, for its ``attention_mask``.
        """
        arguments = {self.input_name: value} if isinstance(value, Tensor) else dict(value)
        output = self.backbone(**arguments)
        pooled: Tensor | None = getattr(output, "pooler_output", None)
        if pooled is not None:
            return pooled.flatten(1)
        hidden: Tensor = output.last_hidden_state
        if hidden.dim() == 4:
            return hidden.mean(dim=(2, 3))
        return _masked_mean(hidden, self._step_mask(hidden, arguments.get("attention_mask")))

    def _step_mask(self, hidden: Tensor, mask: Tensor | None) -> Tensor | None:
        if mask is None or mask.shape == hidden.shape[:2]:
            return mask
        # Models of raw audio take a mask over samples and know how it shrinks to their steps.
        shrink = getattr(self.backbone, "_get_feature_vector_attention_mask", None)
        if shrink is None:
            raise InputError(
                f"the attention mask of {self.model!r} has shape {list(mask.shape)} and the model returns {list(hidden.shape[:2])} steps:"
                " give a mask per step"
            )
        shrunk: Tensor = shrink(hidden.shape[1], mask)
        return shrunk


def _masked_mean(hidden: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return hidden.mean(dim=1)
    keep = mask.bool().unsqueeze(2)
    return torch.where(keep, hidden, 0).sum(dim=1) / keep.sum(dim=1).clamp(min=1)


def _load(model: str, pretrained: bool, config: dict[str, Any], revision: str | None) -> nn.Module:
    transformers = require("transformers", extra="transformers")
    source = {} if revision is None else {"revision": revision}
    from_type = not pretrained and model in transformers.CONFIG_MAPPING
    try:
        if from_type:
            plain, wanted = transformers.AutoConfig.for_model(model), transformers.AutoConfig.for_model(model, **config)
        else:
            plain = transformers.AutoConfig.from_pretrained(model, **source)
            wanted = transformers.AutoConfig.from_pretrained(model, **source, **config) if config else plain
        for entry in config:
            if not hasattr(plain, entry):
                raise InputError(f"the configuration of {model!r} has no entry {entry!r}: {nearest(entry, plain.to_dict())}")
        dtype = torch.get_default_dtype()
        if pretrained:
            built = transformers.AutoModel.from_pretrained(model, config=wanted, dtype=dtype, **source)
        else:
            built = transformers.AutoModel.from_config(wanted, dtype=dtype)
        if wanted.is_encoder_decoder:
            built = built.get_encoder()
    except InputError:
        raise
    # transformers and the hub client raise what they like for a name, a folder or a value that does not suit.
    except Exception as error:
        reason = shorten(str(error), 300) or type(error).__name__
        raise InputError(
            f"transformers cannot {'load' if pretrained else 'build'} {model!r}: {reason} {_mend(model, from_type)}"
        ) from error
    if not isinstance(built, nn.Module):
        raise InputError(f"transformers returned a {type(built).__name__}, which is no torch module: choose another model")
    return built


def _mend(model: str, from_type: bool) -> str:
    if from_type:
        return "(change the configuration)"
    hint = nearest(model, require("transformers", extra="transformers").CONFIG_MAPPING)
    hint = f"; {hint}" if hint.startswith("did you mean") else ""
    return f"(give a name on the Hugging Face hub or a folder, or pretrained=False and a model type such as 'bert'{hint})"
