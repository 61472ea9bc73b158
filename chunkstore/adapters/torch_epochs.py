"""Which epoch do the worker processes of a DataLoader load, without being told?

A DataLoader starts new workers for every epoch, each with a copy of the dataset as it was made, and
tells the dataset in the parent nothing. All workers of one epoch have one random number in common,
though: so the first of them to look takes the next epoch, in memory that all processes share, and
the others find it there. The number may come again where a program seeds each epoch alike, so each
worker takes a round only once: who finds itself in the round of its number begins the next one.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import numpy as np
import torch

MOST_WORKERS: Final = 256
_ROUNDS: Final = 16
_INDEX_BITS: Final = 24
_WRAP: Final = 2**64
# Words: the epoch of round 1 as if all followed it; whether that is set; then of the rounds begun
# last what they have in common, their epochs, and in which round each worker was. Below 32 KiB
# together: torch copies more with threads, and in a forked process would wait for them for ever.
_HEAD_WORDS: Final = 2
_MEMORY_WORDS: Final = _HEAD_WORDS + 2 * _ROUNDS + _ROUNDS * MOST_WORKERS // 2


class SharedEpochs:
    """Numbers of the epochs that workers have begun, the same in all processes.

    Pickling it into a worker process shares it; any other copy counts for itself.

    Notes
    -----
    Threads: calls need no lock. Each round is one aligned word, and workers that look at the same
    time write the same word; in which rounds a worker was is written and read by it alone.

    Two iterations over one DataLoader at the same time are two rounds, but seeded alike they cannot
    be told apart.
    """

    def __init__(self) -> None:
        self._memory = torch.zeros(_MEMORY_WORDS, dtype=torch.int64).share_memory_()
        self._view()

    def _view(self) -> None:
        words = self._memory.numpy().view(np.uint64)
        self._origin, self._is_set = words[:1], words[1:2]
        self._rounds, self._epochs, members = np.split(words[_HEAD_WORDS:], [_ROUNDS, 2 * _ROUNDS])
        self._members = members.view(np.uint32).reshape(_ROUNDS, MOST_WORKERS)

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
        """Choose the epoch that the next workers load; None for the loader's next one.

        A round that was begun keeps its epoch, also for those of its workers that begin later.
        """
        if epoch is None:
            self._is_set[0] = 0
        else:
            self._place(epoch, self.num_rounds)

    def begin(
        self, key: str, *, worker: int, first_epoch: int, epoch: int | None = None
    ) -> tuple[int, bool]:
        """Return the epoch of a worker that begins to iterate, and whether it begins the round.

        Parameters
        ----------
        key
            What all workers of this round have in common, and hardly another round has.
        worker
            Which of them it is, in ``[0, MOST_WORKERS)``: it is in a round only once.
        first_epoch
            The epoch of the first round, if none was chosen.
        epoch
            Makes this the epoch of the round: where a loaded state stands.

        Raises
        ------
        ValueError
            If there are too many workers.
        """
        if worker >= MOST_WORKERS:
            raise ValueError(f"num_workers must be at most {MOST_WORKERS}, this is worker {worker}")
        digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
        low_bits = 64 - _INDEX_BITS
        mark = int.from_bytes(digest, "big") >> _INDEX_BITS
        # One look at the memory decides: another worker may write this very round meanwhile.
        rounds = [(word >> low_bits, word % 2**low_bits) for word in self._rounds.tolist()]
        known = [
            number
            for number, other in rounds
            if number and other == mark and self._members[number % _ROUNDS, worker] != number
        ]
        number = max(known) if known else max(number for number, _ in rounds) + 1
        place = number % _ROUNDS
        self._members[place, worker] = number
        if epoch is not None:
            self._place(epoch, number - 1)
        elif known:
            return int(self._epochs[place]), False
        elif not self._is_set[0]:
            self._place(first_epoch, number - 1)
        # The epoch first: whoever sees the round finds it.
        self._epochs[place] = (int(self._origin[0]) + number - 1) % _WRAP
        if not known:
            self._rounds[place] = number << low_bits | mark
        return int(self._epochs[place]), not known

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
