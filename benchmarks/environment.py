"""On which machine, disk and versions were numbers measured?"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from benchmarks.probe import REPOSITORY

_PACKAGES = (
    "numpy", "numcodecs", "zarr", "isal", "scikit-image", "scikit-learn", "tensorstore", "h5py",
    "hdf5plugin", "blosc2", "lmdb",
)  # fmt: skip


def describe(folders: dict[str, str]) -> dict[str, Any]:
    """Return machine, versions and commit as JSON values.

    Parameters
    ----------
    folders
        Those that were measured on, by the name of the tier.
    """
    return {
        "cpu": cpu_model(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "memory_nbytes": memory_nbytes(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in _PACKAGES},
        "storage": {name: storage(folder) for name, folder in folders.items()},
        "commit": commit(),
    }


def version(package: str) -> str | None:
    """Return the installed version of a package, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def cpu_model() -> str:
    """Return the processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def memory_nbytes() -> int | None:
    """Return the machine's memory in bytes, where the system tells."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def storage(folder: str) -> dict[str, Any]:
    """Return file system and device of a folder, where Linux tells."""
    path = os.path.realpath(folder)
    try:
        mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return {"file_system": None, "device": None, "rotational": None}
    inside = [m for m in mounts if f"{path}/".startswith(m[1].rstrip("/") + "/")]
    device, _, kind = max(inside, key=lambda mount: len(mount[1]))[:3]
    rotational = None
    queue = Path("/sys/class/block") / Path(device).name
    for place in (queue, queue.resolve().parent):
        flag = place / "queue" / "rotational"
        if flag.exists():
            rotational = flag.read_text().strip() == "1"
            break
    return {"file_system": kind, "device": device, "rotational": rotational}


def commit() -> str | None:
    """Return the commit of the working tree, with a mark when files differ from it."""
    try:
        return subprocess.check_output(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=REPOSITORY,
            text=True,
            stderr=subprocess.DEVNULL,
        ).strip()
    except (OSError, subprocess.CalledProcessError):
        return None
