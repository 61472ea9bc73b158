"""Where may a page or a picture be written, and how does it appear only when it is whole?"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
from pathlib import Path
from typing import Final

from chunkstore.errors import DirectoryGivenError, ExistingFileError, system_call_error

SUFFIXES: Final = (".html", ".htm", ".png")
# How a page and a picture of ours begin: words alone may stand in anybody's file.
_PAGE: Final = re.compile(
    rb'<!doctype html>\n<html lang="en">\n<head>\n(?:<meta [^<>]*>\n)*'
    rb'<meta name="generator" content="chunkstore view">\n<link rel="icon" href="data:,">\n<title>'
)
_PICTURE: Final = re.compile(
    rb"\x89PNG\r\n\x1a\n\0\0\0\rIHDR.{17}\0\0\0\x18tEXtSoftware\0chunkstore view", re.DOTALL
)
_BEGINNING_NBYTES: Final = 16 << 10


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
            beginning = file.read(_BEGINNING_NBYTES)
    except OSError:
        return False
    return any(form.match(beginning) is not None for form in (_PAGE, _PICTURE))
