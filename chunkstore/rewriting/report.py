"""What is told of a file that was written anew?"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class RewriteReport:
    """What was written.

    Attributes
    ----------
    path, source
        The new file, and the one that was read.
    method
        ``"recompress"``, ``"copy"`` where nothing was to change, ``"exact"`` or ``"quick"`` of a
        shuffle, ``"undo"``.
    num_samples
        In the new file.
    nbytes
        Decoded bytes of its arrays.
    source_nbytes, file_nbytes
        Sizes of the two files.
    scratch_nbytes
        Size of the file of piles; 0 where all samples fitted in memory, or were there already.
    seconds
        That it took; work that was continued counts from there.
    is_verified
        Whether the new file was read and compared with what was read from the source.
    notes
        Sentences about what could not be kept as it was.
    """

    path: str
    source: str
    method: str
    num_samples: int
    nbytes: int
    source_nbytes: int
    file_nbytes: int
    scratch_nbytes: int
    seconds: float
    is_verified: bool
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return asdict(self)
