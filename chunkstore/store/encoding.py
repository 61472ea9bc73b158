"""How are chunks encoded on all cores and written in order, with bounded memory?

The caller submits chunks; threads encode them. The thread whose chunk is next in the file writes
it and those behind it that are ready, so no thread only writes and the file's bytes do not depend
on timing. The number of chunks in flight is fixed, so a caller that is faster than the disk waits.
"""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chunkstore.container.checksum import crc32

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from chunkstore.container.writer import ContainerWriter
    from chunkstore.format.codecs import CodecChain


@dataclass(frozen=True)
class EncodedEntry:
    """A chunk as it is stored.

    Attributes
    ----------
    key
        Entry name.
    encoded, crc
        Its bytes and their CRC-32.
    written
        Called with ``(offset, encoded_nbytes, crc)`` once it is in the file, in order.
    """

    key: str
    encoded: memoryview
    crc: int
    written: Callable[[int, int, int], None]


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
    Threads: `reserve`, `submit`, `drain` and `close` are for one thread. The first error of any
    chunk is raised by every later call. That thread may be interrupted (Ctrl-C) at any moment:
    it waits at queues only, because an interrupt can leave a semaphore or condition locked.
    """

    def __init__(self, container: ContainerWriter, *, threads: int) -> None:
        self._container = container
        self._num_threads = threads
        self._threads: list[threading.Thread] = []
        self._tasks: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        # One token for each chunk that may still be submitted.
        self._slots: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._num_slots = threads * _CHUNKS_A_THREAD
        for _ in range(self._num_slots):
            self._slots.put(None)
        self._num_reserved = 0
        self._take_lock = threading.Lock()
        self._num_taken = 0
        self._write_lock = threading.Lock()
        self._num_written = 0
        self._is_writing = False
        self._ready: dict[int, tuple[_Task, Any, int]] = {}
        self._error: BaseException | None = None

    def limit_threads(self, threads: int) -> None:
        """Have at most so many threads, and as many fewer chunks in flight; before the first chunk.

        Parameters
        ----------
        threads
            1 or more.

        Raises
        ------
        ValueError
            The threads are at work already, or fewer than one are wanted.
        """
        if threads < 1 or self._threads:
            raise ValueError(
                f"threads must be at least 1 and said before the first chunk, got {threads} with "
                f"{len(self._threads)} at work"
            )
        self._num_threads = min(self._num_threads, threads)
        while self._num_slots > self._num_threads * _CHUNKS_A_THREAD:
            self._slots.get()
            self._num_slots -= 1

    def reserve(self, count: int) -> None:
        """Wait until the next ``count`` chunks can be submitted without waiting.

        What interrupts a caller does it while it waits: here it has not changed anything yet.
        More than all slots are never reserved; `submit` waits for the rest.
        """
        while self._num_reserved < min(count, self._num_slots):
            self._slots.get()
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
        self.reserve(1)
        self._start_threads()
        self._num_reserved -= 1
        self._tasks.put(_Task(key, chunk, codecs, written, done))

    def submit_encoded(self, entries: Sequence[EncodedEntry], done: Callable[[], None]) -> None:
        """Write chunks that are encoded already, one behind the other, in their turn.

        Parameters
        ----------
        entries
            Their memory must not change until ``done`` is called.
        done
            Called as soon as they are in the file, or given up after an error.
        """
        self.reserve(1)
        self._start_threads()
        self._num_reserved -= 1
        self._tasks.put(_Task(entries=entries, written_all=done))

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
        """Return when everything submitted is in the file, or given up after the first error."""
        if self._threads:
            reached: queue.SimpleQueue[None] = queue.SimpleQueue()
            self._tasks.put(_Task(reached=reached))
            reached.get()

    @property
    def has_failed(self) -> bool:
        """Whether encoding or writing failed: then nothing more is written."""
        return self._error is not None

    def close(self) -> None:
        """End the threads, when they are through with what was submitted. Again is allowed."""
        # Each thread passes it on to the next.
        self._tasks.put(None)
        while self._threads:
            self._threads[-1].join()
            self._threads.pop()

    def _start_threads(self) -> None:
        while len(self._threads) < self._num_threads:
            name = f"chunkstore-encode-{len(self._threads)}"
            thread = threading.Thread(target=self._work, name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        while True:
            with self._take_lock:
                task = self._tasks.get()
                number = self._num_taken
                self._num_taken += 1
            if task is None:
                self._tasks.put(None)
                return
            encoded: Any = None
            crc = 0
            if self._error is None and task.codecs is not None:
                try:
                    encoded = task.codecs.encode(task.chunk)
                    crc = crc32(encoded)
                except BaseException as error:  # noqa: BLE001 - raised in the caller's thread
                    self._error = self._error or error
            if task.done is not None:
                task.done(task.chunk)
            task.chunk = None
            with self._write_lock:
                self._ready[number] = (task, encoded, crc)
            del task, encoded
            self._write_ready()

    def _write_ready(self) -> None:
        """Write the chunks that are next, unless another thread is at it."""
        while True:
            with self._write_lock:
                if self._is_writing or self._num_written not in self._ready:
                    return
                task, encoded, crc = self._ready.pop(self._num_written)
                self._is_writing = True
            try:
                if self._error is None and task.entries:
                    self._write_entries(task.entries)
                elif self._error is None and task.written is not None:
                    offset = self._container.append_entry(task.key.encode("ascii"), encoded, crc)
                    task.written(offset, memoryview(encoded).nbytes, crc)
            except BaseException as error:  # noqa: BLE001 - raised in the caller's thread
                self._error = self._error or error
            finally:
                del encoded
                if task.written_all is not None:
                    task.written_all()
                with self._write_lock:
                    self._is_writing = False
                    self._num_written += 1
                if task.reached is None:
                    self._slots.put(None)
                else:
                    task.reached.put(None)

    def _write_entries(self, entries: Sequence[EncodedEntry]) -> None:
        offsets = self._container.append_entries(
            [(entry.key.encode("ascii"), entry.encoded, entry.crc) for entry in entries]
        )
        for entry, offset in zip(entries, offsets, strict=True):
            entry.written(offset, entry.encoded.nbytes, entry.crc)


@dataclass
class _Task:
    """A chunk to encode and write, or encoded ones to write.

    With ``reached`` it is a mark that tells when it is its turn.
    """

    key: str = ""
    chunk: Any = None
    codecs: CodecChain | None = None
    written: Callable[[int, int, int], None] | None = None
    done: Callable[[NDArray[Any]], None] | None = None
    reached: queue.SimpleQueue[None] | None = None
    entries: Sequence[EncodedEntry] = ()
    written_all: Callable[[], None] | None = None
