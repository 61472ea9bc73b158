"""Which Python has a peer's packages?

Those of the extra ``bench`` stand in the environment that runs the benchmark. The others may stand
there too, in one of their own, or in the one of ``make test-all``.
"""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from typing import TYPE_CHECKING

from benchmarks.probe import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.peers.record import Peer

BENCH = "bench"
PEERS_FOLDER = REPOSITORY / ".venv-peers"
# It has torch and tensorflow.
_ALL = REPOSITORY / ".venv-all" / "bin" / "python"
_PROGRAM = """
import importlib.metadata, sys
for name in sys.argv[1:]:
    importlib.metadata.version(name)
"""


def package_names(peer: Peer) -> list[str]:
    """Return the peer's packages without their versions."""
    return [package.partition("==")[0] for package in peer.packages]


def find_python(peer: Peer) -> str | None:
    """Return the interpreter that has a peer's packages, or None."""
    if has_packages(peer):
        return sys.executable
    if peer.environment == BENCH:
        return None
    for python in (PEERS_FOLDER / peer.environment / "bin" / "python", _ALL):
        if python.exists() and _has_packages(python, package_names(peer)):
            return str(python)
    return None


def has_packages(peer: Peer) -> bool:
    """Say whether this interpreter has a peer's packages."""
    try:
        for name in package_names(peer):
            importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _has_packages(python: Path, names: list[str]) -> bool:
    found = subprocess.run([str(python), "-c", _PROGRAM, *names], capture_output=True, check=False)
    return found.returncode == 0


def advice(peer: Peer) -> str:
    """Return how to install a peer."""
    if peer.environment == BENCH:
        return 'not installed: pip install "chunkstore[bench]"'
    return f"not installed: python -m benchmarks.peers.install {peer.environment}"
