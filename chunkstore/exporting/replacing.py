"""How does an export get its name only when it is whole?

It is written in a folder beside its place, which the one who writes holds locked, and moved out of
it at the end. What a killed export leaves is that folder; the next one clears it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from typing import TYPE_CHECKING, Final

from chunkstore import system
from chunkstore.errors import (
    ChunkStoreError,
    ExistingFileError,
    LockedError,
    system_call_error,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# What an export that was killed has left; nothing else has such a name.
PARTIAL_SUFFIX: Final = ".export.partial"
_LOCK: Final = ".lock"


@contextlib.contextmanager
def replacing(target: Path, *, overwrite: bool) -> Iterator[Path]:
    """Give a place of the same name to write to; at the end that takes the place of the target.

    Parameters
    ----------
    target
        A file or a folder, which may exist.
    overwrite
        Whether it may be replaced.

    Raises
    ------
    ExistingFileError
        There is a target, and ``overwrite`` is False.
    LockedError
        Another process writes it.
    SystemCallError
        The system refuses to write.
    """
    folder = target.with_name(target.name + PARTIAL_SUFFIX)
    try:
        with _held(folder, target):
            partial = folder / target.name
            yield partial
            _sync(partial)
            if not overwrite:
                check_free(target)
            _move(partial, target)
            system.calls.sync_folder(str(target.absolute().parent))
    except OSError as error:
        if _is_of_other_file(error, folder):
            raise
        # In the system's own words, whichever library was refused.
        plain = OSError(error.errno, os.strerror(error.errno)) if error.errno else error
        raise system_call_error(plain, "the export cannot be written", str(target)) from error


@contextlib.contextmanager
def _held(folder: Path, target: Path) -> Iterator[None]:
    """Hold a folder, empty at first and gone at the end, that nobody else writes to."""
    if folder.is_symlink() or not folder.is_dir():
        folder.unlink(missing_ok=True)
    folder.mkdir(exist_ok=True)
    lock = folder / _LOCK
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError:
        with contextlib.suppress(OSError):
            folder.rmdir()
        raise
    try:
        release = system.calls.try_lock(descriptor, str(lock))
        if release is None:
            raise LockedError(
                f"another export is writing it; if none is, remove {folder}", str(target)
            )
        try:
            for left in folder.iterdir():
                if not left.name.startswith(_LOCK):
                    _remove(left)
            yield
        finally:
            # With the lock: whoever comes now makes both anew.
            shutil.rmtree(folder, ignore_errors=True)
            release()
    finally:
        os.close(descriptor)


def _move(partial: Path, target: Path) -> None:
    """Give what is whole its name."""
    if target.is_dir() and not target.is_symlink():
        old = target.with_name(target.name + ".replaced" + PARTIAL_SUFFIX)
        _remove(old)
        target.rename(old)
        partial.rename(target)
        _remove(old)
    elif partial.is_dir():
        target.unlink(missing_ok=True)
        partial.rename(target)
    else:
        partial.replace(target)


def _is_of_other_file(error: OSError, folder: Path) -> bool:
    """Return whether an error of ours is about another file than what is being written."""
    if not isinstance(error, ChunkStoreError):
        return False
    path = getattr(error, "path", None)
    return path is None or not str(path).startswith(str(folder))


def check_free(target: Path) -> None:
    """Raise ExistingFileError if there is something of that name."""
    if os.path.lexists(target):
        raise ExistingFileError(
            "it exists already; overwrite=True replaces it", str(target), errno=errno.EEXIST
        )


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Bring a file, or all files of a folder, to the device."""
    files = [found for found in path.rglob("*") if found.is_file()] if path.is_dir() else [path]
    for file in files:
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
