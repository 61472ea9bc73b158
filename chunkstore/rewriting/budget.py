"""How is the declared memory of a shuffle spent: how many piles, how large a block?

Two buffers of records alternate in both passes: one is filled while the other is written. A pile
fits in one of them, and so does a block of samples that is dealt to the piles.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from chunkstore.rewriting.encoding import ALLOWANCE_NBYTES

# Of each record in a buffer: its key, sorted and not, its place, and what sorting takes.
_INDEX_NBYTES: Final = 72
# Bytes that go to a pile at a time, on average and at least: a write of its own for each.
_LEAST_RUN_NBYTES: Final = 4 << 10
_MOST_PILES: Final = 1 << 20
# Piles are sums of coin throws: none of them is so many standard deviations above the mean.
_DEVIATIONS: Final = 6
_BUFFERS: Final = 2


@dataclass(frozen=True)
class Budget:
    """How a shuffle goes about it.

    Attributes
    ----------
    num_piles
        About as many; 1 where all records are held in memory and there is no scratch file.
    most_records
        That a buffer holds.
    """

    num_piles: int
    most_records: int

    @property
    def in_memory(self) -> bool:
        """Whether there is no scratch file."""
        return self.num_piles == 1


def plan_budget(
    num_samples: int, *, record_nbytes: int, memory: int, reserved_nbytes: int
) -> Budget:
    """Return how the memory is spent.

    Parameters
    ----------
    num_samples
        Records.
    record_nbytes
        Of each.
    memory
        In bytes.
    reserved_nbytes
        What reading and writing take beside the buffers.

    Raises
    ------
    ValueError
        If the memory is too small; says how much is enough.

    Examples
    --------
    >>> plan_budget(1000, record_nbytes=1 << 20, memory=256 << 20, reserved_nbytes=0)
    Budget(num_piles=14, most_records=127)
    >>> plan_budget(100, record_nbytes=1 << 20, memory=256 << 20, reserved_nbytes=0).in_memory
    True
    """
    budget = _try(num_samples, record_nbytes, memory - _over(memory, reserved_nbytes))
    if budget is not None:
        return budget
    enough = memory
    while _try(num_samples, record_nbytes, enough - _over(enough, reserved_nbytes)) is None:
        # Steps of an eighth: near enough for a person.
        enough += max(1 << 20, enough >> 3)
    raise ValueError(
        f"memory={memory} bytes is too small to shuffle {num_samples} samples of {record_nbytes} "
        f"bytes; memory='{-(-enough >> 20)}MiB' is enough"
    )


def _over(memory: int, reserved_nbytes: int) -> int:
    """Return what reading and writing take away from the buffers."""
    return min(memory, max(0, reserved_nbytes - ALLOWANCE_NBYTES))


def _try(num_samples: int, record_nbytes: int, spare: int) -> Budget | None:
    if num_samples * (record_nbytes + _INDEX_NBYTES) <= spare:
        return Budget(1, max(1, num_samples))
    most = spare // (_BUFFERS * (record_nbytes + _INDEX_NBYTES))
    if most < 1:
        return None
    # mean + deviations * sqrt(mean) = most
    root = (math.sqrt(_DEVIATIONS**2 + 4 * most) - _DEVIATIONS) / 2
    num_piles = max(2, math.ceil(num_samples / root**2))
    run_nbytes = max(record_nbytes, most * record_nbytes / num_piles)
    if num_piles > _MOST_PILES or run_nbytes < _LEAST_RUN_NBYTES:
        return None
    return Budget(num_piles, most)
