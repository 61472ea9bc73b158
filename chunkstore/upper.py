"""How does an object of a lower layer offer what an upper layer makes of it?

``loader.keras()`` is easier to find than a function of the adapter's module, but the loader must
not know its adapters. Such methods name module and attribute, which are looked up when the
method is called. This is the only place that looks upwards.
"""

from __future__ import annotations

import importlib
from typing import Any


def resolve(module: str, name: str) -> Any:
    """Return an attribute of one of our modules, importing it now.

    Parameters
    ----------
    module
        Full name, such as ``"chunkstore.adapters.keras"``.
    name
        Of the attribute.
    """
    return getattr(importlib.import_module(module), name)
