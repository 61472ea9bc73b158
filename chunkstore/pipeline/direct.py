"""Do reads go past the page cache?

While the stored data fit in memory beside everything else, the cache serves each epoch after the
first. Once they do not, every read evicts what will be needed next, and going past it costs less.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from chunkstore.pipeline.source import ChunkSource

Io = Literal["auto", "buffered", "direct"]

_MEMINFO: Final = Path("/proc/meminfo")
_OWN_CGROUP: Final = Path("/proc/self/cgroup")
_CGROUPS: Final = Path("/sys/fs/cgroup")


def choose_direct(io: Io, sources: Iterable[ChunkSource], *, memory: int) -> bool:
    """Return whether to read past the page cache.

    Parameters
    ----------
    io
        What the caller wants; ``"auto"`` compares the stored bytes with the memory.
    sources
        What is read. One that has no ``encoded_nbytes`` is not a file.
    memory
        Bytes that the loader takes for itself.
    """
    if io != "auto":
        return io == "direct"
    stored = sum(getattr(source, "encoded_nbytes", 0) for source in sources)
    room = cache_room()
    return room is not None and stored > room - memory


def cache_room() -> int | None:
    """Return the bytes that the page cache may grow to, or None where the system does not tell.

    The least of the memory that the machine has available and of the limits of the control groups
    that this process is in.
    """
    rooms = [room for room in (_available(), *_cgroup_limits()) if room is not None]
    return min(rooms, default=None)


def _available() -> int | None:
    try:
        lines = _MEMINFO.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    available = fields.get("MemAvailable")
    return int(available.split()[0]) * 1024 if available else None


def _cgroup_limits() -> list[int]:
    """Return the memory limits of the control group of this process and those above it."""
    try:
        lines = _OWN_CGROUP.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    limits = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root, name = _CGROUPS, "memory.max"
        elif "memory" in controllers.split(","):
            root, name = _CGROUPS / "memory", "memory.limit_in_bytes"
        else:
            continue
        folder = root / path.lstrip("/")
        for group in (folder, *folder.parents):
            if group == root.parent:
                break
            limit = _read_limit(group / name)
            if limit is not None:
                limits.append(limit)
    return limits


def _read_limit(path: Path) -> int | None:
    try:
        text = path.read_text(encoding="ascii").strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
