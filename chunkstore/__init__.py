"""chunkstore: arrays larger than memory in one compressed, checked file, loaded shuffled.

See ``README.md`` for the first steps and ``docs/`` for the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chunkstore.errors import (
    ChunkStoreError,
    ChunkStoreWarning,
    CorruptionError,
    FormatError,
    IncompleteError,
    LockedError,
    SystemCallError,
    UnsupportedError,
)
from chunkstore.settings import defaults
from chunkstore.store import (
    Array,
    ArraySpec,
    Store,
    Writer,
    append,
    compact,
    create,
    load,
    repair,
    save,
    verify,
)
from chunkstore.store import open_store as open

if TYPE_CHECKING:
    from chunkstore.pipeline.loader import Loader
    from chunkstore.predicting.run import predict

__version__ = "0.1.0"

__all__ = [
    "Array",
    "ArraySpec",
    "ChunkStoreError",
    "ChunkStoreWarning",
    "CorruptionError",
    "FormatError",
    "IncompleteError",
    "Loader",
    "LockedError",
    "Store",
    "SystemCallError",
    "UnsupportedError",
    "Writer",
    "append",
    "compact",
    "create",
    "defaults",
    "load",
    "open",
    "predict",
    "repair",
    "save",
    "verify",
]

# Upper layers are imported when they are first asked for: a program that only writes needs none.
_LAZY = {"Loader": "chunkstore.pipeline.loader", "predict": "chunkstore.predicting.run"}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        import importlib

        value = getattr(importlib.import_module(_LAZY[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'chunkstore' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])
