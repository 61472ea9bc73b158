"""How are chunks encoded on all cores and written in order, with bounded memory?

The caller submits chunks; threads encode them. The thread whose chunk is next in the file writes
it and those behind it that are ready, so no thread only writes and the file's bytes do not depend
on timing. The number of chunks in flight is fixed, so a caller that is faster than the disk waits.
"""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Any

from chunkstore.container.checksum import crc32

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from chunkstore.container.writer import ContainerWriter
    from chunkstore.format.codecs import CodecChain

# Chunks in flight for each thread: one in work, one ready to start, one waiting to be written.
_CHUNKS_A_THREAD = 3


class ChunkPipeline:
    """Encodes submitted chunks in threads and writes them in the order of submission.

    Parameters
    ----------
    container
        Where the entries go.
    threads
        How many threads encode.

    Notes
    -----
    Threads: `submit`, `drain` and `close` are for one thread. The first error of any chunk is
    raised by every later call.
    """

    def __init__(self, container: ContainerWriter, *, threads: int) -> None:
        self._container = container
        self._tasks: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._slots = threading.BoundedSemaphore(threads * _CHUNKS_A_THREAD)
        self._num_slots = threads * _CHUNKS_A_THREAD
        self._num_reserved = 0
        self._lock = threading.Lock()
        self._idle = threading.Condition(self._lock)
        self._submitted = 0
        self._written = 0
        self._is_writing = False
        self._ready: dict[int, tuple[Any, ...]] = {}
        self._error: BaseException | None = None
        self._threads = [
            threading.Thread(target=self._work, name=f"chunkstore-encode-{i}", daemon=True)
            for i in range(threads)
        ]
        self._started = False

    def reserve(self, count: int) -> None:
        """Wait until the next ``count`` chunks can be submitted without waiting.

        An interrupt (Ctrl-C) arrives while a caller waits. Here it has not changed anything yet.
        More than all places are never reserved: then `submit` waits for the rest.
        """
        while self._num_reserved < min(count, self._num_slots):
            self._slots.acquire()
            self._num_reserved += 1
        self._raise()

    def submit(
        self,
        key: str,
        chunk: NDArray[Any],
        codecs: CodecChain,
        written: Callable[[int, int, int], None],
        done: Callable[[NDArray[Any]], None] | None = None,
    ) -> None:
        """Encode and write a chunk; waits while too many are in flight.

        Parameters
        ----------
        key
            Entry name.
        chunk
            Full chunk, C-contiguous. Must not change until ``done`` is called.
        codecs
            Encodes it.
        written
            Called with ``(offset, encoded_nbytes, crc)`` once it is in the file, in order.
        done
            Called with ``chunk`` as soon as it is encoded.
        """
        if self._num_reserved:
            self._num_reserved -= 1
        else:
            self._slots.acquire()
        if self._error is not None:
            self._slots.release()
            self._raise()
        if not self._started:
            self._started = True
            for thread in self._threads:
                thread.start()
        number = self._submitted
        self._submitted += 1
        self._tasks.put((number, key, chunk, codecs, written, done))

    def drain(self) -> None:
        """Return when everything submitted is in the file.

        Raises
        ------
        ChunkStoreError
            Encoding or writing failed.
        """
        self.settle()
        self._raise()

    def settle(self) -> None:
        """Return when everything submitted is in the file, or after the first error."""
        with self._idle:
            while self._written < self._submitted and self._error is None:
                self._idle.wait()

    @property
    def has_failed(self) -> bool:
        """Whether encoding or writing failed: then nothing more is written."""
        return self._error is not None

    def close(self) -> None:
        """End the threads; chunks that are not written yet are dropped. Again is allowed."""
        if self._started:
            for _ in self._threads:
                self._tasks.put(None)
            for thread in self._threads:
                thread.join()
            self._started = False

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        while True:
            task = self._tasks.get()
            if task is None:
                return
            number, key, chunk, codecs, written, done = task
            encoded: Any = None
            crc = 0
            if self._error is None:
                try:
                    encoded = codecs.encode(chunk)
                    crc = crc32(encoded)
                except BaseException as error:  # noqa: BLE001 - raised in the caller's thread
                    self._fail(error)
            if done is not None:
                done(chunk)
            del chunk, task
            with self._lock:
                self._ready[number] = (key, encoded, crc, written)
            self._write_ready()

    def _write_ready(self) -> None:
        """Write the chunks that are next, unless another thread is at it."""
        while True:
            with self._lock:
                if self._is_writing or self._written not in self._ready:
                    return
                key, encoded, crc, written = self._ready.pop(self._written)
                self._is_writing = True
            try:
                if self._error is None:
                    offset = self._container.append_entry(key.encode("ascii"), encoded, crc)
                    written(offset, memoryview(encoded).nbytes, crc)
            except BaseException as error:  # noqa: BLE001 - raised in the caller's thread
                self._fail(error)
            finally:
                del encoded
                with self._idle:
                    self._is_writing = False
                    self._written += 1
                    self._idle.notify_all()
                self._slots.release()

    def _fail(self, error: BaseException) -> None:
        with self._idle:
            if self._error is None:
                self._error = error
            self._idle.notify_all()
