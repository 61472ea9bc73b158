"""How much memory do the machine and its control groups leave?"""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

_MEMINFO: Final = Path("/proc/meminfo")
_OWN_CGROUP: Final = Path("/proc/self/cgroup")
_CGROUPS: Final = Path("/sys/fs/cgroup")


class _Names(NamedTuple):
    """What a version of control groups calls its files, and the pages that it gives up first."""

    limit: str
    usage: str
    cached: tuple[str, ...]


_VERSION_1: Final = _Names(
    "memory.limit_in_bytes", "memory.usage_in_bytes", ("total_active_file", "total_inactive_file")
)
_VERSION_2: Final = _Names("memory.max", "memory.current", ("active_file", "inactive_file"))


def cache_room() -> int | None:
    """Return the bytes that the page cache may grow to, or None where the system does not tell.

    The least of the memory that the machine has available and of the limits of the control groups
    that this process is in.
    """
    limits = (_read_number(folder / names.limit) for folder, names in _memory_groups())
    rooms = [room for room in (_available(), *limits) if room is not None]
    return min(rooms, default=None)


def process_room() -> int | None:
    """Return the bytes that this process may still take, or None where the system does not tell.

    As `cache_room`, without what the control groups use already; cached pages of files make room.
    """
    rooms = [_available()]
    for folder, names in _memory_groups():
        limit, usage = _read_number(folder / names.limit), _read_number(folder / names.usage)
        if limit is not None and usage is not None:
            rooms.append(max(0, limit - usage + _cached_nbytes(folder, names)))
    return min((room for room in rooms if room is not None), default=None)


def _available() -> int | None:
    fields = _read_fields(_MEMINFO)
    return fields["MemAvailable:"] * 1024 if "MemAvailable:" in fields else None


def _cached_nbytes(folder: Path, names: _Names) -> int:
    fields = _read_fields(folder / "memory.stat")
    return sum(fields.get(name, 0) for name in names.cached)


def _memory_groups() -> list[tuple[Path, _Names]]:
    """Return the control group of this process and those above it that may limit its memory."""
    try:
        lines = _OWN_CGROUP.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    groups = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root, names = _CGROUPS, _VERSION_2
        elif "memory" in controllers.split(","):
            root, names = _CGROUPS / "memory", _VERSION_1
        else:
            continue
        folder = root / path.lstrip("/")
        for group in (folder, *folder.parents):
            if group == root.parent:
                break
            groups.append((group, names))
    return groups


def _read_number(path: Path) -> int | None:
    try:
        text = path.read_text(encoding="ascii").strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _read_fields(path: Path) -> dict[str, int]:
    """Return the numbers of lines such as ``MemAvailable:  123 kB`` or ``inactive_file 4096``."""
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError:
        return {}
    fields = {}
    for line in lines:
        name, *rest = line.split()
        if rest and rest[0].isdigit():
            fields[name] = int(rest[0])
    return fields
