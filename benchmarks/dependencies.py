"""What do chunkstore's dependencies cost and give: import time, speed of the CRC-32?

Run it as ``python -m benchmarks.dependencies``. Each import runs in a fresh process; of several
runs the fastest counts, which other programs disturbed least.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import zlib
from typing import TYPE_CHECKING

from isal import isal_zlib

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 7
BASE = "import numpy, numcodecs.blosc"
STATEMENTS = (
    "import numpy",
    BASE,
    "from chunkstore import create, open",
    "import isal.isal_zlib",
    "import tqdm",
    "import rich.progress",
    "import click",
    "import argparse",
    "import zarr",
)
TIMER = """
import time
start = time.perf_counter()
{statement}
print(time.perf_counter() - start)
"""
CHUNK_NBYTES = 1 << 20


def import_seconds(statement: str) -> float:
    """Return the time of a statement in a fresh process, in seconds."""
    # With bytecode, as an installed package has it; the first round may have to write it.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    output = subprocess.check_output(
        [sys.executable, "-c", TIMER.format(statement=statement)], text=True, env=environment
    )
    return float(output)


def measure_imports(rounds: int = ROUNDS) -> dict[str, float]:
    """Return the fastest time of each statement; the statements take turns."""
    best = dict.fromkeys(STATEMENTS, float("inf"))
    for _ in range(rounds):
        for statement in STATEMENTS:
            best[statement] = min(best[statement], import_seconds(statement))
    return best


def crc_seconds(crc32: Callable[[bytes], int], rounds: int = 200) -> float:
    """Return the fastest time for a chunk of 1 MiB, in seconds."""
    chunk = bytes(range(256)) * (CHUNK_NBYTES // 256)
    best = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        crc32(chunk)
        best = min(best, time.perf_counter() - start)
    return best


def main() -> None:
    """Print both tables."""
    best = measure_imports()
    for statement, seconds in best.items():
        print(
            f"{statement:32} {seconds * 1e3:8.1f} ms  {seconds / best[BASE]:5.2f} of numpy + Blosc"
        )
    for name, crc32 in (("zlib.crc32", zlib.crc32), ("isal_zlib.crc32", isal_zlib.crc32)):
        print(f"{name:32} {crc_seconds(crc32) * 1e6:8.1f} us a MiB")


if __name__ == "__main__":
    main()
