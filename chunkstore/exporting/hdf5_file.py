"""How does an HDF5 file end well that the system refuses to write?

HDF5 keeps what it could not write, tries again when the process ends, and crashes it then. So it
writes through an object that takes everything: behind the first refusal it writes nothing more, and
who uses it asks for that error. Whatever is raised here counts as one: HDF5 calls this from C, and
an exception on the way through it crashes the process.
"""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType


class KeptErrors(io.RawIOBase):
    """A new file for HDF5's driver ``fileobj``, to be used in a ``with`` block.

    Parameters
    ----------
    path
        Of the file.

    Attributes
    ----------
    error
        The first refusal of the system, or whatever else was raised first, or None.

    Raises
    ------
    OSError
        The file cannot be made; and at the end of a block that no error leaves, what was refused.
    """

    def __init__(self, path: Path) -> None:
        self.error: BaseException | None = None
        self._is_refused = False
        self._file = path.open("xb+", buffering=0)
        # HDF5 may read what it believes to be in the file: zeros come from behind the end.
        self._position = 0

    def check(self) -> None:
        """Raise what the system refused so far, if it did."""
        if self.error is not None:
            raise self.error

    def readable(self) -> bool:
        """Return True."""
        return True

    def writable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move, as in any file."""
        start = 0
        if whence == io.SEEK_CUR:
            start = self._position
        elif whence == io.SEEK_END:
            start = os.fstat(self._file.fileno()).st_size
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        """Return where the next byte is read or written."""
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer as far as the file goes; behind it with zeros once writing failed."""
        view = memoryview(buffer).cast("B")
        done = 0
        while not self._is_refused and done < len(view):
            try:
                self._file.seek(self._position + done)
                count = self._file.readinto(view[done:])
                if not count:
                    break
                done += count
            except BaseException as error:  # noqa: BLE001 - kept
                self._keep(error)
        if self._is_refused and done < len(view):
            view[done:] = bytes(len(view) - done)
            done = len(view)
        self._position += done
        return done

    def write(self, data: Any) -> int:
        """Write all bytes; none any more once the system refused."""
        view = memoryview(data).cast("B")
        done = 0
        while not self._is_refused and done < len(view):
            try:
                self._file.seek(self._position + done)
                done += self._file.write(view[done:])
            except BaseException as error:  # noqa: BLE001 - kept
                self._keep(error)
        self._position += len(view)
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        """Change the length, unless the system refused something."""
        wanted = self._position if size is None else size
        is_done = False
        while not (is_done or self._is_refused):
            try:
                self._file.truncate(wanted)
                is_done = True
            except BaseException as error:  # noqa: BLE001 - kept
                self._keep(error)
        return wanted

    def _keep(self, error: BaseException) -> None:
        """Keep an error for later. What the system did not refuse is done again.

        An interrupt changes nothing about the file, and HDF5 must find in it what it wrote: with
        less it cannot close it, and crashes the process at its end.
        """
        self.error = self.error or error
        self._is_refused |= isinstance(error, Exception)

    def close(self) -> None:
        """Close the file; again is allowed."""
        if not self.closed:
            try:
                self._file.close()
            except OSError as error:
                self.error = self.error or error
        super().close()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
        # What HDF5 says of a file that was not written follows from this.
        if kind is None or issubclass(kind, Exception):
            self.check()
