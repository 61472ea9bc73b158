"""What do tests of several layers share?"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

REPOSITORY = Path(__file__).resolve().parent.parent

# Threads that other packages keep for the life of the process.
FOREIGN_THREADS = ("zarr_io", "fsspecIO", "asyncio_", "pydevd", "Dask-", "Profile", "TMonitor")
# tqdm's monitor, and native threads of a framework that have called Python: nobody can join them.
FOREIGN_CLASSES = ("TMonitor", "_DummyThread")
# A cache of torch's; and the folder for sockets that multiprocessing makes when the thread of a
# queue first sends a tensor. A worker that is told to end at that moment has already cleaned up.
FOREIGN_FILES = ("torchinductor_", "pymp-")
JOIN_SECONDS = 5.0


def is_continuous_integration() -> bool:
    """Say whether a case that does not run must fail the run."""
    return os.environ.get("CI", "").lower() in ("1", "true")


def require(name: str) -> ModuleType:
    """Import an optional package, or skip the test, or fail it where the package must be there.

    ``CHUNKSTORE_REQUIRED`` lists the packages that this environment was made with, divided by
    spaces, or says ``all``: those must import. With ``CI=true`` and no list, all of them must.

    Parameters
    ----------
    name
        What to import, such as ``"torch"`` or ``"dask.array"``.
    """
    required = os.environ.get("CHUNKSTORE_REQUIRED", "all" if is_continuous_integration() else "")
    package = name.partition(".")[0]
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if required == "all" or package in required.split():
            pytest.fail(f"{name} must be installed here and is not: {error}", pytrace=False)
        pytest.skip(
            f"{name} is not installed here; `make test-all` runs this", allow_module_level=True
        )


def status_nbytes(field: str) -> int | None:
    """Return a size that Linux tells of this process, such as VmRSS or VmHWM; None elsewhere."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return None
    lines = status.read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{field}:"))


def open_descriptors() -> dict[int, str]:
    """Return the open descriptors of this process and what they are, where the system tells."""
    folder = Path("/proc/self/fd")
    descriptors: dict[int, str] = {}
    if not folder.is_dir():
        return descriptors
    for name in os.listdir(folder):  # noqa: PTH208 - Path.iterdir keeps its own descriptor open
        # The descriptor of the listing itself is gone by now.
        with contextlib.suppress(OSError):
            descriptors[int(name)] = os.readlink(folder / name)  # noqa: PTH115
    return descriptors


def is_ours(target: str) -> bool:
    """Say whether what a descriptor points at can be a file, pipe or socket of the test."""
    if target.startswith(("/dev/", "anon_inode:", "/proc/", "/sys/", "/usr/lib")):
        return False
    return not target.endswith((".so", ".py", ".pyc")) and "/.hypothesis/" not in target


def leaked_descriptors(before: dict[int, str]) -> list[str]:
    """Return what is open now and was not before."""

    def leaked() -> list[str]:
        now = open_descriptors()
        return sorted(
            f"descriptor {number}: {target}"
            for number, target in now.items()
            if before.get(number) != target and is_ours(target)
        )

    # Most tests leave nothing, and a collection is slow: collect only to make sure.
    if leaked():
        gc.collect()
    return leaked()


def leaked_threads(before: set[threading.Thread]) -> list[str]:
    """Return the threads that run now, did not run before, and do not end by themselves."""
    deadline = time.monotonic() + JOIN_SECONDS
    leaked = []
    for thread in threading.enumerate():
        if thread in before or thread is threading.current_thread():
            continue
        if thread.name.startswith(FOREIGN_THREADS) or type(thread).__name__ in FOREIGN_CLASSES:
            continue
        thread.join(max(0.0, deadline - time.monotonic()))
        if thread.is_alive():
            leaked.append(f"thread {thread.name!r}")
    return sorted(leaked)


@contextlib.contextmanager
def no_leaks(temporary: Path) -> Iterator[None]:
    """Fail if the block leaves a descriptor, a thread or a temporary file behind.

    Parameters
    ----------
    temporary
        An empty folder: the one for temporary files inside the block.
    """
    descriptors = open_descriptors()
    threads = set(threading.enumerate())
    default = tempfile.tempdir
    tempfile.tempdir = str(temporary)
    try:
        yield
    finally:
        tempfile.tempdir = default
    leaks = [
        *leaked_threads(threads),
        *leaked_descriptors(descriptors),
        *(
            f"temporary file {path.name!r}"
            for path in sorted(temporary.iterdir())
            if not path.name.startswith(FOREIGN_FILES)
        ),
    ]
    if leaks:
        pytest.fail("left behind: " + ", ".join(leaks), pytrace=False)
