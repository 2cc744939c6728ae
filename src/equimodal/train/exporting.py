"""One modality's encoder and head, or a whole model, in a file that other programs read: a plain state dict with a few words about it.

>>> import tempfile, torch
>>> from equimodal.nn import MLP, JointFusion
>>> model = JointFusion({"audio": MLP(20), "image": MLP(64)}, num_outputs=10).eval()
>>> inputs = {"audio": torch.ones(4, 20)}
>>> with tempfile.TemporaryDirectory() as folder:
...     file = export_modality(model, "audio", f"{folder}/audio.pt")
...     names = list(torch.load(file, weights_only=True))
...     audio = load_modality(file)
>>> names[0], names[-1]
('encoder.layers.1.weight', 'head.bias')
>>> torch.equal(audio.predict(inputs), model.predict(inputs))
True
"""

from __future__ import annotations

import inspect
import io
import json
import re
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from equimodal import __version__
from equimodal._files import write_whole
from equimodal._names import the_model
from equimodal.errors import InputError, first_line, nearest, require
from equimodal.groups import modality_modules
from equimodal.nn._encoding import Projected
from equimodal.nn.encoders import ENCODERS, make_encoder
from equimodal.nn.fusion import FUSIONS
from equimodal.nn.joint import JointFusion
from equimodal.nn.unimodal import UnimodalModel
from equimodal.train.loading import is_recipe, load, plain_name, put_weights, read_config, run_facts
from equimodal.train.record import plain

__all__ = ["EXPORT_FORMAT", "SUFFIXES", "checked_target", "export_modality", "export_model", "load_modality", "load_model"]

EXPORT_FORMAT = 1
SUFFIXES = (".safetensors", ".pt")
"""What an exported file's name may end with."""

_KEY = "equimodal"
"""Where a file keeps what it says of itself: in the header of a safetensors file, or as an attribute of a pickled state dict."""


def export_modality(source: str | Path | nn.Module, modality: str, path: str | Path, *, weights: Literal["best", "last"] = "best") -> Path:
    """Write the weights of one modality's encoder and head, as the state dict of a module with parts ``encoder`` and ``head``.

    The names are ``encoder.…`` and ``head.…``; nothing of this package is needed to read them
    (``safetensors.torch.load_file``, or ``torch.load`` for ``.pt``). Beside them stands what :func:`load_modality` needs to make the
    encoder again: its name and options, where they are known.

    :param source: the folder of a run of ``equimodal train``, or a model: a :class:`equimodal.nn.JointFusion`, or one that names an
        ``encoder`` and a ``head`` in ``modality_modules()``. Of a wrapped one (``torch.compile``, several processes) the model inside.
    :param modality: its name.
    :param path: the file, ending with ``.safetensors`` or ``.pt``; replaced whole or not at all.
    :param weights: of a run: ``"best"`` or ``"last"``.
    :returns: the path.
    :raises InputError: for another ending, an unknown modality, a model that does not name its parts or makes a feature by a
        function (``features`` of :func:`equimodal.probe`), and see
        :func:`equimodal.train.loading.load`.
    :raises MissingDependency: for ``.safetensors`` where that package is not installed.
    """
    path = checked_target(path)
    model, facts = _source(source, weights)
    return _write_modality(path, model, modality, facts)


def export_model(source: str | Path | nn.Module, path: str | Path, *, weights: Literal["best", "last"] = "best") -> Path:
    """Write all weights of a model, under the names that its ``state_dict`` has, in a file that :func:`load_model` reads.

    A model of one modality is written as :func:`export_modality` does.

    :param source: as for :func:`export_modality`; a model may be any module.
    :param path: the file, ending with ``.safetensors`` or ``.pt``; replaced whole or not at all.
    :param weights: of a run: ``"best"`` or ``"last"``.
    :returns: the path.
    :raises InputError: for another ending, and see :func:`equimodal.train.loading.load`.
    :raises MissingDependency: for ``.safetensors`` where that package is not installed.
    """
    path = checked_target(path)
    model, facts = _source(source, weights)
    if isinstance(model, UnimodalModel):
        return _write_modality(path, model, model.modality, facts)
    about: dict[str, Any] = {"model": type(model).__qualname__, "num_outputs": getattr(model, "num_outputs", None)}
    if type(model) is JointFusion and all(type(head) is nn.Linear for head in model.heads.values()):
        encoders = {modality: _spec(encoder) for modality, encoder in model.encoders.items()}
        about |= {"modalities": list(model.modalities), "encoders": encoders, "fusion": _fusion_name(model)}
        about["architecture"] = {modality: _architecture(encoder) for modality, encoder in model.encoders.items()}
    return _write(path, model, {**about, **facts})


def load_modality(path: str | Path, *, encoder: nn.Module | None = None, head: nn.Module | None = None) -> UnimodalModel:
    """Return the model of one modality that :func:`export_modality` wrote, on the CPU and in evaluation mode.

    :param path: the file.
    :param encoder: a module of the encoder's shapes, whose weights are replaced; needed where the file does not say how to make one.
    :param head: likewise; needed where it is not one linear layer.
    :raises InputError: for a file that is missing, damaged, or of something else, and an encoder or a head that is needed or does not fit.
    """
    path = Path(path)
    state, about = _read(path)
    if "modality" not in about:
        raise InputError(f"{path} holds a whole model: load it with load_model, or export one modality")
    if head is None:
        head = _linear_head(state, path)
    made = _made(about.get("encoder"), path, "encoder=my_encoder") if encoder is None else encoder
    if about.get("projected") and encoder is None:
        made = Projected(about["modality"], made, *reversed(state["encoder.projection.weight"].shape))
    sizes = {"feature_size": about.get("feature_size"), "num_outputs": about.get("num_outputs")}
    model = UnimodalModel(about["modality"], made, head, **sizes)
    filled: UnimodalModel = _filled(model, state, path)
    return filled


def load_model(path: str | Path, *, model: nn.Module | None = None) -> Any:
    """Return the model that :func:`export_model` or :func:`export_modality` wrote, on the CPU and in evaluation mode.

    :param path: the file.
    :param model: a module of the model's shapes, whose weights are replaced; needed where the file does not say how to make one.
    :raises InputError: for a file that is missing, damaged, or of something else, and a model that is needed or does not fit.
    """
    path = Path(path)
    state, about = _read(path)
    if model is None and "modality" in about:
        return load_modality(path)
    if model is None:
        if not about.get("fusion"):
            raise InputError(f"{path} does not say how its model {about.get('model')} is made: give one, load_model(path, model=my_model)")
        specs = about["encoders"]
        encoders = {modality: _made(specs[modality], path, "model=my_model") for modality in about["modalities"]}
        with torch.random.fork_rng([]):
            model = JointFusion(encoders, about["num_outputs"], about["fusion"])
    return _filled(model, state, path)


def checked_target(path: str | Path) -> Path:
    """Return the path of a file to write, if its ending is known and what writes it is installed.

    :raises InputError: for another ending.
    :raises MissingDependency: for ``.safetensors`` where that package is not installed.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path} ends with {path.suffix or 'nothing'!r}: weights are written to a file that ends with .safetensors or .pt")
    if path.suffix == ".safetensors":
        require("safetensors.torch", extra="safetensors")
    return path


def _source(source: str | Path | nn.Module, weights: Literal["best", "last"]) -> tuple[Any, dict[str, Any]]:
    """Return a model, and what its run knows of it."""
    if isinstance(source, nn.Module):
        return the_model(source), {}
    if not isinstance(source, (str, Path)):
        raise InputError(f"source = {source!r}: the folder of a run, or a torch module, is needed")
    if not is_recipe(read_config(Path(source))):
        raise InputError(f"{source} is a run of fit from a model object: export from Python what load(run, model=my_model) returns")
    facts = run_facts(source)
    known = {"encoders": facts.encoders, "fusion": facts.fusion, "task": facts.task, "class_names": facts.class_names}
    run = {"dataset": facts.dataset, "method": facts.method, "weights": weights, "epoch": facts.epoch if weights == "best" else None}
    return load(source, weights=weights), {**known, "run": run}


def _write_modality(path: Path, model: nn.Module, modality: str, facts: Mapping[str, Any]) -> Path:
    parts = modality_modules(model)
    if modality not in parts:
        known = nearest(str(modality), parts) if parts else f"{type(model).__name__} names none in modality_modules()"
        raise InputError(f"unknown modality {modality!r}: {known}")
    part = parts[modality]
    encoder, head = (part.get(role) for role in ("encoder", "head")) if isinstance(part, Mapping) else (None, None)
    if not isinstance(encoder, nn.Module) or not isinstance(head, nn.Module):
        raise InputError(
            f"{type(model).__name__} does not say which part of {modality!r} is its encoder and which its head: return"
            " {'encoder': module, 'head': module} for it from modality_modules()"
        )
    if modality in getattr(model, "feature_functions", {}):
        raise InputError(
            f"the feature of {modality!r} is made by a function of yours, which no file of weights can hold: write the whole model"
        )
    others = {key: value for key, value in facts.items() if key not in ("encoders", "fusion")}
    about = {
        "modality": modality,
        "encoder": facts["encoders"][modality] if "encoders" in facts else _spec(encoder),
        "architecture": _architecture(encoder),
        "projected": isinstance(encoder, Projected),
        "feature_size": getattr(model, "feature_sizes", {}).get(modality),
        "num_outputs": getattr(model, "num_outputs", None),
    }
    return _write(path, nn.ModuleDict({"encoder": encoder, "head": head}), {**about, **others})


def _spec(encoder: nn.Module) -> dict[str, Any] | None:
    """Return name and options of an encoder that keeps its constructor's arguments under their names, as those of this package do."""
    encoder = encoder.encoder if isinstance(encoder, Projected) else encoder
    cls = type(encoder)
    name = vars(cls).get("name") if cls.__module__.startswith(f"{ENCODERS.package}.") else f"{cls.__module__}:{cls.__qualname__}"
    options = {option: getattr(encoder, option, _UNKNOWN) for option in inspect.signature(cls).parameters}
    found = isinstance(name, str) and "<locals>" not in name and not cls.__module__.startswith("torch.")
    if not found or not all(map(_is_plain, options.values())):
        return None
    return {"name": name, **plain(options)}


def _architecture(encoder: nn.Module) -> str | None:
    """Return in words what an encoder of this package computes, for those who build it anew: the first line of its description."""
    inner = encoder.encoder if isinstance(encoder, Projected) else encoder
    if not type(inner).__module__.startswith(f"{ENCODERS.package}.") or not type(inner).__doc__:
        return None
    words = re.sub(r":class:`~?(?:\w+\.)*(\w+)`", r"\1", first_line(ValueError(inspect.getdoc(type(inner))))).rstrip(".")
    return f"{words}; then a linear layer" if inner is not encoder else words


def _fusion_name(model: JointFusion) -> str | None:
    """Return the name of a fusion that is as its name makes it: the order of the modalities and other options are no part of a name."""
    fusion = model.fusion
    name = next((name for name, kind in FUSIONS.items() if type(fusion) is kind), None)
    if name is None:
        return None
    with torch.device("meta"):
        default = FUSIONS[name](model.feature_sizes, model.num_outputs)
    options = ("modalities", *inspect.signature(type(fusion)).parameters)
    return name if all(getattr(fusion, option) == getattr(default, option) for option in options) else None


_UNKNOWN = object()


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (bool, int, float, str))


def _made(spec: Any, path: Path, remedy: str) -> nn.Module:
    if not isinstance(spec, Mapping):
        raise InputError(f"{path} does not say how its encoder is made: give one of the same shapes, {remedy}")
    try:
        with torch.random.fork_rng([]):
            return make_encoder(spec)
    except InputError as error:
        raise InputError(f"{path}: {error}; or give one of the same shapes, {remedy}") from None


def _linear_head(state: Mapping[str, Tensor], path: Path) -> nn.Linear:
    names = {name for name in state if name.startswith("head.")}
    if not {"head.weight"} <= names <= {"head.weight", "head.bias"} or state["head.weight"].dim() != 2:
        raise InputError(f"the head in {path} is not one linear layer: give one of the same shapes, head=my_head")
    outputs, size = state["head.weight"].shape
    return nn.Linear(size, outputs, bias="head.bias" in names)


def _filled(model: Any, state: Mapping[str, Tensor], path: Path) -> Any:
    kind = next((value.dtype for value in state.values() if value.is_floating_point()), None)
    model = model.to(kind)
    for name, own in (*model.named_parameters(), *model.named_buffers()):  # parts may be of another type each
        value = state.get(plain_name(name))
        if value is not None and value.is_floating_point() and own.is_floating_point():
            own.data = own.data.to(value.dtype)
    put_weights(model, state, str(path))
    return model.eval()


def _write(path: Path, module: nn.Module, about: Mapping[str, Any]) -> Path:
    """Write a module's state dict; tensors that share memory are written each by itself."""
    state: dict[str, Any] = OrderedDict()
    for name, value in module.state_dict().items():
        if not isinstance(value, Tensor):
            raise InputError(f"the weights hold {name!r}, a {type(value).__name__}: only tensors can be exported")
        state[plain_name(name)] = value.detach().cpu().clone().contiguous()
    said = plain({"format": EXPORT_FORMAT, "version": __version__, **about})
    if path.suffix == ".safetensors":
        safetensors = require("safetensors.torch", extra="safetensors")
        # "pt" is what other programs look for to know whose tensors these are.
        return write_whole(path, safetensors.save(dict(state), metadata={"format": "pt", _KEY: json.dumps(said)}))
    setattr(state, _KEY, said)  # beside the weights and not among them, so that load_state_dict takes the file as it is
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return write_whole(path, buffer.getvalue())


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the weights in a file, and what it says of them."""
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path} ends with {path.suffix or 'nothing'!r}: a file of weights ends with .safetensors or .pt")
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    if path.suffix == ".safetensors":
        require("safetensors.torch", extra="safetensors")
    try:
        state, about = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickled(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    except Exception:  # a foreign file may fail anywhere in its readers
        state, about = {}, None
    if not isinstance(about, dict) or about.get("format") != EXPORT_FORMAT:
        found = f"of format {about['format']!r}" if isinstance(about, dict) and "format" in about else "cut short or not written by export"
        raise InputError(f"{path} is {found}: this version reads what it exports, of format {EXPORT_FORMAT}")
    return state, about


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], Any]:
    safetensors = require("safetensors", extra="safetensors")
    with safetensors.safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, json.loads((file.metadata() or {})[_KEY])  # noqa: SIM118


def _read_pickled(path: Path) -> tuple[dict[str, Tensor], Any]:
    with zipfile.ZipFile(path) as archive:
        if archive.testzip() is not None:  # torch writes check sums and does not look at them
            return {}, None
    state = torch.load(path, map_location="cpu", weights_only=True)
    return state, getattr(state, _KEY, None)
