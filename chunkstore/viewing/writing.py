"""Where may a page or a picture be written, and how does it appear only when it is whole?"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from pathlib import Path
from typing import Final

from chunkstore.errors import DirectoryGivenError, ExistingFileError, system_call_error

SUFFIXES: Final = (".html", ".htm", ".png")
# Both kinds of files say near their beginning, or their end, who made them.
_MARK: Final = b"chunkstore view"
_MARK_NBYTES: Final = 16 << 10


def check_target(out: str | os.PathLike[str], *, overwrite: bool) -> Path:
    """Return the path of a page or a picture that may be written.

    Raises
    ------
    ValueError
        It ends in neither ``.html`` nor ``.png``.
    ExistingFileError, DirectoryGivenError
        Something is there that is no page or picture of ours, and ``overwrite`` is False.
    """
    target = Path(os.fsdecode(out))
    if target.suffix.lower() not in SUFFIXES:
        raise ValueError(f"out must end in .html or .png, got {os.fsdecode(out)!r}")
    if target.is_dir():
        raise DirectoryGivenError(
            "this is a directory; a file is wanted", str(target), errno=errno.EISDIR
        )
    if not overwrite and os.path.lexists(target) and not _is_ours(target):
        raise ExistingFileError(
            "it exists already and was not made by chunkstore view; overwrite=True replaces it",
            str(target),
            errno=errno.EEXIST,
        )
    return target


def write_file(target: Path, content: bytes) -> None:
    """Write a file beside its place and bring it there when it is whole."""
    partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        with partial.open("xb") as file:
            file.write(content)
        partial.replace(target)
    except OSError as error:
        raise system_call_error(error, "the file cannot be written", str(target)) from error
    finally:
        # Gone already where all went well.
        with contextlib.suppress(OSError):
            partial.unlink()


def _is_ours(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            start = file.read(_MARK_NBYTES)
    except OSError:
        return False
    return _MARK in start
