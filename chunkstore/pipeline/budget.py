"""How is the declared memory spent?

Seven eighths hold windows, see `chunkstore.plan.window`. What is left holds the batches that are
put together from several windows and, for each thread, the reads and the scratch of one chunk of
every array, and the decoded chunks of the arrays that are cut differently from the unit. What the
threads need of it may exceed the memory by an allowance, as far as the machine has it; their number
is reduced until that suffices, and the order never depends on it. Where two batches and one thread
need more than that, the windows give way.
"""

from __future__ import annotations

import math
import operator
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from chunkstore import system
from chunkstore.plan.window import MAX_WINDOW_SAMPLES, least_memory, plan_window, windows_memory

if TYPE_CHECKING:
    from chunkstore.pipeline.layout import SampleLayout

_UNITS: Final = {"": 1}
for _power, _letter in enumerate("KMGT", start=1):
    _UNITS[f"{_letter}B"] = 1000**_power
    _UNITS[f"{_letter}IB"] = 1024**_power
_UNITS["B"] = 1
_MEMORY: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*")

# More threads than this wait for memory, not for processors.
_MOST_DEFAULT_THREADS: Final = 4
# A thread that reads past the page cache waits for the disk about as long as it decodes.
_THREADS_WHILE_ONE_READS: Final = 2
# What threads read and decode may go over the memory by this much: the promise allows four times as
# much. Without it a small memory would leave one thread, and the other processors idle.
_ALLOWANCE_NBYTES: Final = 16 << 20
# Without so much of the labels' chunks, each unit would read its own again.
_KEPT_NBYTES: Final = 4 << 20
# What the interpreter takes besides while a loader runs, such as the threads' stacks and the plan.
_AROUND_NBYTES: Final = 6 << 20
# A block of so many units for each thread keeps all of them busy while one finishes it.
_UNITS_PER_THREAD: Final = 8
# A block of so many bytes costs nothing beside its reading, and comes soon.
_BLOCK_NBYTES: Final = 16 << 20
# Of a sample in a window that is planned: where it goes, and what sorting takes.
_INDEX_NBYTES: Final = 24
# The consumer holds one batch while the next is put together.
BATCHES_ALIVE: Final = 2


def parse_memory(memory: int | str) -> int:
    """Return a number of bytes.

    Parameters
    ----------
    memory
        Bytes, or a number with a unit: ``"512MiB"``, ``"2 GB"``, ``"1.5GiB"``.

    Raises
    ------
    TypeError, ValueError
        If it is none of these, or not positive.

    Examples
    --------
    >>> parse_memory("512MiB")
    536870912
    """
    if isinstance(memory, str):
        match = _MEMORY.fullmatch(memory)
        factor = _UNITS.get(match[2].upper()) if match else None
        if match is None or factor is None:
            raise ValueError(
                f"memory must be bytes or a number with a unit such as '512MiB' or '2GB', "
                f"got {memory!r}"
            )
        nbytes = int(float(match[1]) * factor) if "." in match[1] else int(match[1]) * factor
    else:
        nbytes = _whole_bytes(memory)
    if nbytes < 1:
        raise ValueError(f"memory must be positive, got {memory!r}")
    return nbytes


def _whole_bytes(memory: object) -> int:
    """Return a number of bytes that is no text: an integer, or a float such as 2e9."""
    if not isinstance(memory, bool | np.bool_):
        if isinstance(memory, float) and math.isfinite(memory) and memory.is_integer():
            return int(memory)
        try:
            return operator.index(memory)  # type: ignore[arg-type]  # it raises for what is none
        except TypeError:
            pass
    raise TypeError(
        f"memory must be a whole number of bytes or a text such as '512MiB' or '2GB', "
        f"got {memory!r}"
    )


@dataclass(frozen=True)
class Budget:
    """What the declared memory pays for, in one process.

    Attributes
    ----------
    memory
        Bytes declared, summed over the ranks.
    reserved_nbytes
        What is needed of it at least beside the windows.
    window
        Units in one window of one lane: part of the order.
    plan_window
        The window that the plan is given: smaller than ``window`` without shuffle, where it is only
        a buffer and not part of the order.
    block_windows
        Windows that are filled together as one block. Small ones are: each block has a cost.
    num_blocks
        Blocks of one lane that are filled, full or consumed at the same time.
    threads
        Reading threads.
    cache_nbytes
        Decoded chunks kept of the arrays that are cut differently from the unit.
    """

    memory: int
    reserved_nbytes: int
    window: int
    plan_window: int
    block_windows: int
    num_blocks: int
    threads: int
    cache_nbytes: int

    @property
    def block_units(self) -> int:
        """Most units in a block."""
        return self.plan_window * self.block_windows


def plan_budget(
    layout: SampleLayout,
    *,
    memory: int,
    window: int | None,
    lanes: int,
    world_size: int,
    lane_batch_size: int,
    shuffle: bool,
    threads: int,
    buffer_nbytes: int,
    batches_nbytes: int,
    room: int | None = None,
    piece_samples: int | None = None,
    num_pieces: int | None = None,
) -> Budget:
    """Return how the memory is spent.

    Parameters
    ----------
    layout
        What is loaded.
    memory
        Bytes declared, summed over the ranks.
    window
        Units in a window; None takes what fits.
    lanes, world_size
        Lanes of the epoch, and the processes that share them and the memory.
    lane_batch_size
        Samples that one lane gives to a batch.
    shuffle
        Whether the order is shuffled.
    threads
        Most reading threads.
    buffer_nbytes
        What the readers of one thread take for themselves.
    batches_nbytes
        What batches and their padding take beside the windows, summed over the ranks.
    room
        Bytes that this process may still take, see `chunkstore.pipeline.room`; None where nobody
        tells.
    piece_samples
        Most samples of a unit that are eligible; None for all of them.
    num_pieces
        Units that are read in an epoch; None for each once.

    Raises
    ------
    ValueError
        If the memory does not suffice; the message says how much does.
    """
    unit_length = layout.unit_length if piece_samples is None else max(piece_samples, 1)
    unit_nbytes = max(layout.sample_nbytes * unit_length, 1)
    # A window's index counts as itself up to a number of samples, see `plan_window`.
    num_indexed = max(0, lanes * unit_length * (window or 1) - MAX_WINDOW_SAMPLES)
    reserved_nbytes = (
        batches_nbytes + lanes * _least_reading_nbytes(layout) + num_indexed * _INDEX_NBYTES
    )
    needed = least_memory(
        window or 1, unit_nbytes=unit_nbytes, lanes=lanes, reserved_nbytes=reserved_nbytes
    )
    if memory < needed:
        raise ValueError(
            f"memory={memory} bytes cannot hold "
            f"{'two chunks' if window is None else f'two windows of {window} chunks'} of "
            f"{unit_nbytes} bytes{f' in each of {lanes} lanes' if lanes > 1 else ''}"
            f"{_beside(layout, batches_nbytes, reserved_nbytes)}: give at least {needed} bytes, or "
            f"use smaller chunks or batches"
        )
    if window is None:
        window = plan_window(
            memory,
            unit_nbytes=unit_nbytes,
            unit_samples=unit_length,
            lanes=lanes,
            reserved_nbytes=reserved_nbytes,
        )
    lane_units = windows_memory(memory, reserved_nbytes) // (unit_nbytes * lanes)
    batch_units = -(-lane_batch_size // unit_length)
    least_block = max(_UNITS_PER_THREAD * threads, 2 * batch_units, _BLOCK_NBYTES // unit_nbytes)
    in_plan = window if shuffle else min(window, least_block)
    block_windows = max(1, min(-(-least_block // in_plan), lane_units // (2 * in_plan)))
    block_units = in_plan * block_windows
    num_blocks = max(2, min(lane_units // block_units, 1 + -(-least_block // block_units)))

    largest_lane = -(-(layout.num_units if num_pieces is None else num_pieces) // lanes) + 1
    held = num_blocks * min(block_units, largest_lane) * unit_nbytes * lanes // world_size
    reserve = (memory - batches_nbytes) // world_size - held
    allowance = _ALLOWANCE_NBYTES
    if room is not None:
        allowance = max(0, min(allowance, room - memory // world_size - _AROUND_NBYTES))
    fitted, cache_nbytes = _fit_threads(
        layout, threads, reserve=reserve, allowance=allowance, buffer_nbytes=buffer_nbytes
    )
    if fitted == 0:
        least = thread_nbytes(layout, 1, buffer_nbytes=buffer_nbytes) - _ALLOWANCE_NBYTES
        largest = max(layout.iter_arrays(), key=lambda array: array.chunk_nbytes)
        raise ValueError(
            f"memory={memory} bytes does not hold what one thread reads and decodes beside the "
            f"windows: array {largest.name!r} has chunks of {largest.chunk_nbytes} bytes; "
            f"{8 * least * world_size} bytes are enough"
        )
    return Budget(
        memory=memory,
        reserved_nbytes=reserved_nbytes,
        window=window,
        plan_window=in_plan,
        block_windows=block_windows,
        num_blocks=num_blocks,
        threads=fitted,
        cache_nbytes=cache_nbytes,
    )


def default_threads(*, direct: bool) -> int:
    """Return how many threads read where nobody says: by the processors of this process.

    Parameters
    ----------
    direct
        Whether they read past the page cache, and so wait for the disk.
    """
    threads = min(system.calls.available_cores(), _MOST_DEFAULT_THREADS)
    return threads * _THREADS_WHILE_ONE_READS if direct else threads


def thread_nbytes(layout: SampleLayout, threads: int, *, buffer_nbytes: int) -> int:
    """Return the least bytes that reading with some threads takes beside the windows."""
    scratch = max(part.scratch_nbytes for part in layout.parts)
    # Each thread may use one decoded chunk while another is already taken out of the cache.
    cached = max(part.others_nbytes for part in layout.parts)
    transformed = layout.unit_length * sum(array.transform_nbytes for array in layout.arrays)
    return threads * (scratch + buffer_nbytes + transformed) + (threads + 1) * cached


def _least_reading_nbytes(layout: SampleLayout) -> int:
    """Return what one thread needs beside the windows, above what it may take on top of the memory.

    As the layout alone says, so that the order does not depend on how the bytes are read.
    """
    encoded = max(sum(array.chunk_nbytes for array in part.arrays) for part in layout.parts)
    return max(0, thread_nbytes(layout, 1, buffer_nbytes=encoded) - _ALLOWANCE_NBYTES)


def _fit_threads(
    layout: SampleLayout, threads: int, *, reserve: int, allowance: int, buffer_nbytes: int
) -> tuple[int, int]:
    """Return how many threads fit, 0 if none does, and the bytes for the cache.

    Whether one thread fits depends on the memory that is declared alone.
    """
    least_cache = max(part.others_nbytes for part in layout.parts)
    all_others = sum(
        array.chunk_nbytes * array.source.num_chunks
        for array in layout.iter_arrays()
        if not array.is_unit
    )
    kept = min(_KEPT_NBYTES, max(all_others - least_cache, 0))
    for count in range(threads, 0, -1):
        left = reserve - thread_nbytes(layout, count, buffer_nbytes=buffer_nbytes)
        if left + allowance >= kept or (count == 1 and left >= -_ALLOWANCE_NBYTES):
            extra = max(left, min(left + allowance, kept), 0)
            return count, min(least_cache + extra, all_others)
    return 0, 0


def _beside(layout: SampleLayout, batches_nbytes: int, reserved_nbytes: int) -> str:
    """Return what is needed beside the windows, in words; nothing where it is of no account."""
    parts = []
    if batches_nbytes:
        parts.append(f"{batches_nbytes} bytes of batches")
    if reserved_nbytes > batches_nbytes:
        largest = max(layout.iter_arrays(), key=lambda array: array.chunk_nbytes)
        parts.append(
            f"what a thread reads and decodes (array {largest.name!r} has chunks of "
            f"{largest.chunk_nbytes} bytes)"
        )
    return f" beside {' and '.join(parts)}" if parts else ""
