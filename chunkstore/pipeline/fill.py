"""Which window is filled when?

A lane has a few windows alive at a time: one that is consumed, the others filled ahead. The next
one starts as soon as memory comes back from the consumer. A consumer that keeps its batches is
never waited for: after a few batches more, a window gets memory beyond the budget.
"""

from __future__ import annotations

import time
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from chunkstore.pipeline.unit import UnitReader, WindowArrays

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chunkstore.pipeline.engine import Engine
    from chunkstore.pipeline.layout import SampleLayout
    from chunkstore.pipeline.window import BlockPool
    from chunkstore.plan.epoch import EpochPlan, Task

# A wait without end cannot be interrupted on every system.
_WAIT_SECONDS: Final = 1.0


class _Window:
    """A window being filled, or full."""

    __slots__ = ("arrays", "num_pending")

    def __init__(self, arrays: WindowArrays, num_pending: int) -> None:
        self.arrays = arrays
        self.num_pending = num_pending


class _LaneFill:
    """The windows of one lane: ``next`` is to be started, ``current`` is consumed."""

    __slots__ = ("bounds", "current", "is_forced", "lane", "next", "tasks", "windows")

    def __init__(self, lane: int, bounds: list[int], first: int) -> None:
        self.lane = lane
        self.bounds = bounds
        self.next = self.current = first
        self.tasks: list[Task] | None = None
        self.is_forced = False
        self.windows: dict[int, _Window] = {}

    @property
    def num_windows(self) -> int:
        return len(self.bounds) - 1


class EpochFill:
    """Fills the windows of one epoch ahead of its consumer.

    Parameters
    ----------
    engine
        The threads that do it.
    plan
        The epoch.
    lanes
        The lanes wanted, indices into the plan.
    positions
        For each of them, the position in what the lane delivers from which on it is wanted.
    layout
        What a window holds.
    pools
        Memory for each array of a window.
    depth
        Windows of a lane alive at a time.

    Attributes
    ----------
    follower
        The fill of the next epoch, which takes the memory that this one leaves.
    wait_seconds
        How long the consumer waited.

    Notes
    -----
    Threads: one consumer calls `start`, `window` and `force`. What it shares with the engine's
    threads is under the engine's lock.
    """

    def __init__(
        self,
        engine: Engine,
        plan: EpochPlan,
        *,
        lanes: Sequence[int],
        positions: Sequence[int],
        layout: SampleLayout,
        pools: Sequence[BlockPool],
        depth: int,
    ) -> None:
        self.engine = engine
        self.plan = plan
        self.follower: EpochFill | None = None
        self.wait_seconds = 0.0
        self._layout = layout
        self._pools = pools
        self._depth = depth
        self._lanes = []
        for lane, position in zip(lanes, positions, strict=True):
            bounds = plan.window_bounds(lane).tolist()
            first = sum(bound <= position for bound in bounds[1:])
            self._lanes.append(_LaneFill(lane, bounds, first))

    def start(self) -> None:
        """Start filling the first windows."""
        for lane in self._lanes:
            if lane.next < lane.num_windows:
                self.engine.put(partial(self._plan_next, lane))

    def watch(self) -> None:
        """Go on whenever a window's memory comes back."""
        for pool in self._pools:
            pool.on_return = partial(self.engine.put, self._advance_all)

    @property
    def num_lanes(self) -> int:
        """Lanes that are filled."""
        return len(self._lanes)

    def first_window(self, i: int) -> int:
        """Return the first window wanted of the ``i``-th lane."""
        return self._lanes[i].current

    def bounds(self, i: int) -> list[int]:
        """Return the bounds of the windows of the ``i``-th lane, see `EpochPlan.window_bounds`."""
        return self._lanes[i].bounds

    def length(self, i: int) -> int:
        """Return the samples that the ``i``-th lane delivers, padding included."""
        return self.plan.lane_length(self._lanes[i].lane)

    def num_samples(self, i: int) -> int:
        """Return the samples that the ``i``-th lane holds."""
        return self.plan.lanes[self._lanes[i].lane].num_samples

    def window(self, i: int, w: int) -> WindowArrays:
        """Return a full window, waiting for it. The windows before it are given up.

        Parameters
        ----------
        i
            Index into the lanes of this fill.
        w
            Index of the window in the lane.

        Raises
        ------
        BaseException
            The first error that a thread met.
        RuntimeError
            If the threads were ended meanwhile.
        """
        lane, engine = self._lanes[i], self.engine
        with engine.changed:
            lane.current = w
            for passed in [index for index in lane.windows if index < w]:
                del lane.windows[passed]
            engine.put(self._advance_all)
            window = lane.windows.get(w)
            if window is None or window.num_pending:
                window = self._wait(lane, w)
        return window.arrays

    def force(self, i: int) -> None:
        """Start the lane's next window even if its memory has to be added."""
        lane = self._lanes[i]
        if lane.next < min(lane.current + self._depth, lane.num_windows) and not lane.is_forced:
            lane.is_forced = True
            self.engine.put(self._advance_all)

    # ------------------------------------------------------------------ under the engine's lock

    def _wait(self, lane: _LaneFill, w: int) -> _Window:
        started = time.perf_counter()
        try:
            while True:
                if self.engine.error is not None:
                    raise self.engine.error
                if not self.engine.is_usable:
                    raise RuntimeError("the loader was closed while a batch was waited for")
                window = lane.windows.get(w)
                if window is None:
                    self.force(self._lanes.index(lane))
                elif not window.num_pending:
                    return window
                self.engine.changed.wait(_WAIT_SECONDS)
        finally:
            self.wait_seconds += time.perf_counter() - started

    def _advance(self, lane: _LaneFill) -> None:
        """Start the lane's next window if it is planned, wanted and has memory."""
        tasks = lane.tasks
        if tasks is None or lane.next >= lane.current + self._depth:
            return
        if not lane.is_forced and not all(pool.has_room for pool in self._pools):
            return
        w = lane.next
        num_samples = lane.bounds[w + 1] - lane.bounds[w]
        nbytes = [num_samples * array.sample_nbytes for array in self._layout.arrays]
        if self._layout.has_index:
            nbytes.append(num_samples * 8)
        leases = [pool.lease(n) for pool, n in zip(self._pools, nbytes, strict=True)]
        window = _Window(WindowArrays(self._layout, leases, num_samples), len(tasks))
        lane.windows[w] = window
        lane.tasks = None
        lane.is_forced = False
        lane.next += 1
        for task in tasks:
            self.engine.put(partial(self._read, window, task))
        if lane.next < lane.num_windows:
            # Behind the reads: a thread plans while others still read.
            self.engine.put(partial(self._plan_next, lane))

    # ------------------------------------------------------------------ jobs

    def _advance_all(self, reader: UnitReader) -> None:
        with self.engine.changed:
            for lane in self._lanes:
                self._advance(lane)
        for pool in self._pools:
            pool.trim()
        if self.follower is not None:
            self.follower._advance_all(reader)

    def _plan_next(self, lane: _LaneFill, reader: UnitReader) -> None:
        # Ascending: units that share a chunk of another array come together, and a disk's head
        # moves on.
        tasks = sorted(self.plan.window(lane.lane, lane.next), key=attrgetter("chunk"))
        with self.engine.changed:
            lane.tasks = tasks
            self._advance(lane)

    def _read(self, window: _Window, task: Task, reader: UnitReader) -> None:
        reader.read_into(task, window.arrays, is_consecutive=not self.plan.shuffle)
        with self.engine.changed:
            window.num_pending -= 1
            if not window.num_pending:
                self.engine.changed.notify_all()
