"""What does a loader keep between its epochs: memory, threads, the next epoch's first windows?"""

from __future__ import annotations

import os
import threading
import weakref
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from chunkstore.pipeline.budget import BATCHES_ALIVE
from chunkstore.pipeline.cache import ChunkCache
from chunkstore.pipeline.engine import Engine
from chunkstore.pipeline.fill import EpochFill
from chunkstore.pipeline.pool import BlockPool
from chunkstore.pipeline.stats import LoaderStats
from chunkstore.pipeline.unit import UnitReader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chunkstore.pipeline.budget import Budget
    from chunkstore.pipeline.layout import SampleLayout
    from chunkstore.pipeline.progress import Progress
    from chunkstore.pipeline.skipping import SkipRecord
    from chunkstore.plan.epoch import EpochPlan


class Feed:
    """The memory and the threads of one loader.

    Threads end when they are stopped, when an epoch ends that nothing follows, and when the feed is
    collected: they do not hold it.

    Parameters
    ----------
    layout
        What is read.
    budget
        How much memory and how many threads it may take.
    lanes
        The lanes of this process.
    largest_block
        Most samples of a block.
    batch_length
        Samples that this process gets of a batch.
    direct
        Read past the page cache.
    skips
        Where damage is noted and left out; None makes it an error.

    Notes
    -----
    Threads: the methods take the feed's lock, so that it can be closed while another thread
    consumes. In a forked child, memory and threads are made anew.
    """

    def __init__(
        self,
        layout: SampleLayout,
        budget: Budget,
        *,
        lanes: Sequence[int],
        largest_block: int,
        batch_length: int,
        direct: bool,
        skips: SkipRecord | None = None,
    ) -> None:
        self._layout = layout
        self._budget = budget
        self._lanes = lanes
        self._largest_block = largest_block
        self._batch_length = batch_length
        self._direct = direct
        self.skips = skips
        self._done = LoaderStats()
        self._fill: EpochFill | None = None
        self._is_finished = False
        self._is_closed = False
        self._lock = threading.Lock()
        self._finalizer: weakref.finalize[Any, Any] | None = None
        self._make_memory()

    @property
    def pools(self) -> tuple[BlockPool, ...]:
        """The memory of the blocks: a pool for each array."""
        return self._pools

    @property
    def batch_pools(self) -> tuple[BlockPool, ...]:
        """The memory of batches that are copied: a pool for each array."""
        return self._batch_pools

    def open(self, plan: EpochPlan, step: int) -> EpochFill:
        """Return the blocks of an epoch from a step on; those of any other epoch are given up.

        If that epoch follows on a finished one, its first blocks may be full already.

        Raises
        ------
        RuntimeError
            If the feed is closed.
        """
        with self._exclusive():
            if self._is_closed:
                raise RuntimeError("the loader was closed")
            follower = self._follower(plan.epoch, step)
            if follower is not None:
                self._count_waiting()
                self._fill = fill = follower
                fill.take_over()
            else:
                self._stop()
                self._fill = fill = self._plan_fill(self._start_engine(), plan, step)
                fill.start()
            self._is_finished = False
            for pool in self._pools:
                pool.on_return = fill.wake
            return fill

    def follow(self, fill: EpochFill, plan: EpochPlan) -> None:
        """Fill the first blocks of the next epoch with the memory that this one leaves."""
        with self._exclusive():
            if fill is self._fill and fill.follower is None:
                fill.follower = self._plan_fill(fill.engine, plan, 0, predecessor=fill)
                fill.follower.start()

    def finish(self, fill: EpochFill) -> None:
        """Take note that an epoch's consumer has all of it. Threads without a next epoch end."""
        with self._exclusive():
            if fill is self._fill:
                self._is_finished = True
                if fill.follower is None:
                    self._stop()

    def close(self) -> None:
        """End the threads and give up the memory; blocks that the consumer views stay."""
        with self._exclusive():
            self._is_closed = True
            self._stop()
            for pool in (*self._pools, *self._batch_pools):
                pool.close()
            self._cache.clear()

    def stats(self, progress: Progress) -> LoaderStats:
        """Return what was read and delivered so far."""
        with self._exclusive():
            stats = replace(
                self._done,
                batches=progress.batches,
                samples=progress.samples,
                consumer_seconds=progress.consumer_seconds,
            )
            fill = self._fill
            if fill is not None and fill.engine.pid == os.getpid():
                stats += fill.engine.stats()
                stats = replace(stats, wait_seconds=stats.wait_seconds + fill.wait_seconds)
            if self.skips is not None:
                skipped = self.skips.skipped
                stats = replace(
                    stats,
                    skipped_units=len(skipped),
                    skipped_samples=sum(found.stop - found.start for found in skipped),
                )
            return stats

    def _exclusive(self) -> threading.Lock:
        if self._pid != os.getpid():
            # Another thread of the parent may have held the lock when this process was forked.
            self._lock = threading.Lock()
            if self.skips is not None:
                self.skips.renew_lock()
            self._stop()
            self._make_memory()
        return self._lock

    def _stop(self) -> None:
        """End the threads and wait for them."""
        fill, self._fill = self._fill, None
        if fill is None:
            return
        fill.engine.close()
        if self._finalizer is not None:
            self._finalizer.detach()
        self._done += LoaderStats(wait_seconds=fill.wait_seconds)
        if fill.engine.pid == os.getpid():
            self._done += fill.engine.stats()
            fill.give_up()
        for pool in self._pools:
            pool.on_return = None

    def _start_engine(self) -> Engine:
        open_reader = partial(UnitReader, self._layout, self._cache, direct=self._direct)
        engine = Engine(open_reader, threads=self._budget.threads)
        self._finalizer = weakref.finalize(self, _release, engine, self._pools)
        self._finalizer.atexit = False
        return engine

    def _follower(self, epoch: int, step: int) -> EpochFill | None:
        """Return the fill that was started for an epoch, if it can be used."""
        fill = self._fill
        if fill is None or not self._is_finished or not fill.engine.is_usable:
            return None
        follower = fill.follower
        return follower if follower and step == 0 and follower.plan.epoch == epoch else None

    def _count_waiting(self) -> None:
        if self._fill is not None:
            self._done += LoaderStats(wait_seconds=self._fill.wait_seconds)

    def _plan_fill(
        self,
        engine: Engine,
        plan: EpochPlan,
        step: int,
        *,
        predecessor: EpochFill | None = None,
    ) -> EpochFill:
        return EpochFill(
            engine,
            plan,
            lanes=self._lanes,
            step=step,
            layout=self._layout,
            pools=self._pools,
            block_windows=self._budget.block_windows,
            depth=self._budget.num_blocks,
            skips=self.skips,
            predecessor=predecessor,
        )

    def _make_memory(self) -> None:
        self._pid = os.getpid()
        self._cache = ChunkCache(self._budget.cache_nbytes)
        sample_nbytes = [array.sample_nbytes for array in self._layout.arrays]
        if self._layout.has_index:
            sample_nbytes.append(8)
        limit = self._budget.num_blocks * len(self._lanes)
        self._pools = tuple(
            BlockPool(self._largest_block * nbytes, limit=limit) for nbytes in sample_nbytes
        )
        self._batch_pools = tuple(
            BlockPool(self._batch_length * nbytes, limit=BATCHES_ALIVE) for nbytes in sample_nbytes
        )


def _release(engine: Engine, pools: Sequence[BlockPool]) -> None:
    """End the threads of a feed that was collected, and what would keep its memory."""
    engine.stop()
    for pool in pools:
        pool.on_return = None
