"""How does a file leave the page cache before a cold or a capped run?"""

from __future__ import annotations

import ctypes
import mmap
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

_DROP_CACHES = Path("/proc/sys/vm/drop_caches")
# Pages that others hold mapped or that were just read ahead may stay.
_MOST_LEFT = 0.01


class CachedError(Exception):
    """Files stayed in the page cache: a cold run would not be cold."""


def iter_files(folder: str) -> list[Path]:
    """Return all files below a folder."""
    return [path for path in Path(folder).rglob("*") if path.is_file()]


def drop(paths: Iterable[Path]) -> str:
    """Drop files from the page cache, and say how.

    The files alone where the system follows the advice, so that other programs keep theirs; the
    whole cache where it does not.

    Raises
    ------
    CachedError
        Neither way is open.
    """
    paths = list(paths)
    for path in paths:
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if _cached_part(paths) <= _MOST_LEFT:
        return "posix_fadvise"
    try:
        os.sync()
        _DROP_CACHES.write_text("1")
    except OSError as error:
        raise CachedError(f"the files stay in the page cache: {error}") from None
    left = _cached_part(paths)
    if left > _MOST_LEFT:
        raise CachedError(f"{left:.0%} of {paths[0]} and its like stay in the page cache")
    return "drop_caches"


def _cached_part(paths: Iterable[Path]) -> float:
    """Return the part of the files' pages that is in memory."""
    cached = pages = 0
    for path in paths:
        found, total = _count_cached(path)
        cached, pages = cached + found, pages + total
    return cached / pages if pages else 0.0


def _count_cached(path: Path) -> tuple[int, int]:
    nbytes = path.stat().st_size
    if nbytes == 0:
        return 0, 0
    pages = -(-nbytes // mmap.PAGESIZE)
    with path.open("rb") as file:
        # Copy on write, so that ctypes may take the address; nothing is written or touched.
        view = mmap.mmap(file.fileno(), nbytes, access=mmap.ACCESS_COPY)
    try:
        flags = np.zeros(pages, np.uint8)
        start = (ctypes.c_char * nbytes).from_buffer(view)
        code = ctypes.CDLL(None, use_errno=True).mincore(
            ctypes.c_void_p(ctypes.addressof(start)),
            ctypes.c_size_t(nbytes),
            flags.ctypes.data_as(ctypes.c_void_p),
        )
        del start
        if code:
            raise OSError(ctypes.get_errno(), "mincore", str(path))
        return int((flags & 1).sum()), pages
    finally:
        view.close()
