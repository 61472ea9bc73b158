"""How far did an import come, and may it be continued?

The attribute ``import`` of the new file says where its samples come from, and at each checkpoint
how many samples of the source were done, what was skipped and the digest of each array. An import
that was killed goes on behind its last checkpoint if everything it follows from is the same.
"""

from __future__ import annotations

import errno
import json
import os
import warnings
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chunkstore.errors import (
    ChunkStoreWarning,
    ExistingFileError,
    FormatError,
    IncompleteError,
)
from chunkstore.importing.digest import add_samples
from chunkstore.importing.source import Skipped
from chunkstore.store.creating import append, create
from chunkstore.store.store import PARTIAL_SUFFIX, open_store

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chunkstore.importing.source import Block
    from chunkstore.store.writer import Writer

# The attribute of a file that says what was imported.
PROVENANCE = "import"
_POSITION = "position"


@dataclass
class Position:
    """What is done of an import.

    Attributes
    ----------
    num_done
        Samples of the source that were read or skipped.
    skipped
        Those that were skipped.
    digests
        Of each array so far, see `chunkstore.importing.digest`.
    notes, counts
        What was found in the samples so far, see `chunkstore.importing.source.Block`.
    """

    num_done: int = 0
    skipped: list[Skipped] = field(default_factory=list)
    digests: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, block: Block, *, stop: int) -> None:
        """Count a block as done.

        Parameters
        ----------
        block
            The next one.
        stop
            Samples of the source that are done with it.
        """
        self.num_done = stop
        self.skipped += block.skipped
        self.notes += block.notes
        for what, count in block.counts.items():
            self.counts[what] = self.counts.get(what, 0) + count
        for name, samples in block.arrays.items():
            self.digests[name] = add_samples(self.digests.get(name, 0), samples)

    def to_json(self) -> dict[str, Any]:
        """Return the position as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Position:
        """Return what `to_json` returned."""
        skipped = [Skipped(**entry) for entry in value["skipped"]]
        return cls(
            value["num_done"],
            skipped,
            dict(value["digests"]),
            list(value["notes"]),
            dict(value["counts"]),
        )


def described(provenance: Mapping[str, Any], position: Position) -> dict[str, Any]:
    """Return the attribute of an import at a position, as it comes back from JSON."""
    value: dict[str, Any] = json.loads(json.dumps({**provenance, _POSITION: position.to_json()}))
    return value


def open_import(
    out: str | os.PathLike[str],
    provenance: Mapping[str, Any],
    *,
    attributes: Mapping[str, Any],
    overwrite: bool,
    resume: bool,
    **storage: Any,
) -> tuple[Writer, Position]:
    """Return the writer of a new file, or of an unfinished one of the same import.

    Parameters
    ----------
    out
        The file.
    provenance
        What the samples follow from, JSON values.
    attributes
        Of the new file, besides.
    overwrite
        Whether a finished file, or an unfinished one of another import, may be replaced.
    resume
        False begins anew.
    storage
        See `chunkstore.create`.

    Raises
    ------
    ExistingFileError
        The file exists, or an unfinished one of another import, and ``overwrite`` is False.
    """
    if PROVENANCE in attributes:
        raise ValueError(f"the attribute {PROVENANCE!r} says what was imported; choose another")
    start = Position()
    wanted = described(provenance, start)
    partial = os.fspath(out) + PARTIAL_SUFFIX
    if resume and (overwrite or not Path(out).exists()) and Path(partial).exists():
        found = _read_provenance(partial)
        position = found.pop(_POSITION, None)
        fields = [name for name in wanted if name != _POSITION and found.get(name) != wanted[name]]
        if position is not None and not fields and position["num_done"]:
            with warnings.catch_warnings():
                # What a killed import had begun to write behind its checkpoint is read again.
                warnings.simplefilter("ignore", ChunkStoreWarning)
                writer = append(out, resume=True, overwrite=overwrite)
            return writer, Position.from_json(position)
        if position is not None and fields and not overwrite:
            raise ExistingFileError(
                f"{partial} is an unfinished import with another {', '.join(fields)}; "
                "overwrite=True (--overwrite) begins anew",
                os.fspath(out),
                errno=errno.EEXIST,
            )
        # Killed before its first checkpoint, an import leaves next to nothing.
        overwrite = overwrite or position is not None or not Path(partial).stat().st_size
    writer = create(
        out, attributes={**attributes, PROVENANCE: wanted}, overwrite=overwrite, **storage
    )
    return writer, start


def is_finished(out: str | os.PathLike[str], provenance: Mapping[str, Any]) -> bool:
    """Return whether a file is there and came from an import of just this.

    Parameters
    ----------
    out
        The file.
    provenance
        As in `open_import`.
    """
    if not Path(out).exists():
        return False
    found = _read_provenance(out)
    found.pop(_POSITION, None)
    wanted = described(provenance, Position())
    del wanted[_POSITION]
    return found == wanted


def _read_provenance(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what a file, finished or not, says of its import at its last checkpoint."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ChunkStoreWarning)
            with open_store(path) as store:
                found = store.attributes.get(PROVENANCE)
    except (IncompleteError, FormatError):
        return {}
    return dict(found) if isinstance(found, dict) else {}
