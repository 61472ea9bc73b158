"""An open file: arrays to read, a writer, and what keeps a file healthy."""

from __future__ import annotations

from chunkstore.store.array import Array
from chunkstore.store.compacting import compact
from chunkstore.store.creating import append, create
from chunkstore.store.merging import merge
from chunkstore.store.repairing import repair
from chunkstore.store.saving import load, save
from chunkstore.store.spec import ArraySpec
from chunkstore.store.store import Store, open_store
from chunkstore.store.verifying import verify
from chunkstore.store.writer import Writer

__all__ = [
    "Array",
    "ArraySpec",
    "Store",
    "Writer",
    "append",
    "compact",
    "create",
    "load",
    "merge",
    "open_store",
    "repair",
    "save",
    "verify",
]
