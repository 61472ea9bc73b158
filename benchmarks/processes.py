"""What did this process and its children take: processor time, memory, bytes read (Linux)?"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

_OWN = "self"


@dataclass(frozen=True)
class Usage:
    """Sums over this process and the children that are alive.

    Attributes
    ----------
    cpu_seconds
        User and system time; of ended children too.
    called_nbytes, device_nbytes
        Bytes asked for by read calls (a memory map makes none), and bytes that came from the
        device.
    resident_nbytes, peak_nbytes
        Resident memory now, and at its peak. Pages that processes share count for each.
    """

    cpu_seconds: float
    called_nbytes: int
    device_nbytes: int
    resident_nbytes: int
    peak_nbytes: int


def usage() -> Usage:
    """Return what was taken so far."""
    times = os.times()
    cpu = time.process_time() + times.children_user + times.children_system
    called = device = resident = peak = 0
    for process in (_OWN, *_descendants(_OWN)):
        # A child may end while it is looked at.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            io = _fields(Path("/proc") / process / "io")
            called += int(io["rchar"])
            device += int(io["read_bytes"])
            status = _fields(Path("/proc") / process / "status")
            resident += _nbytes(status["VmRSS"])
            peak += _nbytes(status["VmHWM"])
            if process != _OWN:
                cpu += _child_seconds(process)
    return Usage(cpu, called, device, resident, peak)


def reset_peak() -> None:
    """Let the peak of this process begin anew."""
    Path("/proc/self/clear_refs").write_text("5")


def _descendants(process: str) -> list[str]:
    found: list[str] = []
    for task in (Path("/proc") / process / "task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for child in (task / "children").read_text().split():
                found += [child, *_descendants(child)]
    return found


def _fields(path: Path) -> dict[str, str]:
    return dict(line.split(":", 1) for line in path.read_text().splitlines())


def _nbytes(text: str) -> int:
    return int(text.split()[0]) * 1024


def _child_seconds(process: str) -> float:
    stat = (Path("/proc") / process / "stat").read_text()
    # The name in brackets may hold blanks; user and system time are fields 14 and 15.
    numbers = stat.rpartition(")")[2].split()
    return (int(numbers[11]) + int(numbers[12])) / os.sysconf("SC_CLK_TCK")
