"""A model with a head on every modality, whose features hooks catch: what :func:`equimodal.nn.probe` makes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from equimodal._names import named_parts, the_model
from equimodal.errors import InputError, first_line
from equimodal.nn._checks import known_modalities, modality_names, positive_integer
from equimodal.nn._encoding import check_masks, read_feature_size
from equimodal.nn._heads import classified, make_heads
from equimodal.nn._hooks import Caught, Feature, Hook, logits_of, pooled, returning
from equimodal.nn._predicting import from_what_is_there
from equimodal.nn._submodules import part_names, submodule_path
from equimodal.nn.prediction import Prediction, Transform

if TYPE_CHECKING:
    from torch.utils.hooks import RemovableHandle

__all__ = ["Call", "ProbedModel"]

Call = Literal["keywords"] | Callable[[nn.Module, Any], Any] | None


class ProbedModel(nn.Module):
    """A model with a head on every modality, made by :func:`equimodal.nn.probe`, where the arguments are explained.

    The given model is the attribute ``model``, the heads are in ``heads``: ``probed.model.state_dict()`` has the names of the given model.
    Copies, pickled copies, ``torch.compile`` and ``DistributedDataParallel`` of this module work as they do for others.
    """

    def __init__(
        self,
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
    ) -> None:
        super().__init__()
        if not isinstance(model, nn.Module):
            raise InputError(f"the model is {model!r}: give a torch.nn.Module")
        if "PeftModel" not in (kind.__name__ for kind in type(model).__mro__) and the_model(model) is not model:
            raise InputError(f"the model is wrapped in {type(model).__name__}: call probe on the model itself, and wrap what it returns")
        if call not in (None, "keywords") and not callable(call):
            raise InputError(f"call = {call!r}: 'keywords', a function of the model and its inputs, or None is needed")
        self.modalities = modality_names(modalities)
        self.num_outputs = positive_integer(num_outputs, "num_outputs")
        for given, what in ((heads, "heads"), (features, "features"), (feature_sizes, "feature_sizes"), (encoders, "encoders")):
            known_modalities(given or {}, self.modalities, what)
        self.detach = detach
        self.call, self.output = call, output
        self.feature_functions = dict(features or {})
        self.model = model
        self.submodules = {name: submodule_path(model, part, name) for name, part in modalities.items()}
        self._check_paths()
        self._encoders = {name: part_names(model, (encoders or {}).get(name, ()), name) for name in self.modalities}
        self._caught, self._released = Caught(), False
        self._handles = {name: self._watch(name) for name in self.modalities}
        self._free = tuple(name for name in self.feature_functions if name in (heads or {}))  # what passes between them is the user's own
        self.feature_sizes = self._sizes(dict(feature_sizes or {}), example)
        watched = {name: self._submodule(name) for name in self.modalities}
        sizes = {name: self.feature_sizes.get(name, 0) for name in self.modalities}
        self.heads = nn.ModuleDict(make_heads(sizes, self.num_outputs, heads or {}, like=watched))

    def _check_paths(self) -> None:
        seen: dict[nn.Module, str] = {}
        for name in self.modalities:
            other = seen.setdefault(self._submodule(name), name)
            if other != name:
                raise InputError(f"{other!r} and {name!r} are given the same submodule {self.submodules[name]!r}: each needs its own")

    def _submodule(self, modality: str) -> nn.Module:
        return self.model.get_submodule(self.submodules[modality])

    def _watch(self, modality: str) -> RemovableHandle:
        return self._submodule(modality).register_forward_hook(Hook(self._caught, modality), with_kwargs=True)

    def _follow(self) -> None:
        """Watch what stands in a submodule's place now: adapters of PEFT that come after :func:`equimodal.nn.probe` wrap it."""
        for name, path in self.submodules.items():
            try:
                hooks = self._submodule(name)._forward_hooks
            except AttributeError:
                raise InputError(f"the submodule {path!r} of {name!r} is gone: call probe again on the changed model") from None
            if not any(isinstance(hook, Hook) and hook.caught is self._caught for hook in hooks.values()):
                self._handles[name].remove()
                self._handles[name] = self._watch(name)

    def _sizes(self, given: dict[str, int], example: Any) -> dict[str, int]:
        if example is not None:
            given = {**self._tried(example), **given}
        sizes = {}
        for name in self.modalities:
            size = given.get(name)
            if size is None and name in self._free:
                continue
            if size is None and name not in self.feature_functions:
                size = read_feature_size(self._submodule(name))
            if size is None:
                raise InputError(
                    f"the submodule {self.submodules[name]!r} of {name!r} does not state its feature size: give "
                    f"feature_sizes={{{name!r}: N}}, or example=inputs to find it with"
                )
            sizes[name] = positive_integer(size, f"the feature size of {name!r}")
        return sizes

    @torch.no_grad()
    def _tried(self, example: Any) -> dict[str, int]:
        modes = [(module, module.training) for module in self.model.modules()]
        self.model.eval()
        self._caught.start()
        try:
            self._run(example if isinstance(example, tuple) else (example,), {})
        finally:
            outputs, masks = self._caught.stop()
            for module, training in modes:
                module.training = training
        missing = [name for name in self.modalities if name not in outputs]
        if missing:
            raise InputError(f"the submodule {self.submodules[missing[0]]!r} of {missing[0]!r} did not run on the example: give another")
        found = {name: self._feature(name, outputs[name], masks[name]) for name in self.modalities}
        return {name: feature.shape[1] for name, feature in found.items() if name not in self._free}

    def _run(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        if callable(self.call):
            return self.call(self.model, *args, **kwargs)
        if self.call == "keywords" and len(args) == 1 and isinstance(args[0], Mapping):
            return self.model(**args[0], **kwargs)
        return self.model(*args, **kwargs)

    def _feature(self, modality: str, output: Any, mask: Any) -> Tensor:
        function = self.feature_functions.get(modality)
        feature = pooled(output, mask, modality) if function is None else function(output)
        if not isinstance(feature, Tensor) or (feature.dim() != 2 and (modality not in self._free or feature.dim() == 0)):
            found = f"shape {list(feature.shape)}" if isinstance(feature, Tensor) else f"a {type(feature).__name__}"
            raise InputError(f"the feature of {modality!r} is {found}: features={{{modality!r}: function}} must return [batch, features]")
        return feature

    def forward(
        self, *args: Any, present: Mapping[str, Tensor] | None = None, transform: Transform | None = None, **kwargs: Any
    ) -> Prediction:
        """Run the model once, and the heads on the features of the modalities whose submodule ran.

        :param args: the model's own arguments; see ``call`` of :func:`equimodal.nn.probe`.
        :param present: passed on to a model whose ``forward`` takes it.
        :param transform: given the features, says which ones the fusion sees and which ones the heads see. A method that changes what the
            fusion sees costs a second pass, in which the submodules return the changed features in place of running.
        :param kwargs: the model's own keyword arguments.
        :returns: logits, features ``[batch, features]`` and masks. A modality whose submodule did not run is absent, and has no entry.
        :raises InputError: for an output, a feature or a mask that cannot be used.
        """
        if self._released:
            raise InputError("the hooks of this model were removed by release(): call probe again")
        if present:
            self._check_present(present)
            kwargs["present"] = present
        self._follow()
        self._caught.start()
        try:
            raw = self._run(args, kwargs)
        finally:
            outputs, attention = self._caught.stop()
        if not outputs:
            raise InputError(f"none of {', '.join(map(repr, self.submodules.values()))} ran in the forward pass: nothing to put a head on")
        multimodal = self._logits(raw)
        batch, masks = len(multimodal), present or {}
        features = {
            name: self._whole(name, self._feature(name, outputs[name], attention[name]), batch, masks.get(name))
            for name in self.modalities
            if name in outputs
        }
        check_masks(masks, features, batch)
        seen = features
        if transform is not None:
            routes = transform(dict(features))
            seen = dict(routes.heads)
            changed = {name: new for name, new in routes.fusion.items() if new is not features.get(name)}
            if changed:
                multimodal = self._logits(self._run_again(args, kwargs, changed, outputs, masks))
        if self.detach:
            seen = {name: feature.detach() for name, feature in seen.items()}
        unimodal = {name: classified(self.heads[name], seen[name], self.num_outputs, name) for name in self.modalities if name in seen}
        return Prediction(multimodal, unimodal, features, {name: mask for name, mask in masks.items() if name in features})

    def _check_present(self, present: Mapping[str, Tensor]) -> None:
        known_modalities(present, self.modalities, "the presence masks")
        if callable(self.call):
            parameters = inspect.signature(self.call).parameters
            what = "call"
        else:
            parameters = inspect.signature(self.model.forward).parameters
            what = f"{type(self.model).__name__}.forward"
        if "present" not in parameters and not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
            raise InputError(f"some samples lack {', '.join(present)}: {what} needs an argument present for the masks")

    def _logits(self, raw: Any) -> Tensor:
        logits = logits_of(raw) if self.output is None else self.output(raw)
        if not isinstance(logits, Tensor) or logits.dim() < 2 or logits.shape[1] != self.num_outputs:
            found = f"shape {list(logits.shape)}" if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
            raise InputError(
                f"{type(self.model).__name__} returned {found} as its logits: they must be [batch, {self.num_outputs}]; give "
                "output=function that makes them of what it returns"
            )
        return logits

    def _whole(self, modality: str, feature: Tensor, batch: int, mask: Tensor | None) -> Tensor:
        """Return the feature with a row for every sample, where the model ran the submodule on those alone that have the modality."""
        if modality not in self._free and feature.shape[1] != self.feature_sizes[modality]:
            raise InputError(
                f"the feature of {modality!r} has {feature.shape[1]} values, and {self.feature_sizes[modality]} were stated: give "
                f"feature_sizes={{{modality!r}: {feature.shape[1]}}}"
            )
        if len(feature) == batch:
            return feature
        rows = None if mask is None else mask.nonzero().squeeze(1)
        if rows is None or len(rows) != len(feature):
            raise InputError(f"the feature of {modality!r} has {len(feature)} rows and the batch {batch}: one per sample is needed")
        return feature.new_zeros(batch, *feature.shape[1:]).index_copy(0, rows.to(feature.device), feature)

    def _run_again(
        self,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        changed: Mapping[str, Tensor],
        outputs: Mapping[str, Any],
        masks: Mapping[str, Tensor],
    ) -> Any:
        """Run the model with the submodules returning what a method made of their features."""
        replaced: dict[str, Any] = dict(outputs)
        for name, new in changed.items():
            old = outputs.get(name)
            if name in self.feature_functions or not isinstance(old, Tensor) or old.dim() != 2:
                found = f"shape {list(old.shape)}" if isinstance(old, Tensor) else f"a {type(old).__name__}"
                raise InputError(
                    f"the method changes what the fusion sees, and the submodule of {name!r} returns {found}: only [batch, features] can "
                    "be changed; name a submodule that returns it, or choose another method"
                )
            replaced[name] = new if len(old) == len(new) else new[masks[name].to(new.device)]
        with returning({self._submodule(name): output for name, output in replaced.items()}):
            return self._run(args, kwargs)

    def predict(self, inputs: Any, present: Mapping[str, Tensor] | None = None) -> Tensor:
        """Return one set of logits ``[batch, outputs]`` per sample, from whatever the sample has.

        A sample with all modalities gets the model's own logits, any other the mean of the logits of the heads of its modalities. What
        the model does without a modality is the model's own affair: one that cannot run says so.

        :param inputs: the model's one argument.
        :param present: as for :meth:`forward`.
        :raises InputError: for a sample without any modality, or a model that cannot run without one.
        """
        missing = [name for name in self.modalities if name not in inputs] if isinstance(inputs, Mapping) else []
        try:
            prediction: Prediction = self(inputs, **({"present": present} if present else {}))
        except (KeyError, TypeError, AttributeError) as error:
            if not missing or not any(name in inputs for name in self.modalities):
                raise
            raise InputError(
                f"{type(self.model).__name__} cannot run without {', '.join(missing)} ({type(error).__name__}: {first_line(error)}):"
                " give all modalities"
            ) from error
        return from_what_is_there(prediction, self.modalities)

    def modality_modules(self) -> dict[str, dict[str, Any]]:
        """Return the modules that belong to each modality, by role; what is left over belongs to all of them."""
        found: dict[str, dict[str, Any]] = {}
        parts = dict(named_parts(self.model)) if any(self._encoders.values()) else {}
        for name in self.modalities:
            more = [parts[path] for path in self._encoders[name]]
            found[name] = {"encoder": [self._submodule(name), *more] if more else self._submodule(name), "head": self.heads[name]}
        return found

    def release(self) -> nn.Module:
        """Take the hooks off and return the model that was given to :func:`probe`, with the weights it has now."""
        for handle in self._handles.values():
            handle.remove()
        self._handles, self._released = {}, True
        return self.model
