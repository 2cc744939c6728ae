"""Whose losses reach the encoders: a base for methods that leave the choice open."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from equimodal.errors import InputError
from equimodal.groups import ParameterRegistry
from equimodal.methods._checks import need
from equimodal.methods.base import Criterion, Method
from equimodal.nn.prediction import Routes
from equimodal.scores import MULTIMODAL
from equimodal.tasks import single_label_loss

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import Tensor, nn

    from equimodal.data.batch import Batch

__all__ = ["Heads", "HeadsMethod"]

Heads = Literal["trained", "probes"]
"""``"trained"``: the losses of all heads are trained (Eq. 3). ``"probes"``: encoders and fusion learn from the multimodal loss alone, and
the unimodal heads read the features without touching them."""


class HeadsMethod(Method):
    """A method whose unimodal heads are trained (Eq. 3) or only read the features (the multimodal loss alone)."""

    heads: Heads = "trained"
    _fused_heads = False

    def _check_heads(self) -> None:
        need(self.heads in ("trained", "probes"), "heads", self.heads, "'trained' or 'probes'")

    def claims(self) -> dict[str, object]:
        """Return what this method decides; the loss by the choice of its heads, so that two with the same choice go together."""
        claimed = super().claims()
        return claimed if self._overrides("the loss", HeadsMethod) else {**claimed, "the loss": f"heads = {self.heads!r}"}

    def transforms(self) -> bool:
        """Tell whether there are probes; trained heads see the features as they are."""
        return self.heads == "probes" and not self._fused_heads

    def build(self, model: nn.Module, criterion: Criterion = single_label_loss) -> nn.Module:
        """Prepare for a model; see :meth:`equimodal.methods.base.Method.build`."""
        # Under late fusion the heads are the fusion: the multimodal loss trains them, and there are no probes.
        self._fused_heads = bool(getattr(getattr(model, "fusion", None), "of_heads", False))
        return super().build(model, criterion)

    def transform(self, features: dict[str, Tensor], batch: Batch) -> Routes:
        """Let probes see detached features."""
        if not self.transforms():
            return Routes(features, features)
        return Routes(features, {name: feature.detach() for name, feature in features.items()})

    def combine(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Return the sum of all heads' losses; the multimodal loss alone where probes would be parts of the fusion."""
        if self.heads == "probes" and self._fused_heads:
            return losses[MULTIMODAL]
        return super().combine(losses)

    def clipped(self, model: nn.Module) -> Iterable[nn.Parameter]:
        """Leave probes out."""
        if not self.transforms():
            return super().clipped(model)
        registry = ParameterRegistry(model)
        for modality in registry.modalities:
            if not registry.of(modality, "head"):
                raise InputError(
                    f"modality_modules() of {type(model).__name__} does not say which module is the head of {modality!r}: give "
                    "{'encoder': ..., 'head': ...}, because clipping leaves probes out"
                )
        probes = {parameter for modality in registry.modalities for parameter in registry.of(modality, "head")}
        return [parameter for parameter in model.parameters() if parameter not in probes]
