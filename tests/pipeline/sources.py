"""Sources that count, fail or wait, and generated data sets."""

from __future__ import annotations

import threading
from collections import Counter

import numpy as np
from hypothesis import strategies as st

from chunkstore.pipeline.memory import MemorySource


class WatchedSource(MemorySource):
    """Counts the reads of each chunk, and does something before each.

    ``before`` is called with the index of the chunk.
    """

    def __init__(self, name, array, *, chunk_length, before=None):
        super().__init__(name, array, chunk_length=chunk_length)
        self.before = before or (lambda chunk_index: None)
        self.reads = Counter()
        self.num_open = 0
        self.lock = threading.Lock()

    def open_reader(self, *, direct=False):
        reader = super().open_reader(direct=direct)
        reader.read_chunk_into = self._watched(reader.read_chunk_into)
        reader.close = self._closed
        with self.lock:
            self.num_open += 1
        return reader

    def _watched(self, read_chunk_into):
        def read(chunk_index, out):
            with self.lock:
                self.reads[chunk_index] += 1
            self.before(chunk_index)
            read_chunk_into(chunk_index, out)

        return read

    def _closed(self):
        with self.lock:
            self.num_open -= 1


def images(num_samples, *, shape=(3, 5), seed=0):
    """Return random bytes, shape ``(num_samples, *shape)``."""
    rng = np.random.Generator(np.random.Philox(seed))
    return rng.integers(0, 256, (num_samples, *shape), dtype=np.uint8)


def data_set(num_samples, *, chunk_length=8, label_length=32):
    """Return images, labels and weights as sources, and the arrays behind them."""
    arrays = {
        "x": images(num_samples),
        "y": np.arange(num_samples, dtype=np.int16),
        "w": np.arange(num_samples) / 4,
    }
    lengths = {"x": chunk_length, "y": label_length, "w": chunk_length}
    sources = {
        name: MemorySource(name, array, chunk_length=lengths[name])
        for name, array in arrays.items()
    }
    return sources, arrays


@st.composite
def loader_cases(draw, max_samples=300):
    """Return sources, the arrays behind them and a Loader's arguments.

    Chunk lengths nest and do not, chunks are longer and shorter than the batch and the window, and
    there are lanes without samples.
    """
    num_samples = draw(st.integers(0, 12) | st.integers(0, max_samples))
    chunk_length = draw(st.integers(1, 40))
    label_length = draw(
        st.sampled_from([chunk_length, 2 * chunk_length, 8 * chunk_length]) | st.integers(1, 90)
    )
    sources, arrays = data_set(num_samples, chunk_length=chunk_length, label_length=label_length)
    lanes = draw(st.sampled_from([1, 1, 1, 2, 4]))
    arguments = {
        "batch_size": lanes * draw(st.integers(1, 40)),
        "lanes": lanes,
        "window": draw(st.none() | st.integers(1, 8)),
        "run": draw(st.sampled_from([1, 1, 2, 5])),
        "seed": draw(st.integers(0, 2**64 - 1)),
        "shuffle": draw(st.sampled_from([True, True, True, False])),
        "last": draw(st.sampled_from(["keep", "drop", "pad"])),
        "threads": draw(st.integers(1, 4)),
        "memory": draw(st.sampled_from([200_000, 2_000_000])),
    }
    return sources, arrays, arguments
