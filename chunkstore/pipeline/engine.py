"""Which threads read, and how do they end?

The threads hold the engine and nothing above it, so a loader or iterator that nobody uses any more
can be collected while they run. They end by `stop` (at once, from anywhere), `close` (and wait),
on the first error, and with the interpreter.
"""

from __future__ import annotations

import atexit
import os
import queue
import threading
import weakref
from typing import TYPE_CHECKING, Final

from chunkstore.pipeline.stats import LoaderStats

if TYPE_CHECKING:
    from collections.abc import Callable

    from chunkstore.pipeline.unit import UnitReader

# At the interpreter's end a thread that hangs in a system call is left behind after this time.
_EXIT_SECONDS: Final = 5.0


class Engine:
    """Threads that serve one queue of jobs, and the first error that one of them met.

    Parameters
    ----------
    open_reader
        Called in each thread: makes its reader.
    threads
        How many threads serve.

    Attributes
    ----------
    changed
        Condition, and the lock, of everything that the threads and the consumer share. The threads
        notify it when a window is full and on an error.
    error
        The first error, or None.
    is_stopping
        Whether no more jobs are done.
    pid
        The process whose threads these are: a forked child has none of them.

    Notes
    -----
    The threads are daemons, so that the interpreter does not wait for them before it runs the exit
    functions, one of which ends and joins them.
    """

    def __init__(self, open_reader: Callable[[], UnitReader], *, threads: int) -> None:
        self.changed = threading.Condition(threading.Lock())
        self.error: BaseException | None = None
        self.is_stopping = False
        self.pid = os.getpid()
        self._open_reader = open_reader
        self._jobs: queue.SimpleQueue[Callable[[UnitReader], None] | None] = queue.SimpleQueue()
        self._readers: list[UnitReader] = []
        self._done = LoaderStats()
        self._num_serving = threads
        self._threads = [
            threading.Thread(target=self._serve, name=f"chunkstore-reader-{i}", daemon=True)
            for i in range(threads)
        ]
        _live.add(self)
        try:
            for thread in self._threads:
                thread.start()
        except BaseException:
            self.close()
            raise

    @property
    def is_usable(self) -> bool:
        """Whether the threads serve jobs, here in this process."""
        return not self.is_stopping and self.pid == os.getpid()

    def put(self, job: Callable[[UnitReader], None]) -> None:
        """Have a thread do a job, after those put before. Takes no lock: safe at any point."""
        self._jobs.put(job)

    def stop(self) -> None:
        """End the threads after the chunks they are at. Takes no lock: safe at any point."""
        self.is_stopping = True
        for _ in self._threads:
            self._jobs.put(None)

    def close(self, timeout: float | None = None) -> None:
        """End the threads, wait for them and drop the jobs that are left; again is allowed."""
        self.stop()
        if self.pid != os.getpid():
            return
        with self.changed:
            self.changed.notify_all()
        for thread in self._threads:
            if thread is not threading.current_thread() and thread.ident is not None:
                thread.join(timeout)
        self._drop_jobs()
        # An interrupt may have come while a thread was started, which is not joined then: it finds
        # what ends it whenever it looks.
        for _ in self._threads:
            self._jobs.put(None)

    def fail(self, error: BaseException) -> None:
        """Keep the first error for the consumer and end the threads.

        A StopIteration would end the consumer's loop as if the epoch had ended, so it reaches the
        consumer as the cause of a RuntimeError, as PEP 479 does for generators.
        """
        if isinstance(error, StopIteration | GeneratorExit):
            cause = error
            error = RuntimeError(
                f"a source or transform raised {type(cause).__name__} while samples were loaded; "
                "the epoch has not ended"
            )
            error.__cause__ = cause
        with self.changed:
            if self.error is None:
                self.error = error
            self.is_stopping = True
            self.changed.notify_all()
        self.stop()

    def stats(self) -> LoaderStats:
        """Return what the threads have done so far."""
        with self.changed:
            return sum((LoaderStats.of_reader(reader) for reader in self._readers), self._done)

    def _serve(self) -> None:
        try:
            reader = self._open_reader()
            try:
                self._serve_jobs(reader)
            finally:
                reader.close()
        except BaseException as error:  # noqa: BLE001 - raised in the consumer's thread
            self.fail(error)
        with self.changed:
            self._num_serving -= 1
            is_last = not self._num_serving
        if is_last:
            # Jobs hold memory, and this engine holds them.
            self._drop_jobs()

    def _serve_jobs(self, reader: UnitReader) -> None:
        with self.changed:
            self._readers.append(reader)
        try:
            while True:
                job = self._jobs.get()
                if job is None or self.is_stopping:
                    return
                job(reader)
                # A job holds its window: while this thread waits, it must not.
                del job
        finally:
            with self.changed:
                self._readers.remove(reader)
                self._done += LoaderStats.of_reader(reader)

    def _drop_jobs(self) -> None:
        while True:
            try:
                self._jobs.get_nowait()
            except queue.Empty:
                return


_live: weakref.WeakSet[Engine] = weakref.WeakSet()


@atexit.register
def _end_all_threads() -> None:
    for engine in list(_live):
        engine.close(_EXIT_SECONDS)
