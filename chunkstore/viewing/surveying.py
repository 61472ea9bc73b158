"""Which values do all arrays of a file hold, as numbers and not as pictures?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chunkstore.progress import progress_bar
from chunkstore.viewing.compression import chunk_compression
from chunkstore.viewing.labelling import class_names, find_labels
from chunkstore.viewing.sampling import LOOK_NBYTES, Remarks, choose_chunks
from chunkstore.viewing.summary import summarise

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chunkstore.store.store import Store
    from chunkstore.viewing.compression import Compression
    from chunkstore.viewing.sampling import Damage
    from chunkstore.viewing.summary import Summary


@dataclass(frozen=True)
class ArraySurvey:
    """What one array holds.

    Attributes
    ----------
    summary
        Its values.
    compression
        Its chunks.
    names
        Of classes, by number.
    """

    summary: Summary
    compression: Compression
    names: Mapping[int, str]

    def to_json(self) -> dict[str, Any]:
        """Return the numbers as JSON values."""
        return {**self.summary.to_json(), "chunk_ratio": self.compression.to_json()}


@dataclass(frozen=True)
class Survey:
    """What the arrays of a file hold.

    Attributes
    ----------
    arrays
        By name.
    damage, notes
        What could not be read, and what was left out.
    """

    arrays: Mapping[str, ArraySurvey]
    damage: tuple[Damage, ...]
    notes: tuple[str, ...]


def survey(
    store: Store, *, is_whole: bool = False, seed: int = 0, progress: bool | None = None
) -> Survey:
    """Return what the arrays of a file hold.

    Parameters
    ----------
    store
        An open one.
    is_whole
        Read every sample, in memory of a few chunks; else 64 MiB of each array, from all over it.
    seed
        Which chunks, where not all are read.
    progress
        Show a bar on stderr; None shows it on a terminal when the work takes over a second.
    """
    remarks = Remarks()
    limit = None if is_whole else LOOK_NBYTES
    total = sum(
        array.nbytes if limit is None else min(array.nbytes, limit) for array in store.values()
    )
    labels = find_labels(store, None)
    found = {}
    with progress_bar(total, what="reading", show=progress) as advance:
        for name, array in store.items():
            names = class_names(store, name, is_label=name == labels)
            choice = choose_chunks(array, seed=seed, nbytes=limit)
            summary = summarise(array, choice, remarks, is_label=bool(names), advance=advance)
            found[name] = ArraySurvey(summary, chunk_compression(array), names)
    return Survey(found, tuple(remarks.damage), tuple(remarks.notes))
