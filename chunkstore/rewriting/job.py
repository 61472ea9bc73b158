"""How is a shuffle put together: the reader, the records, the memory and the new file?"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from chunkstore.pipeline.loader import Loader
from chunkstore.rewriting.budget import plan_budget
from chunkstore.rewriting.contents import sample_nbytes_of
from chunkstore.rewriting.encoding import EncodingCost
from chunkstore.rewriting.file import provenance_of
from chunkstore.rewriting.reading import SampleReader
from chunkstore.rewriting.records import RecordLayout
from chunkstore.rewriting.streams import BLOCK_NBYTES, GATHERED_NBYTES, SortedStream
from chunkstore.rewriting.windows import WindowStream
from chunkstore.rewriting.writing import NewFile, write
from chunkstore.store.spec import ArraySpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chunkstore.rewriting.budget import Budget
    from chunkstore.rewriting.contents import Contents
    from chunkstore.rewriting.options import RewriteOptions
    from chunkstore.rewriting.order import FileOrder
    from chunkstore.rewriting.streams import SampleStream

# Of a loader's epochs, one that no training reaches: its order is that of no epoch over the file.
_QUICK_EPOCH: Final = 1 << 63
# Of the memory of a quick shuffle, what the loader has; the rest is for writing.
_LOADER_PARTS, _PARTS = 3, 4
# No chunk is so large that more would help.
_MOST_MEMORY: Final = 1 << 50
# A batch of the loader takes so small a part of its memory at most.
_BATCHES_IN_MEMORY: Final = 32
_READ_NBYTES: Final = 4 << 20
_MAX_READING_THREADS: Final = 4


class ShuffleJob:
    """One new file with the samples of another one in another order.

    Parameters
    ----------
    out
        The new file.
    contents
        Of the source.
    options
        How it is stored.
    memory
        What may be taken, in bytes.
    new_index
        The array to add that says which sample of the source each one is, or None.

    Attributes
    ----------
    scratch_nbytes
        Size of the file of piles that there was, or 0.
    """

    def __init__(
        self,
        out: str,
        contents: Contents,
        options: RewriteOptions,
        *,
        memory: int,
        new_index: str | None = None,
    ) -> None:
        self._out = out
        self._contents = contents
        self._options = options
        self._memory = memory
        self._new_index = new_index
        self.scratch_nbytes = 0
        self._chains = {
            name: chain
            for name, array in contents.samples.items()
            if (chain := contents.chain_of(array, options)) is not None
        }
        self._specs = contents.specs(options)
        if new_index is not None:
            self._specs[new_index] = ArraySpec(
                np.int64, codec=options.codec, level=options.level, shuffle=options.shuffle
            )

    @property
    def has_values(self) -> bool:
        """Whether there are samples, of any bytes."""
        return self._contents.num_samples * self._contents.sample_nbytes > 0

    def write_sorted(self, kind: str, about: Mapping[str, Any], order: FileOrder) -> None:
        """Write the samples in the order of their keys.

        Parameters
        ----------
        kind, about
            See `chunkstore.rewriting.file.provenance_of`.
        order
            Gives the keys.

        Raises
        ------
        ValueError
            The memory is too small.
        """
        contents, options = self._contents, self._options
        provenance = self._provenance(kind, about)
        layout = RecordLayout(contents.samples)
        reader = SampleReader(contents.samples, target_nbytes=_READ_NBYTES)
        threads = min(options.num_threads, _MAX_READING_THREADS)
        budget, encoding_threads = self._plan(layout, _reading_nbytes(reader, threads))
        stream = SortedStream(
            reader,
            order,
            layout,
            budget,
            out=self._out,
            num_samples=contents.num_samples,
            about=provenance,
            threads=threads,
            index=self._new_index,
            show=options.progress,
        )
        self._write(stream, provenance, encoding_threads=encoding_threads)
        self.scratch_nbytes = stream.scratch_nbytes

    def _plan(self, layout: RecordLayout, reading_nbytes: int) -> tuple[Budget, int]:
        """Return how the memory is spent, and how many threads encode."""
        cost = self._encoding_cost(max(GATHERED_NBYTES, layout.nbytes))
        threads = cost.threads(self._memory)
        while True:
            try:
                return plan_budget(
                    self._contents.num_samples,
                    record_nbytes=layout.nbytes,
                    memory=self._memory,
                    reserved_nbytes=max(reading_nbytes, cost.nbytes(threads)),
                ), threads
            except ValueError:
                # Slower, before it is refused; what is said to be enough is so for one thread.
                if threads == 1:
                    raise
                threads = 1

    def _encoding_cost(self, block_nbytes: int) -> EncodingCost:
        return EncodingCost(
            self._specs, block_nbytes=block_nbytes, chunk_nbytes=self._options.chunk_nbytes
        )

    def window_facts(self, seed: int) -> dict[str, int]:
        """Return what the order of windows follows from beside the seed and the memory.

        Raises
        ------
        ValueError
            The memory is too small.
        """
        facts, refused = self._try_window(self._memory, seed)
        if refused is None:
            return facts
        enough = self._memory
        while enough < _MOST_MEMORY:
            # Steps of an eighth: near enough for a person.
            enough += max(1 << 20, enough >> 3)
            if self._try_window(enough, seed)[1] is None:
                raise ValueError(
                    f"memory={self._memory} bytes is too small for a quick shuffle, which has two "
                    "windows of whole chunks and the chunks that are written; "
                    f"memory='{-(-enough >> 20)}MiB' is enough"
                )
        raise refused

    def _try_window(self, memory: int, seed: int) -> tuple[dict[str, int], ValueError | None]:
        """Return what the windows of a memory are, and why there are none where that is so."""
        # With one thread: the order of a seed and a memory is the same on any number of cores.
        if not self._window_cost(memory).fits(memory):
            return {}, ValueError(f"the chunks that are written do not fit in memory={memory}")
        try:
            with self._open_loader(seed=seed, memory=memory)() as loader:
                return {"window": loader.window, "batch": loader.batch_size}, None
        except ValueError as error:
            return {}, error

    def write_windows(self, kind: str, about: Mapping[str, Any], *, seed: int, window: int) -> None:
        """Write the samples as one epoch of a loader delivers them.

        Parameters
        ----------
        kind, about
            See `chunkstore.rewriting.file.provenance_of`.
        seed, window
            Of the loader.
        """
        samples = self._contents.samples
        stream = WindowStream(
            self._open_loader(seed=seed, memory=self._memory, window=window),
            epoch=_QUICK_EPOCH,
            names=[name for name, array in samples.items() if sample_nbytes_of(array)],
            empty={
                name: (array.dtype, array.shape[1:])
                for name, array in samples.items()
                if not sample_nbytes_of(array)
            },
            index=self._new_index,
        )
        self._write(
            stream,
            self._provenance(kind, about),
            encoding_threads=self._window_cost(self._memory).threads(self._memory),
        )

    def _window_cost(self, memory: int) -> EncodingCost:
        batch = self._batch_size(memory)
        return self._encoding_cost(batch * self._contents.sample_nbytes)

    def _batch_size(self, memory: int) -> int:
        """Return the samples of a block of a quick shuffle."""
        nbytes = min(BLOCK_NBYTES, memory * _LOADER_PARTS // _PARTS // _BATCHES_IN_MEMORY)
        return max(1, nbytes // self._contents.sample_nbytes)

    def _open_loader(self, *, seed: int, memory: int, window: int | None = None) -> partial[Loader]:
        samples = {
            name: array for name, array in self._contents.samples.items() if sample_nbytes_of(array)
        }
        return partial(
            Loader,
            samples,
            (*samples, "@index"),
            batch_size=self._batch_size(memory),
            seed=seed,
            memory=memory * _LOADER_PARTS // _PARTS,
            last="keep",
            lanes=1,
            rank=0,
            world_size=1,
            window=window,
            threads=self._options.threads,
        )

    def _provenance(self, kind: str, about: Mapping[str, Any]) -> dict[str, Any]:
        return provenance_of(self._contents, self._options, kind=kind, order=about)

    def _write(
        self, stream: SampleStream, provenance: Mapping[str, Any], *, encoding_threads: int
    ) -> None:
        write(
            NewFile(
                self._out,
                self._contents,
                self._specs,
                self._chains,
                provenance,
                self._options,
                what="writing",
                keeps_unfinished=False,
                encoding_threads=encoding_threads,
                memory=self._memory,
            ),
            stream,
        )


def _reading_nbytes(reader: SampleReader, threads: int) -> int:
    """Return what reading takes: ranges that are decoded, a chunk's bytes each, and cut chunks.

    Those come and go while others stay: the allocator keeps a quarter as much beside them.
    """
    kept_nbytes = reader.cache_nbytes * 5 // 4
    return 2 * threads * reader.range_nbytes + threads * reader.chunk_nbytes + kept_nbytes
