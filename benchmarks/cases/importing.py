"""What do the imports of a program that uses stores cost beside the packages under them?"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from benchmarks.probe import REPOSITORY
from benchmarks.result import measure_in_turns, ratio

if TYPE_CHECKING:
    from benchmarks.result import Result, Settings

# Modules are imported when they are first used.
_OURS = "from chunkstore import create, open"
_PEER = "import numpy, numcodecs.blosc"
_PROGRAM = """
import time
start = time.perf_counter()
{statement}
print(time.perf_counter() - start)
"""


def import_seconds(statement: str) -> float:
    """Return the time of a statement in a fresh process, in seconds."""
    # With bytecode, as an installed package has it; the warm-up may have to write it.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    output = subprocess.check_output(
        [sys.executable, "-c", _PROGRAM.format(statement=statement)],
        text=True,
        cwd=REPOSITORY,
        env=environment,
    )
    return float(output)


def run(settings: Settings) -> list[Result]:
    """Measure."""
    measured = measure_in_turns(
        [lambda: import_seconds(_OURS), lambda: import_seconds(_PEER)],
        # A process each and some 100 ms: more rounds are cheap, and imports vary.
        rounds=4 * settings.rounds,
    )
    return [
        ratio(
            measured,
            ours=0,
            peer=1,
            direction="at most",
            limit=1.5,
            case="import",
            name=f"{_OURS} / {_PEER}",
            conditions="fresh processes, warm page cache, bytecode compiled",
        )
    ]
