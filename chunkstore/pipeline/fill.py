"""Which block of memory is filled when?

A block holds one window of a lane, or a few small ones. A lane has a few blocks alive at a time:
one that is consumed, the others filled ahead. The next one starts as soon as memory comes back
from the consumer. A consumer that keeps its batches is never waited for: after a few batches more,
a block gets memory beyond the budget.
"""

from __future__ import annotations

import time
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from chunkstore.errors import CorruptionError
from chunkstore.pipeline.transforming import DrawOrigin, lane_position
from chunkstore.pipeline.unit import BlockArrays
from chunkstore.plan.epoch import Task

if TYPE_CHECKING:
    import weakref
    from collections.abc import Callable, Sequence

    from chunkstore.pipeline.engine import Engine
    from chunkstore.pipeline.layout import SampleLayout
    from chunkstore.pipeline.pool import BlockPool
    from chunkstore.pipeline.skipping import SkipRecord
    from chunkstore.pipeline.unit import UnitReader
    from chunkstore.plan.epoch import EpochPlan

# A wait without end cannot be interrupted on every system.
_WAIT_SECONDS: Final = 1.0


class _Block:
    """A block being filled, or full."""

    __slots__ = ("arrays", "num_pending", "origin")

    def __init__(self, arrays: BlockArrays, num_pending: int, origin: DrawOrigin) -> None:
        self.arrays = arrays
        self.num_pending = num_pending
        self.origin = origin


class _LaneFill:
    """The blocks of one lane: ``next`` is to be started, ``current`` is consumed."""

    __slots__ = (
        "blocks",
        "bounds",
        "current",
        "is_forced",
        "lane",
        "next",
        "num_blocks",
        "tasks",
        "window_bounds",
    )

    def __init__(
        self, lane: int, window_bounds: list[int], *, block_windows: int, position: int
    ) -> None:
        self.lane = lane
        self.window_bounds = window_bounds
        self.bounds = window_bounds[:-1:block_windows] + window_bounds[-1:]
        self.num_blocks = len(self.bounds) - 1
        self.next = self.current = sum(bound <= position for bound in self.bounds[1:])
        self.tasks: list[Task] | None = None
        self.is_forced = False
        self.blocks: dict[int, _Block] = {}


class EpochFill:
    """Fills the blocks of one epoch ahead of its consumer.

    Parameters
    ----------
    engine
        The threads that do it.
    plan
        The epoch.
    lanes
        The lanes wanted, indices into the plan. The methods count these: ``i`` is ``lanes[i]``.
    step
        The batch from which on the epoch is wanted.
    layout
        What a block holds.
    pools
        Memory for each array of a block.
    block_windows
        Windows in a block.
    depth
        Blocks of a lane alive at a time.

    skips
        Where damage is noted and left out; None makes it an error.
    predecessor
        The fill of the epoch before: until all its blocks have memory, this one gets none.

    Attributes
    ----------
    follower
        The fill of the next epoch.
    consumer
        Called, if it is still there, when the blocks are given up, to let go of those that it has.
    wait_seconds
        How long the consumer waited.

    Notes
    -----
    Threads: one consumer calls the public methods. What it shares with the engine's threads is
    under the engine's lock.
    """

    def __init__(
        self,
        engine: Engine,
        plan: EpochPlan,
        *,
        lanes: Sequence[int],
        step: int,
        layout: SampleLayout,
        pools: Sequence[BlockPool],
        block_windows: int,
        depth: int,
        skips: SkipRecord | None,
        predecessor: EpochFill | None = None,
    ) -> None:
        self.engine = engine
        self.plan = plan
        self.follower: EpochFill | None = None
        self.consumer: weakref.WeakMethod[Callable[[], None]] | None = None
        self.wait_seconds = 0.0
        self.num_lanes = len(lanes)
        self._layout = layout
        self._pools = pools
        self._block_windows = block_windows
        self._depth = depth
        self._skips = skips
        self._predecessor = predecessor
        self._is_waking = False
        self._lanes = [
            _LaneFill(
                lane,
                plan.window_bounds(lane).tolist(),
                block_windows=block_windows,
                position=step * plan.lane_batch_size,
            )
            for lane in lanes
        ]

    def start(self) -> None:
        """Start filling the first blocks."""
        for lane in self._lanes:
            if lane.next < lane.num_blocks:
                self.engine.put(partial(self._plan_next, lane))

    def take_over(self) -> None:
        """Become the fill that is consumed: memory that comes back is for this one first."""
        self._predecessor = None

    def give_up(self) -> None:
        """Let go of all blocks: the threads have ended, and nobody will take them."""
        consumer = None if self.consumer is None else self.consumer()
        if consumer is not None:
            consumer()
        with self.engine.changed:
            follower, self.follower = self.follower, None
            for lane in self._lanes:
                lane.blocks.clear()
        if follower is not None:
            follower._predecessor = None
            follower.give_up()

    def first_block(self, i: int) -> int:
        """Return the first block wanted of a lane."""
        return self._lanes[i].current

    def bounds(self, i: int) -> list[int]:
        """Return where the blocks of a lane begin and end in what it delivers."""
        return self._lanes[i].bounds

    def length(self, i: int) -> int:
        """Return the samples that a lane delivers, padding included."""
        return self.plan.lane_length(self._lanes[i].lane)

    def num_samples(self, i: int) -> int:
        """Return the samples that a lane holds."""
        return self.plan.lanes[self._lanes[i].lane].num_samples

    def is_full(self, i: int, k: int) -> bool:
        """Return whether block ``k`` of a lane is there; takes no lock."""
        block = self._lanes[i].blocks.get(k)
        return block is not None and not block.num_pending

    def enter(self, i: int, k: int) -> BlockArrays:
        """Return block ``k`` of a lane, waiting until it is full.

        Raises
        ------
        BaseException
            The first error that a thread met.
        RuntimeError
            If the threads were ended meanwhile.
        """
        lane = self._lanes[i]
        with self.engine.changed:
            block = lane.blocks.get(k)
            if block is None or block.num_pending:
                block = self._wait(lane, k)
        return block.arrays

    def leave(self, i: int, k: int) -> None:
        """Give up block ``k`` of a lane: it returns with the last batch that views it."""
        lane = self._lanes[i]
        with self.engine.changed:
            lane.current = k + 1
            # The loader may have been closed meanwhile.
            lane.blocks.pop(k, None)
        self.wake()

    def force(self, i: int) -> None:
        """Start a lane's next block even if memory has to be added for it."""
        lane = self._lanes[i]
        if self._is_wanted(lane):
            with self.engine.changed:
                self._force(lane)

    def wake(self) -> None:
        """Go on where memory came back. Takes no lock: safe at any point."""
        if not self._is_waking:
            self._is_waking = True
            self.engine.put(self._advance_all)

    # ------------------------------------------------------------------ under the engine's lock

    def _wait(self, lane: _LaneFill, k: int) -> _Block:
        started = time.perf_counter()
        try:
            while True:
                if self.engine.error is not None:
                    raise self.engine.error
                if not self.engine.is_usable:
                    raise RuntimeError("the loader was closed while a batch was waited for")
                block = lane.blocks.get(k)
                if block is None:
                    self._force(lane)
                elif not block.num_pending:
                    return block
                self.engine.changed.wait(_WAIT_SECONDS)
        finally:
            self.wait_seconds += time.perf_counter() - started

    @property
    def _has_started_all(self) -> bool:
        return all(lane.next == lane.num_blocks for lane in self._lanes)

    @property
    def _num_used(self) -> int:
        """Blocks that are filled or consumed; what else is lent, the consumer keeps."""
        behind = 0 if self.follower is None else self.follower._num_used
        return sum(len(lane.blocks) for lane in self._lanes) + behind

    def _is_wanted(self, lane: _LaneFill) -> bool:
        """Return whether the lane's next block is to be started now, if there is memory."""
        predecessor = self._predecessor
        if predecessor is not None and not predecessor._has_started_all:
            return False
        return lane.next < min(lane.current + self._depth, lane.num_blocks)

    def _force(self, lane: _LaneFill) -> None:
        if self._is_wanted(lane) and not lane.is_forced:
            lane.is_forced = True
            self.wake()

    def _advance(self, lane: _LaneFill) -> None:
        """Start the lane's next block if it is planned, wanted and has memory."""
        tasks = lane.tasks
        if tasks is None or not self._is_wanted(lane):
            return
        if not lane.is_forced and not all(pool.has_room for pool in self._pools):
            return
        first = lane.bounds[lane.next]
        num_samples = lane.bounds[lane.next + 1] - first
        arrays = BlockArrays(self._layout, self._pools, num_samples)
        position = lane_position(lane.lane, first)
        block = _Block(arrays, len(tasks), DrawOrigin(self.plan.seed, self.plan.epoch, position))
        lane.blocks[lane.next] = block
        lane.tasks = None
        lane.is_forced = False
        lane.next += 1
        for task in tasks:
            self.engine.put(partial(self._read, block, task))
        if lane.next < lane.num_blocks:
            # Behind the reads: one thread plans while others still read.
            self.engine.put(partial(self._plan_next, lane))

    # ------------------------------------------------------------------ jobs

    def _advance_all(self, reader: UnitReader) -> None:
        self._is_waking = False
        with self.engine.changed:
            for lane in self._lanes:
                self._advance(lane)
        if self.follower is not None:
            self.follower._advance_all(reader)
        if self._predecessor is None:
            # Blocks are lent under this lock.
            with self.engine.changed:
                for pool in self._pools:
                    pool.trim(num_used=self._num_used)

    def _plan_next(self, lane: _LaneFill, reader: UnitReader) -> None:
        tasks = self._plan_block(lane, lane.next)
        with self.engine.changed:
            lane.tasks = tasks
            self._advance(lane)

    def _plan_block(self, lane: _LaneFill, k: int) -> list[Task]:
        bounds = lane.window_bounds
        first = k * self._block_windows
        tasks: list[Task] = []
        for w in range(first, min(first + self._block_windows, len(bounds) - 1)):
            offset = bounds[w] - bounds[first]
            window = self.plan.window(lane.lane, w)
            if offset:
                window = [Task(chunk, samples, dest + offset) for chunk, samples, dest in window]
            tasks += window
        # Ascending: units that share a chunk of another array come together, and a disk's head
        # moves in one direction.
        tasks.sort(key=attrgetter("chunk"))
        return tasks

    def _read(self, block: _Block, task: Task, reader: UnitReader) -> None:
        is_damaged = False
        try:
            reader.read_into(
                task, block.arrays, origin=block.origin, is_consecutive=not self.plan.shuffle
            )
        except CorruptionError as error:
            if self._skips is None:
                raise
            self._skips.add(error, *self._layout.unit_samples(task.chunk))
            is_damaged = True
        with self.engine.changed:
            if is_damaged:
                block.arrays.skip(task.dest)
            block.num_pending -= 1
            if not block.num_pending:
                self.engine.changed.notify_all()
