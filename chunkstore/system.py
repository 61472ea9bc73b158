"""Which calls does only some operating system have, and what replaces them elsewhere?

Everything that differs between Linux, macOS and Windows stands here, as one table of functions:
`NativeCalls` uses what this system has, `PortableCalls` uses only what Python has everywhere.
`calls` is the table in use; tests put the portable one in its place.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import mmap
import os
import sys
import threading
from typing import TYPE_CHECKING, Protocol

from chunkstore.errors import system_call_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

# What O_DIRECT needs of offsets, lengths and addresses on every common device.
DIRECT_ALIGNMENT = 4096
# Of the lock file, where the system or the file system has no locks.
LOCK_SUFFIX = ".lock"
# Windows translates line ends without it; elsewhere there is no such flag.
_O_BINARY = getattr(os, "O_BINARY", 0)


_SYNC_FILE_RANGE_WRITE = 2


def _find_sync_file_range() -> Callable[[int, int, int, int], int] | None:
    """Return Linux's call of that name, which Python has not, or None."""
    if not sys.platform.startswith("linux"):
        return None
    call = getattr(ctypes.CDLL(None), "sync_file_range", None)
    if call is not None:
        call.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]
        call.restype = ctypes.c_int
    return call


_sync_file_range = _find_sync_file_range()


class SystemCalls(Protocol):
    """What chunkstore asks of an operating system.

    Attributes
    ----------
    renames_open_files
        Whether a file may be renamed, replaced and removed while it is open. Windows refuses.
    """

    renames_open_files: bool

    def pread_into(self, descriptor: int, buffer: memoryview, offset: int) -> int:
        """Read into ``buffer`` from a file position and return the bytes read, 0 at the end."""

    def pwrite(self, descriptor: int, data: memoryview, offset: int) -> int:
        """Write at a file position and return the bytes written."""

    def start_writing(self, descriptor: int, offset: int, nbytes: int) -> None:
        """Let the device begin with a range that was written; promises nothing, reports nothing."""

    def sync_data(self, descriptor: int) -> None:
        """Return when the file's data and size are on the device."""

    def sync_folder(self, path: str) -> None:
        """Return when the names in a folder are on the device, where the system can tell."""

    def try_lock(self, descriptor: int, path: str) -> Callable[[], None] | None:
        """Take the writer's lock of an open file without waiting.

        Returns what gives it back, to be called before the descriptor is closed; None if another
        writer has the lock.
        """

    def aligned_buffer(self, nbytes: int) -> memoryview:
        """Return zeroed memory on page boundaries that a forked child does not share."""

    def open_direct(self, path: str) -> int | None:
        """Open for reading past the page cache, or return None where that is not possible."""

    def available_cores(self) -> int:
        """Return how many processors this process may use."""


class PortableCalls:
    """Only what Python has on every system: seek, read, write, fsync, a lock file.

    Notes
    -----
    Threads: seek and read are two calls, so one lock stands around them. Two *processes* that
    share a descriptor after a fork would still disturb each other; systems without ``pread`` have
    no fork either.
    """

    renames_open_files = False

    def __init__(self) -> None:
        self._position_lock = threading.Lock()

    def pread_into(self, descriptor: int, buffer: memoryview, offset: int) -> int:
        """Read by seek and read, under a lock."""
        with self._position_lock:
            os.lseek(descriptor, offset, os.SEEK_SET)
            data = os.read(descriptor, len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def pwrite(self, descriptor: int, data: memoryview, offset: int) -> int:
        """Write by seek and write, under a lock."""
        with self._position_lock:
            os.lseek(descriptor, offset, os.SEEK_SET)
            return os.write(descriptor, data)

    def start_writing(self, descriptor: int, offset: int, nbytes: int) -> None:
        """Do nothing: `sync_data` writes everything."""

    def sync_data(self, descriptor: int) -> None:
        """Sync data and metadata: ``fsync`` exists everywhere."""
        os.fsync(descriptor)

    def sync_folder(self, path: str) -> None:
        """Do nothing: a folder cannot be opened on every system."""

    def try_lock(self, descriptor: int, path: str) -> Callable[[], None] | None:
        """Take the lock by creating ``path + ".lock"``, which must not exist.

        A writer that was killed leaves that file behind; a person removes it.
        """
        lock_path = path + LOCK_SUFFIX
        try:
            lock = os.open(lock_path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        except FileExistsError:
            return None
        with contextlib.closing(os.fdopen(lock, "w")) as file:
            file.write(f"{os.getpid()}\n")

        def release() -> None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(lock_path)

        return release

    def aligned_buffer(self, nbytes: int) -> memoryview:
        """Return part of a larger buffer, cut at a page boundary."""
        block = bytearray(nbytes + DIRECT_ALIGNMENT)
        address = ctypes.addressof(ctypes.c_char.from_buffer(block))
        start = -address % DIRECT_ALIGNMENT
        return memoryview(block)[start : start + nbytes]

    def open_direct(self, path: str) -> int | None:
        """Return None: there is no portable way past the page cache."""
        return None

    def available_cores(self) -> int:
        """Return the machine's processors."""
        return os.cpu_count() or 1


class NativeCalls(PortableCalls):
    """The calls of this system, each falling back to the portable one where it is missing."""

    renames_open_files = os.name == "posix"

    if hasattr(os, "preadv"):

        def pread_into(self, descriptor: int, buffer: memoryview, offset: int) -> int:
            """Read without touching the file position: safe across threads and forks."""
            return os.preadv(descriptor, [buffer], offset)

    elif hasattr(os, "pread"):

        def pread_into(self, descriptor: int, buffer: memoryview, offset: int) -> int:
            """Read without touching the file position: safe across threads and forks."""
            data = os.pread(descriptor, len(buffer), offset)
            buffer[: len(data)] = data
            return len(data)

    if hasattr(os, "pwrite"):

        def pwrite(self, descriptor: int, data: memoryview, offset: int) -> int:
            """Write without touching the file position."""
            return os.pwrite(descriptor, data, offset)

    if _sync_file_range is not None:

        def start_writing(self, descriptor: int, offset: int, nbytes: int) -> None:
            """Start write-back without waiting for it.

            What fails here fails again in `sync_data`, which reports it: this flag alone leaves
            the error for the next sync.
            """
            _sync_file_range(  # type: ignore[misc]  # not None in this branch
                descriptor, offset, nbytes, _SYNC_FILE_RANGE_WRITE
            )

    if fcntl is not None and hasattr(fcntl, "F_FULLFSYNC"):  # macOS

        def sync_data(self, descriptor: int) -> None:
            """Ask the drive itself: macOS's fsync leaves data in the drive's cache."""
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)  # type: ignore[attr-defined]  # macOS only

    elif hasattr(os, "fdatasync"):

        def sync_data(self, descriptor: int) -> None:
            """Sync data and size, but not times."""
            os.fdatasync(descriptor)

    if os.name == "posix":

        def sync_folder(self, path: str) -> None:
            """Sync the folder's names, so that a created or renamed file stays there."""
            folder = os.open(path, os.O_RDONLY)
            try:
                os.fsync(folder)
            except OSError as error:
                # Some network file systems cannot sync a folder; their renames are synchronous.
                if error.errno not in (errno.EINVAL, errno.EBADF, errno.ENOTSUP):
                    raise
            finally:
                os.close(folder)

    if fcntl is not None:

        def try_lock(self, descriptor: int, path: str) -> Callable[[], None] | None:
            """Take an advisory lock that the system drops when its owner dies."""
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                    return None
                if error.errno in (errno.ENOTSUP, errno.ENOLCK, errno.EINVAL, errno.ENOSYS):
                    # A file system without locks: the lock file works on any.
                    return super().try_lock(descriptor, path)
                raise
            return lambda: fcntl.flock(descriptor, fcntl.LOCK_UN)

    if hasattr(mmap, "MAP_PRIVATE"):

        def aligned_buffer(self, nbytes: int) -> memoryview:
            """Map anonymous pages: given back to the system with the last view."""
            flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
            return memoryview(mmap.mmap(-1, max(nbytes, 1), flags=flags))[:nbytes]

    if hasattr(os, "O_DIRECT"):

        def open_direct(self, path: str) -> int | None:
            """Open with O_DIRECT, or return None on a file system without it (tmpfs)."""
            try:
                return os.open(path, os.O_RDONLY | os.O_DIRECT)
            except OSError as error:
                if error.errno in (errno.EINVAL, errno.ENOTSUP):
                    return None
                raise

    elif fcntl is not None and hasattr(fcntl, "F_NOCACHE"):  # macOS

        def open_direct(self, path: str) -> int | None:
            """Open and tell the system not to cache what is read."""
            descriptor = os.open(path, os.O_RDONLY)
            fcntl.fcntl(descriptor, fcntl.F_NOCACHE, 1)  # type: ignore[attr-defined]  # macOS only
            return descriptor

    if hasattr(os, "sched_getaffinity"):

        def available_cores(self) -> int:
            """Return the processors this process may run on, less what a CPU quota takes."""
            cores = len(os.sched_getaffinity(0))
            quota = _cgroup_cpu_quota()
            return max(1, min(cores, int(quota + 0.5))) if quota is not None else cores


def _cgroup_cpu_quota() -> float | None:
    """Return the processors a Linux control group grants, or None without a limit."""
    for quota_path, period_path in (
        ("/sys/fs/cgroup/cpu.max", None),
        ("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu/cpu.cfs_period_us"),
    ):
        try:
            with open(quota_path, encoding="ascii") as file:
                words = file.read().split()
            if period_path is not None:
                with open(period_path, encoding="ascii") as file:
                    words += file.read().split()
        except OSError:
            continue
        if len(words) == 2 and words[0] not in ("max", "-1"):
            return int(words[0]) / int(words[1])
    return None


calls: SystemCalls = NativeCalls()


class ReadFile:
    """A file open for reading at given positions.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    SystemCallError
        It cannot be opened or read, or it is a directory.

    Notes
    -----
    Threads: all methods are safe in several threads, and the object works in a forked child:
    nothing depends on a shared file position.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        # The working directory may have changed when the file is opened again for direct reads.
        self._place = os.path.abspath(path)
        self._calls = calls
        self._direct: int | None = None
        self._direct_tried = False
        self._kept: dict[str, int] = {}
        self.descriptor = -1
        try:
            self.descriptor = os.open(path, os.O_RDONLY | _O_BINARY)
            status = os.fstat(self.descriptor)
            if os.path.isdir(path):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        except OSError as error:
            self.close()
            raise system_call_error(error, "the file cannot be opened", path) from error
        self.identity = (status.st_dev, status.st_ino)

    def size(self) -> int:
        """Return the file's present size in bytes."""
        return os.fstat(self.descriptor).st_size

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Fill ``buffer`` from ``offset`` on and return the bytes read: fewer at the end."""
        return self._read_into(self.descriptor, buffer, offset)

    def read(self, nbytes: int, offset: int) -> bytes:
        """Return up to ``nbytes`` bytes from ``offset`` on: fewer at the end of the file."""
        buffer = bytearray(nbytes)
        return bytes(memoryview(buffer)[: self.read_into(memoryview(buffer), offset)])

    def read_direct_into(self, buffer: memoryview, offset: int) -> int:
        """Fill an aligned ``buffer`` past the page cache; buffered where that is not possible.

        Parameters
        ----------
        buffer
            Address and length are multiples of `DIRECT_ALIGNMENT`.
        offset
            A multiple of `DIRECT_ALIGNMENT`.
        """
        direct = self._open_direct()
        if direct is None:
            return self._read_into(self.descriptor, buffer, offset)
        return self._read_into(direct, buffer, offset, step=DIRECT_ALIGNMENT)

    @property
    def has_direct(self) -> bool:
        """Whether reads can go past the page cache."""
        return self._open_direct() is not None

    def close(self) -> None:
        """Close the file; again is allowed."""
        # No lock: another thread could hold it at a fork. Each step is one for the interpreter.
        mine, self.descriptor = self.descriptor, -1
        direct, self._direct, self._direct_tried = self._direct, None, True
        for descriptor in (mine, direct):
            if descriptor is not None and descriptor >= 0:
                os.close(descriptor)

    def _open_direct(self) -> int | None:
        if not self._direct_tried:
            direct = self._calls.open_direct(self._place)
            if direct is not None:
                status = os.fstat(direct)
                # The name may belong to another file by now: ours stays readable.
                is_ours = (status.st_dev, status.st_ino) == self.identity
                # One step, so of several threads one wins.
                if not is_ours or self._kept.setdefault("direct", direct) != direct:
                    os.close(direct)
                self._direct = self._kept.get("direct")
            self._direct_tried = True
        return self._direct

    def _read_into(self, descriptor: int, buffer: memoryview, offset: int, step: int = 1) -> int:
        try:
            done = self._calls.pread_into(descriptor, buffer, offset)
            while 0 < done < len(buffer):
                # A short read: the end of the file, or a signal or limit of the system.
                if done % step:
                    break
                more = self._calls.pread_into(descriptor, buffer[done:], offset + done)
                if more <= 0:
                    break
                done += more
        except OSError as error:
            raise system_call_error(error, "the file cannot be read", self.path) from error
        return done


def open_for_writing(path: str, *, create: bool) -> int:
    """Open a file for reading and writing and return its descriptor.

    Parameters
    ----------
    path
        The file.
    create
        True: it must not exist yet. False: it must exist.
    """
    flags = os.O_RDWR | _O_BINARY | (os.O_CREAT | os.O_EXCL if create else 0)
    return os.open(path, flags, 0o666)


def write_at(descriptor: int, pieces: list[bytes | memoryview], offset: int) -> int:
    """Write the pieces one behind the other from ``offset`` on and return the bytes written.

    Raises
    ------
    OSError
        The system refused; what was written before stays written.
    """
    position = offset
    for piece in pieces:
        view = memoryview(piece).cast("B")
        while view.nbytes:
            written = calls.pwrite(descriptor, view, position)
            position += written
            view = view[written:]
    return position - offset


@contextlib.contextmanager
def replaced_calls(table: SystemCalls) -> Iterator[None]:
    """Use another table of calls inside a ``with`` block; for tests of the portable fallback."""
    global calls
    before = calls
    calls = table
    try:
        yield
    finally:
        calls = before
