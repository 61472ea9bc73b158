"""Which epoch do the worker processes of a DataLoader load, without being told?

A DataLoader starts new workers for every epoch, each with a copy of the dataset as it was made, and
tells the dataset in the parent nothing. All workers of one epoch have one random number in common,
though: so the first of them to look takes the next epoch, in memory that all processes share, and
the others find it there.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import numpy as np
import torch

_MEMORY_WORDS: Final = 66
_ROUNDS: Final = 64
_INDEX_BITS: Final = 24
_WRAP: Final = 2**64


class SharedEpochs:
    """Numbers of the epochs that workers have begun, the same in all processes.

    Pickling it into a worker process shares it; any other copy counts for itself.

    Notes
    -----
    Threads: calls need no lock. Each round is one aligned word, and workers that look at the same
    time write the same word.
    """

    def __init__(self) -> None:
        # Words: the epoch of round 0; whether that is set; then the rounds begun last.
        self._memory = torch.zeros(_MEMORY_WORDS, dtype=torch.int64).share_memory_()
        self._view()

    def _view(self) -> None:
        words = self._memory.numpy().view(np.uint64)
        self._origin, self._is_set, self._rounds = words[:1], words[1:2], words[2:]

    @property
    def num_rounds(self) -> int:
        """Rounds that were begun: the number of the last one, counted from 1."""
        return int(self._rounds.max() >> np.uint64(64 - _INDEX_BITS))

    @property
    def next_epoch(self) -> int | None:
        """The epoch that the next workers will load; None if theirs is the loader's next one."""
        if not self._is_set[0]:
            return None
        return (int(self._origin[0]) + self.num_rounds) % _WRAP

    def set_next(self, epoch: int | None) -> None:
        """Choose the epoch that the next workers load; None for the loader's next one."""
        if epoch is None:
            self._is_set[0] = 0
        else:
            self._place(epoch, self.num_rounds)

    def begin(self, key: str, *, first_epoch: int, epoch: int | None = None) -> tuple[int, bool]:
        """Return the epoch of a worker that begins to iterate, and whether it begins the round.

        Parameters
        ----------
        key
            What all workers of this round have in common, and no other round has.
        first_epoch
            The epoch of the first round, if none was chosen.
        epoch
            Makes this the epoch of the round: where a loaded state stands.
        """
        digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
        low_bits = 64 - _INDEX_BITS
        mark = int.from_bytes(digest, "big") >> _INDEX_BITS
        # One look at the memory decides: another worker may write this very round meanwhile.
        rounds = [(word >> low_bits, word % 2**low_bits) for word in self._rounds.tolist()]
        known = [number for number, other in rounds if number and other == mark]
        number = max(known) if known else max(number for number, _ in rounds) + 1
        if not known:
            self._rounds[number % _ROUNDS] = number << low_bits | mark
        if epoch is not None:
            self._place(epoch, number - 1)
        elif not self._is_set[0]:
            self._place(first_epoch, number - 1)
        return (int(self._origin[0]) + number - 1) % _WRAP, not known

    def _place(self, epoch: int, rounds_before: int) -> None:
        self._origin[0] = (epoch - rounds_before) % _WRAP
        self._is_set[0] = 1

    def __getstate__(self) -> dict[str, Any]:
        return {"memory": self._memory}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._memory = state["memory"]
        if not self._memory.is_shared():
            self._memory.share_memory_()
        self._view()
