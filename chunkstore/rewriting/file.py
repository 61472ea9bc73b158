"""What does a file that was written anew say of where it comes from, and what is told of it?"""

from __future__ import annotations

import os
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chunkstore.rewriting.report import RewriteReport
from chunkstore.rewriting.storage_notes import storage_notes
from chunkstore.rewriting.streams import SCRATCH_SUFFIX
from chunkstore.store.store import PARTIAL_SUFFIX, open_store, path_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chunkstore.rewriting.contents import Contents
    from chunkstore.rewriting.options import RewriteOptions

_SHUFFLE, _UNSHUFFLE, _RECOMPRESS = "shuffle", "unshuffle", "recompress"


def check_out(source: str | os.PathLike[str], out: str | os.PathLike[str]) -> None:
    """Raise ValueError where a file would be replaced by what is made of it, or of its work."""
    read, written = Path(path_of(source)), path_of(out)
    for suffix, what in (
        ("", "the file that is read"),
        (PARTIAL_SUFFIX, "the file that is read, and the unfinished new one has that name"),
        (SCRATCH_SUFFIX, "the file that is read, and the piles of the new one have that name"),
    ):
        place = Path(written + suffix)
        if read.exists() and place.exists() and place.samefile(read):
            raise ValueError(
                f"{place} is {what}; give the new file another name, and rename it when it is "
                "complete"
            )


def provenance_of(
    contents: Contents,
    options: RewriteOptions,
    *,
    kind: str,
    order: Mapping[str, Any],
    **more: Any,
) -> dict[str, Any]:
    """Return what a new file follows from, JSON values for its attributes.

    Parameters
    ----------
    contents
        Of the source; what it says of itself is kept under ``"before"``.
    options
        How the file is stored.
    kind
        Of work.
    order
        What the order of the samples follows from.
    more
        What else the file follows from.
    """
    about: dict[str, Any] = {
        "kind": kind,
        "source": contents.store.path,
        "order": dict(order),
        **more,
        "storage": options.storage(),
        "fingerprint": contents.store.fingerprint,
        "tool": f"chunkstore {version('chunkstore')}",
    }
    if contents.before is not None:
        about["before"] = contents.before
    return about


def index_of(about: Any) -> str | None:
    """Return the array that says which place each sample had before a shuffle.

    Parameters
    ----------
    about
        What a file says of where its samples come from, or None.
    """
    wanted: str | None = None
    undone: set[str | None] = set()
    while isinstance(about, dict) and about.get("kind") in (_RECOMPRESS, _SHUFFLE, _UNSHUFFLE):
        order = about.get("order")
        name = order.get("index") if isinstance(order, dict) else None
        name = name if isinstance(name, str) else None
        if about["kind"] == _UNSHUFFLE and wanted is None:
            # With the shuffle that wrote this index, those behind it are undone.
            wanted = name
        elif about["kind"] == _SHUFFLE and wanted is not None:
            if name == wanted:
                undone.add(name)
                wanted = None
        elif about["kind"] == _SHUFFLE and name not in undone:
            return name
        about = about.get("before")
    return None


def report_of(
    contents: Contents,
    out: str | os.PathLike[str],
    method: str,
    *,
    options: RewriteOptions,
    started: float,
    is_verified: bool,
    scratch_nbytes: int = 0,
) -> RewriteReport:
    """Return the report of a file that is complete."""
    with open_store(out) as store:
        return RewriteReport(
            os.fspath(out),
            contents.store.path,
            method,
            store.num_samples,
            store.nbytes,
            contents.store.file_nbytes,
            store.file_nbytes,
            scratch_nbytes,
            time.perf_counter() - started,
            is_verified,
            (*contents.notes, *storage_notes(contents, options)),
        )
