"""Whose is the memory of a batch?

A block of memory has one owner at a time: the pool, the threads that fill it, the consumer, the
pool. The consumer may keep a batch for ever, so a block returns only when nothing views it any
more.
"""

from __future__ import annotations

import contextlib
import math
import mmap
import threading
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from chunkstore import system

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


# Smaller arrays are not worth a block.
_LEAST_LEASE_NBYTES: Final = 4096


class BlockPool:
    """Blocks of memory of one size that are lent out and come back by themselves.

    Parameters
    ----------
    nbytes
        Size of a block.
    limit
        Blocks that the pool may own without being forced to. Those above it are given to the system
        by `trim`.

    Attributes
    ----------
    on_return
        Called without arguments when a block has returned, from whichever thread dropped its last
        view and at any point of the code there: it must not take a lock.

    Notes
    -----
    Threads: all methods may be called from any thread; `lease` and `trim` take the pool's lock.
    Blocks return without it, because the garbage collector may drop a view while a lock is held.
    """

    def __init__(self, nbytes: int, *, limit: int) -> None:
        self.nbytes = nbytes
        self.limit = limit
        self.on_return: Callable[[], None] | None = None
        self._free: deque[memoryview] = deque()
        self._num_blocks = 0
        self._lock = threading.Lock()
        self._is_closed = False

    @property
    def num_blocks(self) -> int:
        """Blocks that the pool owns, free ones and lent ones."""
        return self._num_blocks

    @property
    def num_leased(self) -> int:
        """Blocks that something still views."""
        return self._num_blocks - len(self._free)

    @property
    def has_room(self) -> bool:
        """Whether a lease needs no block above the limit."""
        return bool(self._free) or self._num_blocks < self.limit

    def lease(self, nbytes: int) -> NDArray[np.uint8]:
        """Lend a block; one above the limit is made where none is free.

        Parameters
        ----------
        nbytes
            Bytes wanted, at most the size of a block.

        Returns
        -------
        lease
            Shape ``(nbytes,)``, on page boundaries, of unspecified content. The block returns to
            the pool when this array and all views of it are gone.
        """
        with self._lock:
            try:
                block = self._free.popleft()
            except IndexError:
                block = _make_block(self.nbytes)
                self._num_blocks += 1
        # The array must not own its memory: NumPy would make the owner, not the lease, the base of
        # further views, and the block would return while they live.
        lease = np.frombuffer(block, np.uint8, count=nbytes)
        weakref.finalize(lease, self._give_back, block).atexit = False
        return lease

    def lease_array(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Lend a block as an array of some shape, of unspecified content; see `lease`."""
        nbytes = math.prod(shape) * dtype.itemsize
        if nbytes < _LEAST_LEASE_NBYTES:
            return np.empty(shape, dtype)
        return self.lease(nbytes).view(dtype).reshape(shape)

    def trim(self, *, num_used: int | None = None) -> None:
        """Give free blocks above the limit back to the system.

        Parameters
        ----------
        num_used
            Lent blocks that the pool's owner works with. What else is lent stands beside the limit:
            a consumer that keeps one batch would otherwise have a block be made anew, page by page,
            for each one that returns. None takes all.
        """
        with self._lock:
            self._trim(0 if num_used is None else max(0, self.num_leased - num_used))

    def _trim(self, num_kept: int) -> None:
        while self._num_blocks - num_kept > self.limit and self._free:
            self._free.pop()
            self._num_blocks -= 1

    def close(self) -> None:
        """Give up all free blocks, and the lent ones as they return."""
        self.on_return = None
        self.limit = 0
        self.trim()
        self._is_closed = True

    def _give_back(self, block: memoryview) -> None:
        if self._is_closed:
            return
        self._free.append(block)
        on_return = self.on_return
        if on_return is not None:
            on_return()
        # Nobody else trims while no epoch runs. The lock may be held by the very code below this.
        elif self._lock.acquire(blocking=False):
            try:
                self._trim(0)
            finally:
                self._lock.release()


def _make_block(nbytes: int) -> memoryview:
    """Return zeroed memory on page boundaries, on huge pages where the system has them."""
    block = system.calls.aligned_buffer(nbytes)
    # Samples are scattered over the whole block: with small pages each is a miss of the page
    # tables.
    if isinstance(block.obj, mmap.mmap) and hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # A kernel without huge pages.
            block.obj.madvise(mmap.MADV_HUGEPAGE)
    return block
