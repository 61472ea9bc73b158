"""What does the consumer of one epoch hold?"""

from __future__ import annotations

import os
import time
import warnings
import weakref
from typing import TYPE_CHECKING, Any, Final, NoReturn

from chunkstore.errors import ChunkStoreWarning
from chunkstore.pipeline.batches import BatchAssembler, LaneCursor

if TYPE_CHECKING:
    from chunkstore.pipeline.feed import Feed
    from chunkstore.pipeline.fill import EpochFill
    from chunkstore.pipeline.progress import Progress
    from chunkstore.pipeline.setup import LoaderSetup

_CLOSED: Final = (
    "the loader was closed, or a newer iterator of it is in use; make one with iter(loader)"
)
_FORKED: Final = "this iterator was made before a fork; make one in this process with iter(loader)"
_FAILED: Final = "an earlier step of this iterator failed; go on with iter_epoch(epoch, step)"


class BatchIterator:
    """The batches of one epoch from a step on, made by ``iter(loader)`` and ``loader.iter_epoch``.

    The first batch that is asked for starts the threads. Dropping the iterator ends them.

    Parameters
    ----------
    feed
        Fills the windows.
    progress
        Where delivered batches are counted.
    setup
        What the loader's arguments came to.
    epoch, step
        Where to begin.

    Notes
    -----
    Threads: one at a time; it need not be the one that made the iterator.
    """

    def __init__(
        self,
        feed: Feed,
        progress: Progress,
        setup: LoaderSetup,
        *,
        epoch: int,
        step: int,
    ) -> None:
        self._feed = feed
        self._progress = progress
        self._setup = setup
        self._epoch = epoch
        self._step = step
        # After one whole epoch others are likely: the next one's first blocks are filled while this
        # one ends.
        self._is_followed = progress.has_finished
        self._mover = object()
        self._pid = os.getpid()
        self._fill: EpochFill | None = None
        self._assembler: BatchAssembler | None = None
        self._finalizer: weakref.finalize[Any, Any] | None = None
        # Why there are no more batches; "" at the epoch's end.
        self._ending: str | None = None
        self._delivered_at: float | None = None
        progress.move_to(epoch, step, mover=self._mover)

    def __iter__(self) -> BatchIterator:
        return self

    def __next__(self) -> Any:
        """Return the next batch.

        Raises
        ------
        StopIteration
            At the epoch's end.
        RuntimeError
            If the loader was closed or has a newer iterator, or this one was made before a fork.
        Exception
            The first error that a reading thread met, with its traceback.
        """
        if self._ending is not None:
            if self._ending:
                raise RuntimeError(self._ending)
            raise StopIteration
        if self._delivered_at is not None:
            self._progress.consumer_seconds += time.perf_counter() - self._delivered_at
            self._delivered_at = None
        self._warn_of_skipped()
        if self._step >= self._setup.num_batches:
            self._finish()
            raise StopIteration
        # Stands if this step does not end: the windows may be ahead of the position then.
        self._ending = _FAILED
        fill = self._fill or self._open()
        assembler = self._assembler
        if assembler is None or not fill.engine.is_usable:
            self._raise_reason(fill)
        try:
            arrays = assembler.next_batch()
            while arrays is None:
                self._step += 1
                self._progress.pass_over(mover=self._mover)
                if self._step >= self._setup.num_batches:
                    break
                arrays = assembler.next_batch()
        except BaseException:
            self._give_up()
            raise
        if arrays is None:
            # The epoch ended with batches of which nothing was left.
            self._finish()
            self._warn_of_skipped()
            raise StopIteration
        self._step += 1
        self._progress.deliver(len(arrays[0]), mover=self._mover)
        if self._is_followed and assembler.is_in_last_block:
            self._is_followed = False
            self._feed.follow(fill, self._setup.plan_epoch(self._epoch + 1))
        self._ending = None
        batch = self._setup.structure.build(arrays)
        self._delivered_at = time.perf_counter()
        return batch

    def _open(self) -> EpochFill:
        if self._pid != os.getpid():
            self._ending = _FORKED
            raise RuntimeError(_FORKED)
        self._fill = fill = self._feed.open(self._setup.plan_epoch(self._epoch), self._step)
        self._finalizer = weakref.finalize(self, fill.engine.stop)
        self._finalizer.atexit = False
        fill.consumer = weakref.WeakMethod(self._let_go)
        self._assembler = BatchAssembler(
            [LaneCursor(fill, i, step=self._step) for i in range(fill.num_lanes)],
            empty_batch=self._setup.empty_arrays(),
            pools=self._feed.batch_pools,
            has_valid=self._setup.has_valid,
            fills=self._setup.last != "keep",
            skips=self._feed.skips,
        )
        return fill

    def _warn_of_skipped(self) -> None:
        """Tell the consumer what the threads have skipped since the last step."""
        skips = self._feed.skips
        while skips is not None and (found := skips.take_new()) is not None:
            warnings.warn(str(found), ChunkStoreWarning, stacklevel=3)

    def _finish(self) -> None:
        self._ending = ""
        if self._finalizer is not None:
            self._finalizer.detach()
        self._assembler = None
        fill, self._fill = self._fill, None
        if fill is not None:
            self._feed.finish(fill)
        self._progress.finish(mover=self._mover)

    def _give_up(self) -> None:
        """Drop the blocks and end the threads; after an error of theirs they are waited for."""
        self._assembler = None
        fill, self._fill = self._fill, None
        if fill is not None and fill.engine.error is not None:
            fill.engine.close()
            # The error holds the frames of its thread, and they hold the engine.
            fill.engine.error = None
        elif fill is not None:
            # Closed by another thread, or interrupted by a person: neither wants to wait here.
            fill.engine.stop()

    def _let_go(self) -> None:
        """Drop the blocks that are consumed: nobody takes more of them.

        Threads: any; a batch that is being made in another one is made to its end.
        """
        self._assembler = None

    def _raise_reason(self, fill: EpochFill) -> NoReturn:
        engine = fill.engine
        if engine.pid != os.getpid():
            self._ending = _FORKED
            raise RuntimeError(_FORKED)
        error = engine.error
        self._give_up()
        if error is not None:
            try:
                raise error
            finally:
                # The error's traceback holds this frame.
                del error
        self._ending = _CLOSED
        raise RuntimeError(_CLOSED)
