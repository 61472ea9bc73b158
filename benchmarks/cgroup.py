"""How is a process given less memory than its file has bytes?

With a control group, version 1 or 2, below the one that this process is in. Pages of a file that
are cached already belong to who read them first and do not count: they are dropped before a capped
run (`benchmarks.page_cache`).
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROOT = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")
# A process that was waited for leaves its group a moment later.
_REMOVE_SECONDS = 5.0


class CgroupError(Exception):
    """No control group can be made here; the message says why."""


@dataclass(frozen=True)
class MemoryGroup:
    """A control group of ours.

    Attributes
    ----------
    folder
        Where the system shows it.
    version
        1 or 2.
    """

    folder: Path
    version: int

    def add(self, process: int) -> None:
        """Put a process into the group: what it takes from now on counts."""
        (self.folder / "cgroup.procs").write_text(str(process))

    def usage_nbytes(self) -> int:
        """Return what the processes of the group take, their cached pages included."""
        name = "memory.usage_in_bytes" if self.version == 1 else "memory.current"
        return int((self.folder / name).read_text())

    def limit(self, nbytes: int) -> None:
        """Cap the group; no swap."""
        if self.version == 1:
            (self.folder / "memory.limit_in_bytes").write_text(str(nbytes))
            swap = self.folder / "memory.memsw.limit_in_bytes"
        else:
            (self.folder / "memory.max").write_text(str(nbytes))
            swap = self.folder / "memory.swap.max"
            nbytes = 0
        if swap.exists():
            # Refused where the kernel does not count swap: then there is none to take.
            with contextlib.suppress(OSError):
                swap.write_text(str(nbytes))

    def was_killed(self) -> bool:
        """Say whether the cap cost a process of the group its life."""
        name = "memory.oom_control" if self.version == 1 else "memory.events"
        lines = (self.folder / name).read_text().splitlines()
        return any(line.startswith("oom_kill ") and line != "oom_kill 0" for line in lines)

    def remove(self) -> None:
        """Remove the group, whose processes have ended."""
        deadline = time.monotonic() + _REMOVE_SECONDS
        while True:
            try:
                self.folder.rmdir()
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
            else:
                return


@contextlib.contextmanager
def memory_group(name: str) -> Iterator[MemoryGroup]:
    """Make a group below this process's own, and remove it.

    Raises
    ------
    CgroupError
        It cannot be made.
    """
    parent, version = _own_group()
    folder = parent / f"chunkstore-bench-{os.getpid()}-{name}"
    try:
        folder.mkdir()
    except OSError as error:
        raise CgroupError(f"cannot make a control group: {error}{_advice(version)}") from None
    group = MemoryGroup(folder, version)
    try:
        if version == 2 and not (folder / "memory.max").exists():
            raise CgroupError(f"{parent} does not hand on its memory limits{_advice(version)}")
        yield group
    finally:
        group.remove()


def reason_against() -> str | None:
    """Return why no group can be made here, or None."""
    try:
        with memory_group("try") as group:
            group.limit(1 << 30)
    except CgroupError as error:
        return str(error)
    except OSError as error:
        return f"cannot cap a control group: {error}"
    return None


def _own_group() -> tuple[Path, int]:
    try:
        lines = _OWN.read_text().splitlines()
    except OSError:
        raise CgroupError("this system has no control groups") from None
    unified = None
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            return _existing(_ROOT / "memory", path), 1
        if controllers == "":
            unified = path
    if unified is None or not (_ROOT / "cgroup.controllers").exists():
        raise CgroupError("no memory controller is mounted at /sys/fs/cgroup")
    return _existing(_ROOT, unified), 2


def _existing(root: Path, path: str) -> Path:
    """Return the folder of a group; in a container the root may be the group itself."""
    folder = root / path.lstrip("/")
    return folder if folder.is_dir() else root


def _advice(version: int) -> str:
    if version == 1:
        return ""
    return "; run it under: systemd-run --user --scope -p Delegate=yes"
