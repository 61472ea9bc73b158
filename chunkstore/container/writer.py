"""How does a container grow without ever putting at risk what it holds?

Entries go behind everything that is there; a checkpoint is a whole new directory behind them. The
device has the entries before the directory that names them is written, and the directory before
the checkpoint is reported. The last good directory is never overwritten, so a crash at any moment
leaves it in force.
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING

from chunkstore import system
from chunkstore.container import layout
from chunkstore.errors import (
    ChunkStoreError,
    LockedError,
    MissingFileError,
    PermissionRefusedError,
    system_call_error,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

# Directory records gathered before a write: large writes, and never the whole directory at once.
_DIRECTORY_WRITE_NBYTES = 4 << 20
# The device is given whole ranges of this size while more is encoded, so that a checkpoint does not
# wait for all of them.
_RANGE_NBYTES = 8 << 20
# Entries that are smaller in the mean are written together.
_JOINED_NBYTES = 64 << 10


class ContainerWriter:
    """Appends entries and checkpoints to a file that it holds the lock of.

    Parameters
    ----------
    path
        The file.
    create
        True: it must not exist. False: it must exist; `start_at` says where to go on.

    Attributes
    ----------
    position
        Where the next entry goes.
    durable
        Length of the file at the last checkpoint; 0 before the first.

    Raises
    ------
    LockedError
        Another writer has the file.
    SystemCallError
        The file cannot be opened or created.

    Notes
    -----
    Threads: one thread at a time. A failed write cuts the file back to `durable` and the writer
    is of no use any more.
    """

    def __init__(self, path: str, *, create: bool) -> None:
        self.path = path
        self.position = 0
        self.durable = 0
        # Where the last whole entry ends.
        self._entries_stop = 0
        # Up to where the device was told to begin.
        self._started = 0
        self._closed = False
        # The first refusal of the system: what the file holds behind the last checkpoint is not
        # known from then on, so nothing may be written any more.
        self._failure: ChunkStoreError | None = None
        what = "created" if create else "opened for writing"
        try:
            # The working directory may change while the file is written.
            self._place = os.path.abspath(path)
            self._descriptor = system.open_for_writing(path, create=create)
        except OSError as error:
            raise system_call_error(error, f"the file cannot be {what}", path) from error
        try:
            unlock = system.calls.try_lock(self._descriptor, self._place)
        except OSError as error:
            os.close(self._descriptor)
            if create:
                self.unlink()
            raise system_call_error(error, "the file cannot be locked", path) from error
        if unlock is not None and not self._is_still_named():
            unlock()
            unlock = None
        if unlock is None:
            os.close(self._descriptor)
            raise LockedError(_locked_message(path), path)
        self._unlock = unlock

    def _is_still_named(self) -> bool:
        """Tell whether the path still names the file we opened: compact may have replaced it."""
        ours = os.fstat(self._descriptor)
        try:
            named = os.stat(self._place)
        except OSError:
            return False
        return (ours.st_dev, ours.st_ino) == (named.st_dev, named.st_ino)

    @property
    def has_failed(self) -> bool:
        """Whether the system refused a write: the writer is of no use any more."""
        return self._failure is not None

    def start_at(self, stop: int) -> None:
        """Go on behind the checkpoint that ends at ``stop``; what stands behind it is cut off."""
        self._call("cut back", os.ftruncate, self._descriptor, stop)
        self.position = self.durable = self._started = self._entries_stop = stop

    def cut_back(self, position: int) -> None:
        """Drop the entries from ``position`` on, which no checkpoint lists yet."""
        self._call("cut back", os.ftruncate, self._descriptor, position)
        self.position = self._entries_stop = position
        self._started = min(self._started, position)

    def append_entry(self, name: bytes, data: bytes | memoryview, crc: int) -> int:
        """Write an entry behind the others and return the offset of its local header.

        Parameters
        ----------
        name
            ASCII.
        data
            Its bytes, at most 4 GiB - 2.
        crc
            Their CRC-32.

        Raises
        ------
        SystemCallError
            The system refused, for example because the disk is full. The file is cut back to the
            last checkpoint.
        """
        return self.append_entries([(name, data, crc)])[0]

    def append_entries(self, entries: Sequence[tuple[bytes, bytes | memoryview, int]]) -> list[int]:
        """Write entries one behind the other; see `append_entry`.

        Parameters
        ----------
        entries
            ``(name, data, crc)`` each.

        Returns
        -------
        offsets
            Of their local headers.
        """
        self.check_sound()
        start = self.position
        pieces: list[bytes | memoryview] = []
        offsets = []
        stop = start
        for name, data, crc in entries:
            nbytes = memoryview(data).nbytes
            header = layout.build_local_header(name, crc, nbytes)
            offsets.append(stop)
            stop += len(header) + nbytes
            pieces += (header, data)
        if len(entries) > 1 and stop - start < len(entries) * _JOINED_NBYTES:
            # A call for each small piece would take longer than the copy.
            pieces = [b"".join(pieces)]
        self.position += self._write(pieces, start)
        self._entries_stop = self.position
        nbytes = (self.position - self._started) // _RANGE_NBYTES * _RANGE_NBYTES
        if nbytes:
            system.calls.start_writing(self._descriptor, self._started, nbytes)
            self._started += nbytes
        return offsets

    def overwrite_entry(self, name: bytes, data: bytes, crc: int, *, offset: int) -> None:
        """Write an entry over one of the same name and size that no checkpoint lists."""
        self.check_sound()
        header = layout.build_local_header(name, crc, len(data))
        self._write([header, data], offset)

    def checkpoint(self, records: Iterable[bytes], num_records: int) -> None:
        """Write a directory and make everything up to it durable.

        Parameters
        ----------
        records
            The directory's records, in pieces.
        num_records
            How many there are.

        Raises
        ------
        SystemCallError
            The system refused; the last checkpoint is still in force.
        """
        self.check_sound()
        self._call("made durable", system.calls.sync_data, self._descriptor)
        start = self.position
        pending: list[bytes] = []
        pending_nbytes = 0
        for piece in records:
            pending.append(piece)
            pending_nbytes += len(piece)
            if pending_nbytes >= _DIRECTORY_WRITE_NBYTES:
                self.position += self._write([b"".join(pending)], self.position)
                pending, pending_nbytes = [], 0
        nbytes = self.position - start + pending_nbytes
        end = layout.build_end(
            num_records=num_records, directory_start=start, directory_nbytes=nbytes
        )
        self.position += self._write([b"".join([*pending, end])], self.position)
        self._call("made durable", system.calls.sync_data, self._descriptor)
        self.durable = self.position

    def rename(
        self, target: str, *, overwrite: bool, replaces: ContainerWriter | None = None
    ) -> None:
        """Give the file its final name, durably.

        Parameters
        ----------
        target
            The name.
        overwrite
            True replaces a file of that name.
        replaces
            The writer that holds the lock of that file, if it is the caller's own.

        Raises
        ------
        LockedError
            Another writer has the file that would be replaced: its samples would be lost.
        ExistingFileError
            A file of that name has appeared and ``overwrite`` is False.
        """
        try:
            with contextlib.ExitStack() as guard:
                if overwrite and replaces is None:
                    guard.enter_context(hold(target))
                if not system.calls.renames_open_files:
                    # The locks go too early; what follows is one call.
                    guard.close()
                    self.close()
                if overwrite:
                    os.replace(self._place, target)
                else:
                    # A link fails if the name is taken, where a rename would replace silently.
                    _link_or_rename(self._place, target)
            system.calls.sync_folder(os.path.dirname(os.path.abspath(target)))
        except OSError as error:
            raise system_call_error(
                error, f"{self.path} cannot be given its final name", target
            ) from error
        self.path = target
        self._place = os.path.abspath(target)

    def unlink(self) -> None:
        """Take the file's name away, as far as the system lets us."""
        with contextlib.suppress(OSError):
            os.unlink(self._place)

    def abandon(self) -> None:
        """Cut off what stands behind the last checkpoint, as far as the system lets us.

        Before the first checkpoint, whole entries stay: `repair` can save them.
        """
        try:
            os.ftruncate(self._descriptor, self.durable or self._entries_stop)
            self.position = self.durable or self._entries_stop
        except OSError:  # the tail stays: a reader sees a torn append and opens the checkpoint
            return

    def discard(self) -> None:
        """Remove the file and close it."""
        if system.calls.renames_open_files:
            # Under the lock: nobody else can have taken the file over meanwhile.
            self.unlink()
            self.close()
        else:
            self.close()
            self.unlink()

    def close(self) -> None:
        """Give the lock back and close the file; again is allowed."""
        if not self._closed:
            self._closed = True
            self._unlock()
            os.close(self._descriptor)
            # Its number may soon be another file's.
            self._descriptor = -1

    def _write(self, pieces: list[bytes | memoryview], offset: int) -> int:
        try:
            return system.write_at(self._descriptor, pieces, offset)
        except OSError as error:
            self.abandon()
            raise self._refused(error, "written") from error

    def _call(self, what: str, function: object, *args: object) -> None:
        try:
            function(*args)  # type: ignore[operator]  # one of os's functions
        except OSError as error:
            self.abandon()
            raise self._refused(error, what) from error

    def check_sound(self) -> None:
        """Raise what the system refused, if it refused a write."""
        if self._failure is not None:
            raise self._failure

    def _refused(self, error: OSError, what: str) -> ChunkStoreError:
        kept = (
            f"everything up to the last checkpoint ({self.durable} bytes) is kept"
            if self.durable
            else "nothing was acknowledged yet"
        )
        self._failure = system_call_error(error, f"the file cannot be {what}; {kept}", self.path)
        return self._failure


@contextlib.contextmanager
def hold(path: str) -> Iterator[None]:
    """Keep other writers from a file, if there is one that we may write, inside a ``with`` block.

    Raises
    ------
    LockedError
        Another writer has it.
    """
    try:
        held = ContainerWriter(path, create=False)
    except (MissingFileError, PermissionRefusedError):
        yield
        return
    try:
        yield
    finally:
        held.close()


def _locked_message(path: str) -> str:
    message = (
        "another writer has the file: one writer at a time; wait until it is closed (it may be "
        "one of this process that was never closed)"
    )
    lock_path = path + system.LOCK_SUFFIX
    if os.path.exists(lock_path):
        message += f". If no writer is left, remove {lock_path}"
    return message


def _link_or_rename(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:
        # A file system without hard links: check, then rename.
        if os.path.exists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target) from None
        os.rename(source, target)
    else:
        os.unlink(source)
