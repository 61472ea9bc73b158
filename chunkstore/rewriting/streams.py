"""Where do the samples of a new file come from, block after block in its order?"""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from chunkstore import system
from chunkstore.errors import ChunkStoreWarning
from chunkstore.importing.ahead import iter_ahead
from chunkstore.progress import progress_bar
from chunkstore.rewriting.dealing import count_piles, deal, fill
from chunkstore.rewriting.scratch import PileFile, remove
from chunkstore.store.store import PARTIAL_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from concurrent.futures import Future

    from numpy.typing import NDArray

    from chunkstore.rewriting.budget import Budget
    from chunkstore.rewriting.order import FileOrder
    from chunkstore.rewriting.reading import SampleReader
    from chunkstore.rewriting.records import RecordLayout

# Of the file of piles, behind the name of the new file.
SCRATCH_SUFFIX: Final = ".piles" + PARTIAL_SUFFIX
# Decoded bytes of a block that is handed on, and of all that are read ahead.
BLOCK_NBYTES: Final = 8 << 20
# Of one that is gathered from a pile: it comes on top of the piles.
GATHERED_NBYTES: Final = 4 << 20
_AHEAD_NBYTES: Final = 64 << 20

Samples = dict[str, "NDArray[Any]"]


class SampleStream(Protocol):
    """The samples of a new file in its order."""

    def iter_blocks(self, start: int) -> Generator[Samples]:
        """Yield the samples from a place in the new file on, as new memory."""

    def discard(self) -> None:
        """Remove what was written on the way; again is allowed."""


class FileStream:
    """The samples in the order of the source.

    Parameters
    ----------
    reader
        Of the source.
    num_samples
        Of it.
    threads
        That read.
    """

    def __init__(self, reader: SampleReader, *, num_samples: int, threads: int) -> None:
        self._reader = reader
        self._num_samples = num_samples
        self._depth = max(1, min(2 * threads, _AHEAD_NBYTES // max(1, reader.range_nbytes)))
        self._threads = min(threads, self._depth)

    def iter_blocks(self, start: int) -> Generator[Samples]:
        """Yield ranges that the reader likes."""
        ranges = self._reader.ranges(start, self._num_samples)
        with closing(
            iter_ahead(self._read, ranges, threads=self._threads, depth=self._depth)
        ) as blocks:
            yield from blocks

    def discard(self) -> None:
        """Do nothing."""

    def _read(self, bounds: tuple[int, int]) -> Samples:
        return self._reader.read(*bounds)


class SortedStream:
    """The samples in the order of their keys, by way of piles.

    Parameters
    ----------
    reader
        Of the source.
    order
        Of the new file.
    layout
        Of records.
    budget
        How much is held in memory.
    out
        The new file; the piles lie beside it.
    num_samples
        Of the source.
    about
        What the piles follow from, JSON values.
    threads
        That read.
    index
        The array of the new file that says which sample of the source each one is, or None.
    show
        Whether bars are shown.

    Attributes
    ----------
    scratch_nbytes
        Size of the file of piles, if there was one.
    """

    def __init__(
        self,
        reader: SampleReader,
        order: FileOrder,
        layout: RecordLayout,
        budget: Budget,
        *,
        out: str,
        num_samples: int,
        about: Mapping[str, Any],
        threads: int,
        index: str | None,
        show: bool | None,
    ) -> None:
        self._reader = reader
        self._order = order
        self._layout = layout
        self._budget = budget
        self._scratch_path = out + SCRATCH_SUFFIX
        self._num_samples = num_samples
        self._about = about
        self._threads = threads
        self._index = index
        self._show = show
        self._block_length = max(1, GATHERED_NBYTES // layout.nbytes)
        self.scratch_nbytes = 0

    def iter_blocks(self, start: int) -> Generator[Samples]:
        """Deal what is not dealt yet, then yield pile after pile, each sorted."""
        if not self._num_samples:
            return
        blocks = self._from_memory(start) if self._budget.in_memory else self._from_piles(start)
        with closing(blocks):
            yield from blocks

    def discard(self) -> None:
        """Remove the file of piles."""
        remove(self._scratch_path)

    def _from_memory(self, start: int) -> Generator[Samples]:
        # What another memory began is of no use.
        self.discard()
        count = self._num_samples
        memory = system.calls.aligned_buffer(count * self._layout.nbytes)
        with progress_bar(count, what="reading", unit="samples", show=self._show) as move:
            fill(
                self._reader, self._layout, memory, 0, count, None, threads=self._threads, move=move
            )
        self._reader.forget()
        keys = self._order.keys(0, count)
        self._layout.keys(memory, count)[...] = keys
        places = self._order.sort(keys)
        del keys
        yield from self._sliced(memory, count, places, start)

    def _from_piles(self, start: int) -> Generator[Samples]:
        budget, layout = self._budget, self._layout
        counts = count_piles(
            self._order,
            self._num_samples,
            num_piles=budget.num_piles,
            most_records=budget.most_records,
        )
        nbytes = budget.most_records * layout.nbytes
        buffers = [system.calls.aligned_buffer(nbytes) for _ in range(2)]
        with closing(self._open_piles(counts)) as piles:
            length = self._reader.length
            deal(
                self._reader,
                self._order,
                layout,
                piles,
                buffers,
                num_samples=self._num_samples,
                block_length=max(1, budget.most_records // length * length or budget.most_records),
                threads=self._threads,
                show=self._show,
            )
            self._reader.forget()
            yield from self._by_pile(piles, counts, buffers, start)

    def _by_pile(
        self,
        piles: PileFile,
        counts: NDArray[np.int64],
        buffers: list[memoryview],
        start: int,
    ) -> Generator[Samples]:
        """Yield the samples of one pile after the other; the next is loaded meanwhile."""
        stops = np.cumsum(counts)
        first = int(np.searchsorted(stops, start, side="right"))
        wanted = [pile for pile in range(first, len(counts)) if counts[pile]]

        def load(turn: int) -> NDArray[np.int64]:
            memory = buffers[turn % 2]
            count = piles.read_into(wanted[turn], memory)
            return self._order.sort(self._layout.keys(memory, count).copy())

        with ThreadPoolExecutor(1, thread_name_prefix="chunkstore-piles") as ahead:
            loading: Future[NDArray[np.int64]] | None = None
            for turn, pile in enumerate(wanted):
                places = (loading or ahead.submit(load, turn)).result()
                is_last = turn + 1 == len(wanted)
                loading = None if is_last else ahead.submit(load, turn + 1)
                begin = int(stops[pile] - counts[pile])
                yield from self._sliced(
                    buffers[turn % 2], int(counts[pile]), places, max(0, start - begin)
                )

    def _sliced(
        self, memory: memoryview, count: int, places: NDArray[np.int64], skipped: int
    ) -> Generator[Samples]:
        """Yield the samples of records in order, some at a time."""
        for a in range(skipped, count, self._block_length):
            some = places[a : a + self._block_length]
            samples = self._layout.gather(memory, count, some)
            if self._index is not None:
                numbers = self._order.numbers(self._layout.keys(memory, count)[some])
                if numbers is None:
                    raise TypeError("this order knows no numbers of the source")
                samples[self._index] = numbers
            yield samples

    def _open_piles(self, counts: NDArray[np.int64]) -> PileFile:
        identity = hashlib.blake2b(
            json.dumps(
                [self._about, self._layout.describe(), self._layout.nbytes, counts.tolist()],
                sort_keys=True,
            ).encode(),
            digest_size=16,
        )
        piles = PileFile(
            self._scratch_path,
            identity=identity.digest(),
            counts=counts,
            record_nbytes=self._layout.nbytes,
        )
        self.scratch_nbytes = piles.nbytes
        free = shutil.disk_usage(Path(self._scratch_path).absolute().parent).free
        left = 1 - piles.dealt.num_samples / self._num_samples
        if free < piles.nbytes * left:
            warnings.warn(
                f"{self._scratch_path}: the piles take {int(piles.nbytes * left)} bytes until the "
                f"new file is written, and its disk says that {free} are free",
                ChunkStoreWarning,
                stacklevel=2,
            )
        return piles
