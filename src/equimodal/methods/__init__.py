"""Methods for balanced multimodal training: one public module each, found by name.

>>> from equimodal.methods import methods
>>> methods.get("miles")(tau=0.1).options()["tau"]
0.1
"""

from __future__ import annotations

from equimodal._configurable import Registry
from equimodal.methods.base import Method

__all__ = ["Method", "methods"]

methods: Registry[Method] = Registry("equimodal.methods", Method, "method")
