"""How fast is the disk that the data lie on?

A scratch file of bytes that nothing can compress is written there and read at random places in
pieces of a chunk's size, as a loader reads. It has no name while it is measured, so that nothing
of it is left behind, whatever ends the program.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

# Not later: NumPy loads it when it is first used, and an interrupt in that moment is lost.
from numpy.random import default_rng

from chunkstore import system
from chunkstore.errors import system_call_error
from chunkstore.tuning.results import DiskSpeed, Notes, Spread

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chunkstore.tuning.crew import Crew, Deadline

Way = Literal["direct", "buffered", "cached"]

_SCRATCH_NBYTES: Final = 128 << 20
_WRITE_NBYTES: Final = 8 << 20
# Of the free bytes, so much is not taken.
_LEFT_FREE: Final = 4
_ROUNDS: Final = 5
_LEAST_SECONDS: Final = 0.05
_PREFIX: Final = ".chunkstore-tune-"


@contextmanager
def scratch_folder(folder: str, notes: Notes) -> Iterator[str]:
    """Make a folder for scratch files and remove it with all that is in it.

    Parameters
    ----------
    folder
        Where; where nothing can be written the folder for temporary files takes its place.
    notes
        Told of that.
    """
    try:
        place = tempfile.mkdtemp(prefix=_PREFIX, dir=folder)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EROFS, errno.EPERM):
            raise system_call_error(error, "no scratch folder can be made", folder) from error
        other = tempfile.gettempdir()
        notes.add(f"nothing can be written to {folder}: the disk of {other} was measured instead")
        place = tempfile.mkdtemp(prefix=_PREFIX, dir=other)
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def can_forget() -> bool:
    """Tell whether the page cache can be told to drop a file."""
    return hasattr(os, "posix_fadvise")


def forget(path: str) -> None:
    """Let the page cache drop a file, so that it is read from the disk again.

    Parameters
    ----------
    path
        Of a file that is not written any more.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        _drop_pages(descriptor)
    finally:
        os.close(descriptor)


def _drop_pages(descriptor: int) -> None:
    # Pages that wait to be written cannot be dropped.
    system.calls.sync_data(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


class ScratchFile:
    """A file of random bytes to measure a disk with.

    Parameters
    ----------
    folder
        On the disk.
    deadline
        Of writing it; at least one piece is written.

    Attributes
    ----------
    nbytes
        Of the file.
    write
        Bytes a second, each piece brought to the device.
    """

    def __init__(self, folder: str, deadline: Deadline) -> None:
        path = str(Path(folder) / "disk")
        try:
            self._write(path, folder, deadline)
            self._file = system.ReadFile(path)
            # Before its name is gone: a second descriptor needs it.
            self.has_direct = self._file.has_direct
        except OSError as error:
            raise system_call_error(error, "the scratch file cannot be written", path) from error
        finally:
            if system.calls.renames_open_files:
                Path(path).unlink(missing_ok=True)

    def _write(self, path: str, folder: str, deadline: Deadline) -> None:
        free = shutil.disk_usage(folder).free
        wanted = max(_WRITE_NBYTES, min(_SCRATCH_NBYTES, free // _LEFT_FREE))
        piece = memoryview(default_rng(0).bytes(_WRITE_NBYTES))
        speeds: list[float] = []
        self.nbytes = 0
        descriptor = system.open_for_writing(path, create=True)
        try:
            while self.nbytes < wanted and not (deadline.is_over and self.nbytes):
                started = time.perf_counter()
                system.write_at(descriptor, [piece], self.nbytes)
                system.calls.sync_data(descriptor)
                speeds.append(len(piece) / (time.perf_counter() - started))
                self.nbytes += len(piece)
        finally:
            os.close(descriptor)
        self.write = Spread(tuple(speeds))

    @property
    def best_way(self) -> Way | None:
        """How what is not in memory is read; None where that cannot be seen."""
        if self.has_direct:
            return "direct"
        return "buffered" if can_forget() else None

    def read_rate(self, way: Way, read_nbytes: int, crew: Crew) -> float:
        """Return the bytes a second of reads at random places.

        Parameters
        ----------
        way
            Past the page cache, through an empty one, or from it.
        read_nbytes
            Of one read; rounded up to pages.
        crew
            Threads that read.
        """
        page = system.DIRECT_ALIGNMENT
        size = min(-(-max(1, read_nbytes) // page) * page, self.nbytes)
        count = self.nbytes // size
        places = (default_rng(0).permutation(count) * size).tolist()
        buffers = [system.calls.aligned_buffer(size) for _ in range(crew.threads)]
        if way == "direct":
            read: Any = self._file.read_direct_into
        else:
            read = self._file.read_into
        if way == "buffered":
            _drop_pages(self._file.descriptor)

        def work(thread: int, number: int) -> None:
            read(buffers[thread], places[number])

        # What was read once is in the cache.
        least = 0.0 if way == "buffered" else _LEAST_SECONDS
        done, seconds = crew.time(work, count, least_seconds=least)
        return done * size / seconds

    def close(self) -> None:
        """Close the file; again is allowed."""
        self._file.close()


def measure_disk(
    scratch: ScratchFile, folder: str, *, read_nbytes: int, crew: Crew, deadline: Deadline
) -> DiskSpeed:
    """Measure the ways to read in turns.

    Parameters
    ----------
    scratch
        The file.
    folder
        What the disk is called.
    read_nbytes
        Of one read: the stored bytes of a usual chunk.
    crew
        Threads that read.
    deadline
        Behind the first round, ends the rounds.
    """
    notes = Notes()
    ways: list[Way] = ["cached"]
    if scratch.has_direct:
        ways.append("direct")
    else:
        notes.add("the file system has no reads past the page cache")
    if can_forget():
        ways.append("buffered")
    else:
        notes.add("this system cannot empty the page cache of a file")
    if len(ways) == 1:
        notes.add(
            f"reads from the disk of {folder} could not be told from reads of memory: the speed of "
            "writing stands for them, and how fast a Loader reads from there is not predicted"
        )
    speeds: dict[Way, list[float]] = {way: [] for way in ways}
    scratch.read_rate("cached", read_nbytes, crew)
    for number in range(_ROUNDS):
        if number and deadline.is_over:
            break
        for way in ways if number % 2 else reversed(ways):
            if way == "cached" and can_forget():
                # Whatever the other ways left in the cache.
                scratch.read_rate("cached", read_nbytes, crew)
            speeds[way].append(scratch.read_rate(way, read_nbytes, crew))
    found = {way: Spread(tuple(values)) for way, values in speeds.items()}
    return DiskSpeed(
        folder,
        read_nbytes,
        direct=found.get("direct"),
        buffered=found.get("buffered"),
        cached=found["cached"],
        write=scratch.write,
        notes=tuple(notes.lines),
    )
