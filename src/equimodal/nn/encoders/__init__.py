"""Encoders, one module each, found by name.

An encoder is any ``torch.nn.Module`` that is called with one modality's input and returns ``[batch, features]``. To join by name in a
configuration it carries a class attribute ``name``, and its constructor's arguments are what JSON can hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from equimodal._configurable import Registry, construct
from equimodal.errors import InputError
from equimodal.nn.encoders.mlp import MLP
from equimodal.nn.encoders.resnet import ResNet
from equimodal.nn.encoders.sequence import SequenceEncoder, Sequences
from equimodal.nn.encoders.text import TextEncoder
from equimodal.nn.encoders.transformers import TransformersBackbone

__all__ = ["ENCODERS", "MLP", "ResNet", "SequenceEncoder", "Sequences", "TextEncoder", "TransformersBackbone", "make_encoder"]

ENCODERS: Registry[nn.Module] = Registry(__name__, nn.Module, "encoder")
"""The encoders that have a name: those of this package, and those of others by an entry point in the group ``equimodal.nn.encoders``."""


def make_encoder(spec: Mapping[str, Any]) -> nn.Module:
    """Build an encoder from its name and options, as a configuration file holds them.

    >>> make_encoder({"name": "resnet", "depth": 6, "in_channels": 1}).out_features
    128
    >>> make_encoder({"name": "resnet", "dept": 6})
    Traceback (most recent call last):
        ...
    equimodal.errors.InputError: encoder 'resnet' has no option 'dept': did you mean 'depth'?

    :param spec: ``name``, one of ``ENCODERS.names()`` or ``"module:Class"``, and the options of that encoder's constructor.
    :raises InputError: for an unknown name, an unknown or missing option, and what the encoder itself refuses.
    """
    if not isinstance(spec, Mapping):
        raise InputError(f"an encoder is described by a mapping such as {{'name': 'mlp', ...}}, not by {spec!r}")
    options = dict(spec)
    name = options.pop("name", None)
    if not isinstance(name, str):
        raise InputError(f"encoder {dict(spec)!r} has no name: give one of {', '.join(ENCODERS.names())} under 'name'")
    return construct(ENCODERS.get(name), options, f"encoder {name!r}")
