"""How are the samples of a file dealt to piles: the first pass of a shuffle?

Block after block, samples are read by several threads, copied into records in the order of their
keys, and each pile gets its run of them with one write. While a block is written the next is read.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Final

import numpy as np

from chunkstore.importing.ahead import iter_ahead
from chunkstore.progress import progress_bar

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from numpy.typing import NDArray

    from chunkstore.rewriting.order import FileOrder
    from chunkstore.rewriting.reading import SampleReader
    from chunkstore.rewriting.records import RecordLayout
    from chunkstore.rewriting.scratch import PileFile

# A killed shuffle deals a twentieth of the samples again, or this much where that is more.
_NUM_CHECKPOINTS: Final = 20
_LEAST_BETWEEN_CHECKPOINTS_NBYTES: Final = 64 << 20
# With fewer, a few samples may fall into one by chance.
_MANY_PILES: Final = 1 << 16
# Keys that are counted at a time, some arrays of 8 bytes each.
_COUNTED: Final = 1 << 18


def count_piles(
    order: FileOrder, num_samples: int, *, num_piles: int, most_records: int
) -> NDArray[np.int64]:
    """Return how many records each pile will have; nothing but keys is read.

    Parameters
    ----------
    order
        Of the new file.
    num_samples
        Of the source.
    num_piles
        To begin with; more where a pile would be too large.
    most_records
        That a pile may have.

    Raises
    ------
    ValueError
        More samples than that have one key.
    """
    while True:
        cuts = order.cuts(num_piles)
        counts = np.zeros(num_piles, np.int64)
        for start in range(0, num_samples, _COUNTED):
            keys = order.keys(start, min(start + _COUNTED, num_samples))
            counts += np.bincount(np.searchsorted(cuts, keys, side="right"), minlength=num_piles)
        largest = int(counts.max())
        if largest <= most_records:
            return counts
        if num_piles >= max(num_samples * 8, _MANY_PILES):
            raise ValueError(
                f"{largest} samples have nearly the same number and belong into one pile; the "
                f"memory holds {most_records}"
            )
        num_piles += max(1, num_piles * largest // most_records - num_piles, num_piles // 16)


def deal(
    reader: SampleReader,
    order: FileOrder,
    layout: RecordLayout,
    piles: PileFile,
    buffers: list[memoryview],
    *,
    num_samples: int,
    block_length: int,
    threads: int,
    show: bool | None,
) -> None:
    """Bring all samples that are not there yet into their piles.

    Parameters
    ----------
    reader
        Of the source.
    order
        Of the new file.
    layout
        Of records.
    piles
        Gets them.
    buffers
        Two, for ``block_length`` records each.
    num_samples
        Of the source.
    block_length
        Samples that are dealt at a time.
    threads
        That read.
    show
        Whether a bar is shown, see `chunkstore.progress.progress_bar`.

    Raises
    ------
    CorruptionError
        A chunk of the source is damaged.
    SystemCallError
        The system refused to write.
    """
    cuts = order.cuts(len(piles.dealt.counts))
    between = max(
        num_samples // _NUM_CHECKPOINTS, _LEAST_BETWEEN_CHECKPOINTS_NBYTES // layout.nbytes, 1
    )
    start = piles.dealt.num_samples
    is_dealt_at = start
    with (
        progress_bar(num_samples, what="dealing to piles", unit="samples", show=show) as move,
        ThreadPoolExecutor(1, thread_name_prefix="chunkstore-piles") as behind,
    ):
        move(start)
        writing: Future[None] | None = None
        turn = 0
        while start < num_samples:
            stop = min(start + block_length, num_samples)
            memory = buffers[turn % len(buffers)]
            keys = order.keys(start, stop)
            places = order.sort(keys)
            fill(reader, layout, memory, start, stop, places, threads=threads, move=move)
            sorted_keys = keys[places]
            layout.keys(memory, stop - start)[...] = sorted_keys
            bounds = np.concatenate([[0], np.searchsorted(sorted_keys, cuts), [stop - start]])
            if writing is not None:
                writing.result()
            is_checkpoint = stop - is_dealt_at >= between or stop == num_samples
            writing = behind.submit(
                _write, piles, memory, layout.nbytes, bounds, stop if is_checkpoint else None
            )
            if is_checkpoint:
                is_dealt_at = stop
            start = stop
            turn += 1
        if writing is not None:
            writing.result()


def fill(
    reader: SampleReader,
    layout: RecordLayout,
    memory: memoryview,
    start: int,
    stop: int,
    places: NDArray[np.int64] | None,
    *,
    threads: int,
    move: Callable[[int], None],
) -> None:
    """Read samples into records.

    Parameters
    ----------
    reader, layout
        See `deal`.
    memory
        For ``stop - start`` records.
    start, stop
        Which samples.
    places
        The ``i``-th record is the sample ``start + places[i]``; None for the order of the source.
    threads
        That read.
    move
        Called with numbers of samples as they are there.
    """
    count = stop - start
    dest: NDArray[np.int64] | None = None
    if places is not None:
        dest = np.empty(count, np.int64)
        dest[places] = np.arange(count)

    def read(bounds: tuple[int, int]) -> int:
        a, b = bounds
        arrays = reader.read(a, b)
        here = slice(a - start, b - start)
        layout.place_into(memory, count, arrays, here if dest is None else dest[here])
        return b - a

    with closing(
        iter_ahead(read, reader.ranges(start, stop), threads=threads, depth=2 * threads)
    ) as done:
        for num_samples in done:
            move(num_samples)


def _write(
    piles: PileFile,
    memory: memoryview,
    record_nbytes: int,
    bounds: NDArray[np.int64],
    num_dealt: int | None,
) -> None:
    """Give each pile its run of a block's records."""
    for pile in np.flatnonzero(np.diff(bounds)).tolist():
        a, b = int(bounds[pile]), int(bounds[pile + 1])
        piles.append(pile, memory[a * record_nbytes : b * record_nbytes], b - a)
    if num_dealt is not None:
        piles.checkpoint(num_dealt)
