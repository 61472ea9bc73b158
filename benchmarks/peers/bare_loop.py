"""The limit: what reading, decoding and copying cost without anything around them.

Each chunk of our file is read once, in random order, decoded into scratch memory and copied once,
to the next place of buffers as large as the loader's memory. Nothing is checked, nothing shuffled
inside a chunk.
"""

from __future__ import annotations

import concurrent.futures
import mmap
import os
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from benchmarks.digests import probe_batch
from benchmarks.peers.record import Peer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from benchmarks.peers.record import Task

_BLOCK_NBYTES = 4096


def _variant(threads: int, *, direct: bool) -> Peer:
    return Peer(
        name=f"bare loop, {threads} threads, {'direct' if direct else 'buffered'}",
        module="benchmarks.peers.bare_loop",
        packages=(),
        environment="bench",
        is_required=True,
        is_mapped=False,
        shuffle="chunks in random order",
        settings={"threads": threads, "direct": direct},
    )


PEERS = tuple(_variant(threads, direct=direct) for threads in (1, 2, 4) for direct in (False, True))


class _Chunk(NamedTuple):
    """Where a chunk's bytes stand, how many samples it has, and of which array."""

    offset: int
    nbytes: int
    samples: int
    array: int


def import_packages() -> None:
    """Import what reading needs."""
    import numcodecs.blosc  # noqa: F401

    import chunkstore.store.store  # noqa: F401


def write(arrays: Mapping[str, NDArray[Any]], task: Task) -> None:
    """Write nothing: our file is read."""
    del arrays, task


def find_chunks(task: Task) -> list[_Chunk]:
    """Return the chunks of all arrays."""
    import chunkstore as cs
    from chunkstore.container.layout import LOCAL

    chunks = []
    with cs.open(task.store) as store:
        for place, name in enumerate(task.arrays):
            array = store[name]
            _, places = array._node.table.stored()
            suffix = "/0" * (array.ndim - 1)
            for index in range(array.num_chunks):
                # Our files have no extra field in the local header below 4 GiB.
                header = LOCAL.size + len(f"{name}/c/{index}{suffix}")
                samples = min(array.chunk_length, len(array) - index * array.chunk_length)
                chunks.append(
                    _Chunk(
                        int(places.offset[index]) + header,
                        int(places.encoded_nbytes[index]),
                        samples,
                        place,
                    )
                )
    return chunks


class _Worker:
    """One thread's descriptor, read buffer, scratch and place to copy to."""

    def __init__(
        self, task: Task, chunks: list[_Chunk], lengths: list[int], *, threads: int, direct: bool
    ) -> None:
        flags = os.O_RDONLY | (os.O_DIRECT if direct else 0)
        self._descriptor = os.open(task.store, flags)
        self._direct = direct
        largest = max(chunk.nbytes for chunk in chunks)
        # Anonymous maps begin at a page, as direct reads want.
        self._buffer = mmap.mmap(-1, largest + 2 * _BLOCK_NBYTES)
        self._view = memoryview(self._buffer)
        forms = [(np.dtype(dtype), shape) for dtype, shape in task.arrays.values()]
        self._scratch = [
            np.empty((length, *shape), dtype)
            for length, (dtype, shape) in zip(lengths, forms, strict=True)
        ]
        nbytes = task.memory // threads
        total = sum(part[0].nbytes for part in self._scratch if part.size)
        self._targets = [
            np.empty((max(len(part), nbytes // total), *part.shape[1:]), part.dtype)
            for part in self._scratch
        ]
        self._starts = [0] * len(forms)

    def run(self, chunks: list[_Chunk], sums: list[int] | None) -> None:
        """Read, decode and copy chunks; add up their probes if asked."""
        from numcodecs import blosc

        for chunk in chunks:
            frame = self._read(chunk)
            scratch = self._scratch[chunk.array]
            blosc.decompress(frame, scratch)
            target, start = self._targets[chunk.array], self._starts[chunk.array]
            if start + chunk.samples > len(target):
                start = 0
            samples = scratch[: chunk.samples]
            target[start : start + chunk.samples] = samples
            self._starts[chunk.array] = start + chunk.samples
            if sums is not None:
                sums[chunk.array] += probe_batch(samples)

    def _read(self, chunk: _Chunk) -> memoryview:
        before = chunk.offset % _BLOCK_NBYTES if self._direct else 0
        wanted = before + chunk.nbytes
        length = -(-wanted // _BLOCK_NBYTES) * _BLOCK_NBYTES if self._direct else wanted
        found = os.preadv(self._descriptor, [self._view[:length]], chunk.offset - before)
        assert found >= wanted, "a short read"
        return self._view[before:wanted]

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._descriptor)


class Reader:
    """Like `benchmarks.peers.record.Reader`, but an epoch delivers nothing."""

    def __init__(self, task: Task) -> None:
        from numcodecs import blosc

        import chunkstore as cs

        # Each chunk is decoded by the thread that asks.
        blosc.use_threads = False
        self._seed = task.seed
        self._chunks = find_chunks(task)
        with cs.open(task.store) as store:
            lengths = [store[name].chunk_length for name in task.arrays]
        self._num_arrays = len(task.arrays)
        threads = task.settings["threads"]
        self._pool = concurrent.futures.ThreadPoolExecutor(threads)
        self._workers = [
            _Worker(task, self._chunks, lengths, threads=threads, direct=task.settings["direct"])
            for _ in range(threads)
        ]

    def run_epoch(self, number: int) -> int:
        """Read everything once; return the samples of the first array."""
        return self._run(number, None)

    def check_epoch(self, number: int) -> tuple[int, list[int]]:
        """Read everything once; return the samples of the first array, and the arrays' probes."""
        sums = [[0] * self._num_arrays for _ in self._workers]
        count = self._run(number, sums)
        return count, [sum(parts) % (1 << 64) for parts in zip(*sums, strict=True)]

    def _run(self, number: int, sums: list[list[int]] | None) -> int:
        order = np.random.default_rng([self._seed, number]).permutation(len(self._chunks))
        step = len(self._workers)
        shares = [[self._chunks[i] for i in order[k::step].tolist()] for k in range(step)]
        futures = [
            self._pool.submit(worker.run, share, None if sums is None else sums[k])
            for k, (worker, share) in enumerate(zip(self._workers, shares, strict=True))
        ]
        for future in futures:
            future.result()
        return sum(chunk.samples for chunk in self._chunks if chunk.array == 0)

    def close(self) -> None:
        """End the threads, close the descriptors."""
        self._pool.shutdown()
        for worker in self._workers:
            worker.close()
