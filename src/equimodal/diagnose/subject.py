"""What is diagnosed: how a model is observed once, and asked again with modalities left out."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from equimodal.errors import InputError, first_line
from equimodal.nn._hooks import logits_of, returning
from equimodal.nn.joint import JointFusion
from equimodal.nn.prediction import Prediction
from equimodal.nn.probing import ProbedModel
from equimodal.nn.unimodal import UnimodalModel
from equimodal.scores import MULTIMODAL

__all__ = [
    "FeatureSubject",
    "InputSubject",
    "Observation",
    "ProbedSubject",
    "Subject",
    "SubsetSubject",
    "modalities_of_model",
    "subject_of",
]


@dataclass
class Observation:
    """One batch as the whole model sees it.

    :param logits: by head, ``"multimodal"`` first.
    :param features: by modality ``[batch, features]``, where the model shows them.
    :param values: by modality what is replaced when it is left out: the feature, or the input.
    """

    logits: dict[str, Tensor]
    features: dict[str, Tensor] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)


class Subject:
    """A model that is diagnosed.

    :param model: the model, in evaluation mode and on its device.
    :param modalities: their names, two or more.
    """

    ablated: Literal["features", "inputs", "subsets"]
    """Where modalities are left out."""
    again: bool = False
    """Whether :meth:`joint` needs the inputs too."""

    def __init__(self, model: Any, modalities: tuple[str, ...]) -> None:
        self.model = model
        self.modalities = modalities

    def observe(self, inputs: Mapping[str, Any]) -> Observation:
        """Run the model once."""
        raise NotImplementedError

    def joint(self, values: Mapping[str, Any], inputs: Mapping[str, Any] | None = None) -> Tensor:
        """Return the joint model's logits ``[batch, outputs]`` from values of which some are replaced.

        :param inputs: the inputs of the same samples, where :attr:`again` asks for them.
        """
        raise NotImplementedError

    def subset(self, inputs: Mapping[str, Any], present: tuple[str, ...]) -> Tensor:
        """Return the logits of a model that is told itself which modalities it has."""
        raise NotImplementedError


class FeatureSubject(Subject):
    """A model whose prediction has the features of all modalities, and that fuses given ones: its encoders run once per sample."""

    ablated = "features"

    def observe(self, inputs: Mapping[str, Any]) -> Observation:
        """Run the model once."""
        prediction = self.model({name: inputs[name] for name in self.modalities})
        features = {name: prediction.features[name] for name in self.modalities}
        return Observation(_heads(prediction), features, features)

    def joint(self, values: Mapping[str, Any], inputs: Mapping[str, Any] | None = None) -> Tensor:  # noqa: ARG002
        """Fuse features."""
        logits: Tensor = self.model.fuse(dict(values))
        return logits


class ProbedSubject(Subject):
    """A model with hooks on its encoders: the rest of it runs again, with the encoders returning what they are given."""

    ablated = "features"
    again = True

    def observe(self, inputs: Mapping[str, Any]) -> Observation:
        """Run the model once."""
        prediction = self.model(inputs)
        features = {name: prediction.features[name] for name in self.modalities}
        return Observation(_heads(prediction), features, features)

    def joint(self, values: Mapping[str, Any], inputs: Mapping[str, Any] | None = None) -> Tensor:
        """Run what comes after the encoders."""
        encoders = {name: self.model.model.get_submodule(path) for name, path in self.model.submodules.items()}
        with returning({encoders[name]: values[name] for name in self.modalities}):
            logits: Tensor = self.model(inputs).multimodal
        return logits


class InputSubject(Subject):
    """Any model that returns a prediction or logits: it runs again for every subset, with inputs replaced."""

    ablated = "inputs"

    def observe(self, inputs: Mapping[str, Any]) -> Observation:
        """Run the model once."""
        found = self.model(dict(inputs))
        if isinstance(found, Prediction):
            features = {name: feature for name, feature in found.features.items() if name in self.modalities}
            return Observation(_heads(found), features, dict(inputs))
        return Observation({MULTIMODAL: _logits(self.model, found)}, {}, dict(inputs))

    def joint(self, values: Mapping[str, Any], inputs: Mapping[str, Any] | None = None) -> Tensor:  # noqa: ARG002
        """Run the model."""
        found = self.model(dict(values))
        return found.multimodal if isinstance(found, Prediction) else _logits(self.model, found)


class SubsetSubject(Subject):
    """A model that is called with the modalities it may use: ``model(inputs, modalities=("audio",))``."""

    ablated = "subsets"

    def observe(self, inputs: Mapping[str, Any]) -> Observation:
        """Run the model once, with all modalities."""
        found = self.model(dict(inputs), modalities=self.modalities)
        if isinstance(found, Prediction):
            features = {name: feature for name, feature in found.features.items() if name in self.modalities}
            return Observation(_heads(found), features)
        return Observation({MULTIMODAL: _logits(self.model, found)})

    def subset(self, inputs: Mapping[str, Any], present: tuple[str, ...]) -> Tensor:
        """Run the model with some of its modalities; the others are not among the inputs."""
        some = {name: value for name, value in inputs.items() if name in present or name not in self.modalities}
        try:
            found = self.model(some, modalities=present)
        except KeyError as error:
            absent = error.args[0] if error.args else None
            if absent in self.modalities and absent not in some:
                raise InputError(f"KeyError: {absent!r}: inputs hold only the modalities that are there: use inputs.get") from error
            raise
        return found.multimodal if isinstance(found, Prediction) else _logits(self.model, found)


def modalities_of_model(model: Any, given: tuple[str, ...] | None, inputs: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a model's modalities: those given, else those it states, else those of a batch.

    :raises InputError: for fewer than two.
    """
    stated = given or getattr(model, "modalities", None)
    names = tuple(stated or inputs)
    if len(names) < 2 and not stated:
        held = f"{names[0]!r} alone" if names else "no modality"
        raise InputError(f"the data hold {held}: a diagnosis compares modalities; give data with two or more")
    if isinstance(model, UnimodalModel) or len(names) < 2:
        alone = f"{names[0]!r} alone" if names else "no modality"
        raise InputError(f"this model sees {alone}: a diagnosis compares modalities, so that there must be two or more")
    return names


def takes_subsets(model: Any) -> bool:
    """Tell whether a model is called with the modalities that it may use."""
    function = model.forward if isinstance(model, nn.Module) else model
    try:
        return "modalities" in inspect.signature(function).parameters
    except (TypeError, ValueError):  # a callable that shows no signature
        return False


@torch.no_grad()
def subject_of(model: Any, modalities: tuple[str, ...], inputs: Mapping[str, Any]) -> Subject:
    """Return how a model is diagnosed: from its features where these give back its own prediction, else from its inputs.

    :param inputs: one complete batch on the model's device, to try it with.
    :raises InputError: for a model that cannot be called, or returns neither a prediction nor logits.
    """
    if takes_subsets(model):
        return SubsetSubject(model, modalities)
    if type(model) is JointFusion and not model._forward_hooks:
        return FeatureSubject(model, modalities)
    candidates: list[type[Subject]] = []
    if isinstance(model, ProbedModel):
        candidates.append(ProbedSubject)
    elif callable(getattr(model, "fuse", None)):
        candidates.append(FeatureSubject)
    for candidate in candidates:
        subject = candidate(model, modalities)
        if _gives_back(subject, inputs):
            return subject
    return InputSubject(model, modalities)


def _gives_back(subject: Subject, inputs: Mapping[str, Any]) -> bool:
    """Tell whether features alone lead to the model's own logits, so that replacing one says what the model does without it."""
    try:
        seen = subject.observe(inputs)
        again = subject.joint(seen.values, inputs)
    except (KeyError, AttributeError, TypeError, ValueError, RuntimeError):
        return False
    own = seen.logits[MULTIMODAL]
    return again.shape == own.shape and bool(torch.isclose(again, own, rtol=1e-3, atol=1e-4, equal_nan=True).all())


def _heads(prediction: Any) -> dict[str, Tensor]:
    if not isinstance(prediction, Prediction):
        raise TypeError(f"the model returned a {type(prediction).__name__}")
    return {MULTIMODAL: prediction.multimodal, **prediction.unimodal}


def _logits(model: Any, found: Any) -> Tensor:
    logits = logits_of(found)
    if not isinstance(logits, Tensor) or logits.dim() < 2:
        shape = f"shape {list(logits.shape)}" if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
        name = type(model).__name__ if isinstance(model, nn.Module) else getattr(model, "__name__", repr(model))
        raise InputError(f"{name} returned {shape}: a Prediction, or logits [batch, outputs], is needed")
    return logits


def called(model: Any, error: Exception) -> InputError:
    """Return in one line what a model said when it was called."""
    name = type(model).__name__ if isinstance(model, nn.Module) else getattr(model, "__name__", repr(model))
    return InputError(f"{name} cannot be called with the data: {type(error).__name__}: {first_line(error)}")
