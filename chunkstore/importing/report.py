"""What does an import tell when it is done?"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from chunkstore.importing.losses import MAX_LISTED, listed
from chunkstore.importing.position import PROVENANCE, Position
from chunkstore.store.store import open_store

if TYPE_CHECKING:
    from chunkstore.importing.losses import Lost
    from chunkstore.importing.source import Skipped


@dataclass(frozen=True)
class ImportReport:
    """What an import did.

    Attributes
    ----------
    path
        The new file.
    num_samples
        That it holds.
    skipped, num_more_skipped
        Samples of the source that it does not hold: the first ones, and how many more there are.
    lost, num_more_lost
        What the file does not hold though the source had it: whole arrays first, then samples, by
        array. How many further entries are not listed.
    notes, counts
        What else was found.
    nbytes, file_nbytes
        Decoded size of its samples, and the file's own size.
    seconds
        That it took; an import that was continued counts from there.
    is_verified
        Whether the file was read and compared.
    """

    path: str
    num_samples: int
    skipped: tuple[Skipped, ...]
    num_more_skipped: int
    lost: tuple[Lost, ...]
    num_more_lost: int
    notes: tuple[str, ...]
    counts: dict[str, int]
    nbytes: int
    file_nbytes: int
    seconds: float
    is_verified: bool

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return asdict(self)


def read_report(out: str | os.PathLike[str], *, seconds: float, is_verified: bool) -> ImportReport:
    """Return the report of an import whose file is complete."""
    with open_store(out) as store:
        position = Position.from_json(store.attributes[PROVENANCE]["position"])
        return ImportReport(
            os.fspath(out),
            store.num_samples,
            tuple(position.skipped),
            position.num_more_skipped,
            tuple(position.lost.entries),
            position.lost.num_more,
            tuple(listed(position.notes, num_more=position.num_more_notes, most=MAX_LISTED)),
            position.counts,
            sum(array.nbytes for array in store.values()),
            store.file_nbytes,
            seconds,
            is_verified,
        )
