"""How fast are several threads together at the same work?"""

from __future__ import annotations

import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from chunkstore.tuning.interrupts import check_interrupt

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType


class Deadline:
    """A moment until which a stage may go on.

    Parameters
    ----------
    seconds
        From now.
    """

    def __init__(self, seconds: float) -> None:
        self._stop = time.perf_counter() + seconds

    @property
    def seconds(self) -> float:
        """What is left, at least 0."""
        return max(0.0, self._stop - time.perf_counter())

    @property
    def is_over(self) -> bool:
        """Whether nothing is left."""
        return self.seconds == 0


class Crew:
    """Threads that measure; to be used in a ``with`` block.

    Parameters
    ----------
    threads
        How many.
    clock
        Seconds; a clock of processor time tells what the work costs while others use the machine.

    Notes
    -----
    Threads: for one caller. If it is interrupted, the threads end behind their present item.
    """

    def __init__(self, threads: int, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self.threads = threads
        self._clock = clock
        self._pool = ThreadPoolExecutor(threads, "chunkstore-tune")
        self._is_over = threading.Event()

    def time(
        self, work: Callable[[int, int], None], count: int, *, least_seconds: float
    ) -> tuple[int, float]:
        """Do the items ``0 .. count - 1`` at least once, and again until some time has passed.

        Parameters
        ----------
        work
            Called with the number of the thread and of the item.
        count
            Of the items.
        least_seconds
            0 does each item once.

        Returns
        -------
        num_done, seconds
            Items that were done, repeated ones included, and how long it took.
        """
        check_interrupt()
        numbers = itertools.count()
        clock = self._clock
        started = clock()

        def run(thread: int) -> int:
            done = 0
            try:
                while not self._is_over.is_set():
                    number = next(numbers)
                    if number >= count and clock() - started >= least_seconds:
                        break
                    work(thread, number % count)
                    done += 1
            except BaseException:
                self._is_over.set()
                raise
            return done

        futures = [self._pool.submit(run, thread) for thread in range(self.threads)]
        try:
            num_done = sum(future.result() for future in futures)
        except BaseException:
            self._is_over.set()
            raise
        seconds = clock() - started
        check_interrupt()
        return num_done, seconds

    def __enter__(self) -> Crew:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._is_over.set()
        self._pool.shutdown()
