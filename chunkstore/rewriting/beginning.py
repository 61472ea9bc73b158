"""Was work killed before its unfinished file could say what it is?

Until the first checkpoint such a file has no directory. Its first entry holds the attributes all
the same, and one that has not even that holds nothing.
"""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chunkstore.container.scan import walk
from chunkstore.container.writer import ContainerWriter
from chunkstore.errors import ChunkStoreError
from chunkstore.importing.position import PROVENANCE
from chunkstore.store.open_file import OpenFile
from chunkstore.store.store import PARTIAL_SUFFIX
from chunkstore.system import ReadFile

if TYPE_CHECKING:
    from collections.abc import Mapping


def drop_begun(out: str, provenance: Mapping[str, Any]) -> None:
    """Remove an unfinished file without a checkpoint, if work of just this began it.

    Parameters
    ----------
    out
        The file that was to be.
    provenance
        What it follows from, JSON values.

    Raises
    ------
    LockedError
        Another writer is at it.
    """
    partial = out + PARTIAL_SUFFIX
    place = Path(partial)
    if not place.is_file() or not place.stat().st_size or _has_checkpoint(partial):
        return
    about = _first_provenance(partial)
    if about is None or about == json.loads(json.dumps(dict(provenance))):
        ContainerWriter(partial, create=False).discard()


def _has_checkpoint(partial: str) -> bool:
    try:
        OpenFile(partial).close()
    except ChunkStoreError:
        return False
    return True


def _first_provenance(partial: str) -> Any:
    """Return what the first entry says; None where it is cut off, ``{}`` where it is another."""
    with closing(ReadFile(partial)) as file:
        piece = next(walk(file, 0, file.size()), None)
        if piece is None or piece.kind == "cut":
            return None
        header = piece.header
        if header is None or header.name != b"zarr.json":
            return {}
        raw = file.read(header.encoded_nbytes, piece.start + header.data_start)
    try:
        about = json.loads(raw)["attributes"][PROVENANCE]
        del about["position"]
    except (ValueError, KeyError, TypeError):
        return {}
    return about
