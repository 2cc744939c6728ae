"""Unimodal heads for a model that has none, without touching its code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from equimodal.nn.probed import Call, ProbedModel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor, nn

    from equimodal.nn._hooks import Feature

__all__ = ["ProbedModel", "probe"]


def probe(
    model: nn.Module,
    modalities: Mapping[str, str | nn.Module],
    num_outputs: int,
    *,
    heads: Mapping[str, nn.Module] | None = None,
    features: Mapping[str, Feature] | None = None,
    feature_sizes: Mapping[str, int] | None = None,
    example: Any = None,
    call: Call = None,
    output: Callable[[Any], Tensor] | None = None,
    encoders: Mapping[str, Any] | None = None,
    detach: bool = False,
) -> ProbedModel:
    """Add a head for every modality to a model that has none, without touching its code.

    What a named submodule returns is the modality's feature; forward hooks catch it. The model returned calls the given one once, and
    returns a :class:`~equimodal.nn.Prediction`: the given model's own logits, and those of the heads.

    >>> import torch
    >>> from torch import nn
    >>> class Network(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.audio, self.image, self.output = nn.Linear(20, 8), nn.Linear(64, 16), nn.Linear(24, 10)
    ...     def forward(self, inputs):
    ...         return self.output(torch.cat([self.audio(inputs["audio"]), self.image(inputs["image"])], dim=1))
    >>> model = probe(Network(), {"audio": "audio", "image": "image"}, num_outputs=10)
    >>> prediction = model({"audio": torch.zeros(4, 20), "image": torch.zeros(4, 64)})
    >>> prediction.multimodal.shape, {name: tuple(feature.shape) for name, feature in prediction.features.items()}
    (torch.Size([4, 10]), {'audio': (4, 8), 'image': (4, 16)})

    What becomes of a submodule's output, unless ``features`` says otherwise:

    - ``[batch, features]``: the feature, as it is;
    - ``[batch, tokens, features]``: its mean over the tokens; over those that count where the submodule was given an ``attention_mask``
      ``[batch, tokens]`` by name;
    - ``[batch, channels, height, width]`` and ``[batch, channels, time, height, width]``: its mean over all but the first two;
    - an output of transformers: its ``pooler_output`` where it has one, else its ``last_hidden_state`` as above.

    :param model: any module; not yet wrapped for several processes and not compiled, which is done to what this returns. It is used as it
        is, not copied.
    :param modalities: by modality, the submodule whose output is the feature, or its dotted name. It runs at most once in a forward pass.
        Two modalities or more.
    :param num_outputs: how many classes, labels or values the model predicts.
    :param heads: by modality, a module from its feature to ``[batch, num_outputs]``; others get one linear layer.
    :param features: by modality, a function that makes ``[batch, features]`` of what the submodule returns; anything that begins with the
        batch where ``heads`` has a module for it, as for targets per token.
    :param feature_sizes: by modality, the size of the feature. Otherwise it is found with ``example``, and without one the submodule states
        it: ``out_features``, ``num_features``, ``config.hidden_size`` or the last of ``config.hidden_sizes``, in this order.
    :param example: inputs to find the sizes with, by one call in evaluation mode: a tuple of positional arguments, or one argument.
    :param call: how the inputs reach the model. By default as they are given; ``"keywords"``: a mapping, given as the one argument, as
        keyword arguments, ``model(**inputs)``; or a function ``(model, inputs)`` that calls the model and returns its output.
    :param output: a function that makes logits ``[batch, num_outputs]`` of what the model returns. By default this is a tensor, has such a
        tensor as ``logits`` (an attribute or an entry), or is a tuple that begins with it.
    :param encoders: by modality, what belongs to it, where that is more than the submodule: modules, parameters or name patterns, as for
        :func:`equimodal.modality_groups`. It is what a method slows; what no modality names belongs to all of them.
    :param detach: let the heads read features and never change them: the model is trained by its own loss alone. By default encoders learn
        from their heads too (Eq. 3 of MILES).
    :raises InputError: for a submodule that is not there, fewer than two modalities, a feature size that cannot be found, or a model that
        is wrapped already.
    """
    return ProbedModel(
        model,
        modalities,
        num_outputs,
        heads=heads,
        features=features,
        feature_sizes=feature_sizes,
        example=example,
        call=call,
        output=output,
        encoders=encoders,
        detach=detach,
    )
