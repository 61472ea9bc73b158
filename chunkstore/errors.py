"""Which errors and warnings does chunkstore raise?

The tree, grouped by what a handler would do::

    ChunkStoreError
    ├── FormatError          not a file we can read: choose another file or tool
    ├── CorruptionError      was right once: restore it, or save what is left with ``repair``
    ├── UnsupportedError     valid, but not ours to read: the message names the feature
    ├── IncompleteError      its writer never finished: continue it or repair it
    ├── LockedError          another writer is at work: wait for it
    └── SystemCallError      the operating system refused; also an ``OSError`` with its errno
        ├── MissingFileError     also FileNotFoundError
        ├── ExistingFileError    also FileExistsError
        ├── PermissionRefusedError  also PermissionError
        └── DirectoryGivenError  also IsADirectoryError

Argument mistakes are ``ValueError``, ``TypeError`` or ``KeyError``. Facts about data that do not
stop the work are ``ChunkStoreWarning``.
"""

from __future__ import annotations

import os


class ChunkStoreError(Exception):
    """Base of every error that chunkstore raises about files and data.

    Parameters
    ----------
    message
        What is wrong, what was got and what is allowed.
    path
        The file, if one is concerned.
    key
        The entry inside the file: a chunk key or the name of a ``zarr.json``.
    offset
        Byte offset of that entry in the file.

    Notes
    -----
    The message comes first and the rest is optional: pickle rebuilds an error from ``args``,
    and torch's ``DataLoader`` from the type and one string.
    """

    def __init__(
        self,
        message: str,
        path: str | None = None,
        key: str | None = None,
        offset: int | None = None,
    ) -> None:
        super().__init__(message, path, key, offset)
        self.message = message
        self.path = path
        self.key = key
        self.offset = offset

    def __str__(self) -> str:
        parts = []
        if self.path is not None:
            parts.append(f"{self.path}: ")
        if self.key is not None:
            parts.append(f"{self.key!r}")
            parts.append(f" at byte {self.offset}: " if self.offset is not None else ": ")
        return "".join(parts) + self.message

    def located(
        self, path: str | None = None, key: str | None = None, offset: int | None = None
    ) -> ChunkStoreError:
        """Return the same error with the parts of its location that it lacks filled in.

        Lower layers know bytes, not files: they raise a message, and the layer that knows
        where the bytes came from adds the place.
        """
        return type(self)(
            self.message,
            self.path if self.path is not None else path,
            self.key if self.key is not None else key,
            self.offset if self.offset is not None else offset,
        )


class FormatError(ChunkStoreError):
    """The bytes are not a store that the zarr and zip specifications allow."""


class CorruptionError(ChunkStoreError):
    """The bytes were right once and are not any more."""


class UnsupportedError(ChunkStoreError):
    """The file is valid and uses a feature that chunkstore does not read."""


class IncompleteError(ChunkStoreError):
    """The file's writer never finished."""


class LockedError(ChunkStoreError):
    """Another writer has the file."""


class SystemCallError(ChunkStoreError, OSError):
    """The operating system refused a call; ``errno`` says why."""

    def __init__(
        self,
        message: str,
        path: str | None = None,
        key: str | None = None,
        offset: int | None = None,
        errno: int | None = None,
    ) -> None:
        ChunkStoreError.__init__(self, message, path, key, offset)
        self.args = (message, path, key, offset, errno)
        self.errno = errno
        self.filename = path
        self.strerror = os.strerror(errno) if errno is not None else message

    def __reduce__(self) -> tuple[type[SystemCallError], tuple[object, ...]]:
        # OSError has a __reduce__ of its own that would rebuild from (errno, strerror).
        return type(self), self.args

    def located(
        self, path: str | None = None, key: str | None = None, offset: int | None = None
    ) -> SystemCallError:
        """Return the same error with the missing parts of its location filled in."""
        return type(self)(
            self.message,
            self.path if self.path is not None else path,
            self.key if self.key is not None else key,
            self.offset if self.offset is not None else offset,
            self.errno,
        )


class MissingFileError(SystemCallError, FileNotFoundError):
    """There is no such file."""


class ExistingFileError(SystemCallError, FileExistsError):
    """The file is there already and would be overwritten."""


class PermissionRefusedError(SystemCallError, PermissionError):
    """The operating system does not permit it."""


class DirectoryGivenError(SystemCallError, IsADirectoryError):
    """A directory was given where a file is wanted."""


class ChunkStoreWarning(UserWarning):
    """A fact about a person's data that does not stop the work."""


_CLASS_BY_OS_ERROR: tuple[tuple[type[OSError], type[SystemCallError]], ...] = (
    (FileNotFoundError, MissingFileError),
    (FileExistsError, ExistingFileError),
    (PermissionError, PermissionRefusedError),
    (IsADirectoryError, DirectoryGivenError),
)


def system_call_error(error: OSError, message: str, path: str | None = None) -> SystemCallError:
    """Return the error of ours that matches what the operating system refused.

    Parameters
    ----------
    error
        What was caught.
    message
        What was being done, in words; the system's own words are added.
    path
        The file concerned; by default the one the error names.
    """
    if path is None and isinstance(error.filename, str | bytes):
        path = os.fsdecode(error.filename)
    reason = error.strerror or str(error)
    for caught, ours in _CLASS_BY_OS_ERROR:
        if isinstance(error, caught):
            return ours(f"{message}: {reason}", path, errno=error.errno)
    return SystemCallError(f"{message}: {reason}", path, errno=error.errno)
