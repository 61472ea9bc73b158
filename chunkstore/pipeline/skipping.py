"""What was left out because a chunk is damaged?

With ``on_corrupt="skip"`` the samples of a unit of which any chunk fails its checks are left out,
in all arrays together. The threads that meet the damage note it here; the consumer is warned in
its own thread.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from chunkstore.errors import CorruptionError

OnCorrupt = Literal["raise", "skip"]


@dataclass(frozen=True)
class SkippedSamples:
    """Samples that were left out, those of one unit.

    Attributes
    ----------
    start, stop
        Their numbers in the data, half-open.
    message
        Which chunk of which file is damaged, and how.
    """

    start: int
    stop: int
    message: str

    def __str__(self) -> str:
        return f"samples [{self.start}, {self.stop}) are skipped: {self.message}"


class SkipRecord:
    """What a loader has left out since it was made, each unit once.

    Notes
    -----
    Threads: safe.
    """

    def __init__(self) -> None:
        self._found: dict[int, SkippedSamples] = {}
        self._new: deque[SkippedSamples] = deque()
        self._lock = threading.Lock()

    @property
    def skipped(self) -> tuple[SkippedSamples, ...]:
        """All of it, by sample number."""
        with self._lock:
            return tuple(self._found[start] for start in sorted(self._found))

    def add(self, error: CorruptionError, start: int, stop: int) -> None:
        """Note a unit that could not be read.

        Parameters
        ----------
        error
            What is wrong; only its text is kept.
        start, stop
            Its samples.
        """
        with self._lock:
            if start not in self._found:
                self._found[start] = SkippedSamples(start, stop, str(error))
                self._new.append(self._found[start])

    def renew_lock(self) -> None:
        """Make a new lock, in a forked child: a thread of the parent may hold the old one."""
        self._lock = threading.Lock()

    def take_new(self) -> SkippedSamples | None:
        """Return what was found and not returned yet, one at a time; None if there is no more."""
        try:
            return self._new.popleft()
        except IndexError:
            return None
