"""A source of samples in memory, which fails where it is told to."""

from __future__ import annotations

import time

import numpy as np

from chunkstore.importing.source import Block, Skipped
from chunkstore.store.spec import ArraySpec


class MemorySource:
    """Rows of arrays; `bad` numbers cannot be read, `stops_at` ends the process's patience."""

    kind = "memory"
    name = "memory"

    def __init__(self, arrays, *, bad=(), block_length=None, stops_at=None, unaligned=None):
        self.arrays = arrays
        self.bad = set(bad)
        self.block_length = block_length
        self.stops_at = stops_at
        self.num_samples = len(next(iter(arrays.values())))
        self.specs = {name: ArraySpec(a.dtype, a.shape[1:]) for name, a in arrays.items()}
        self.unaligned = unaligned or {}
        self.attributes = {"classes": ["a", "b"]}
        self.provenance = {"options": {"size": 3}}
        self.fingerprint = "0" * 16

    def read(self, numbers, *, skips):
        if self.stops_at is not None and self.stops_at in numbers:
            raise KeyboardInterrupt
        bad = [number for number in numbers.tolist() if number in self.bad]
        if bad and not skips:
            raise ValueError(f"sample {bad[0]} cannot be read")
        good = numbers[~np.isin(numbers, bad)]
        time.sleep(0)
        return Block(
            {name: a[good] for name, a in self.arrays.items()},
            [Skipped(number, f"file{number}", "broken") for number in bad],
        )


def rows(count, seed=0):
    rng = np.random.Generator(np.random.Philox(seed))
    return {
        "x": rng.integers(0, 255, (count, 40, 50, 3), dtype=np.uint8),
        "y": np.arange(count),
        "name": np.array([f"n{i}" for i in range(count)]),
    }
