"""Two thousand damaged folders: an error or the right values, no signal and no hang.

The format has no checksum. A chunk whose damage still decodes to the right length reads wrong in
every reader, and is counted here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter

from tests.support import REPOSITORY

BATCHES, CASES = 2, 1000
SECONDS = 240


def test_damaged_folders_are_refused_or_read_right_and_never_kill_the_process(kit):
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    processes = [
        subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.importers.bcolz.corrupt",
                str(kit),
                str(seed),
                str(CASES),
            ],
            cwd=REPOSITORY,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for seed in range(BATCHES)
    ]
    counts = Counter()
    for process in processes:
        out, error = process.communicate(timeout=SECONDS)
        assert process.returncode == 0, error
        counts.update(json.loads(out))
    assert counts.total() == BATCHES * CASES
    assert set(counts) <= {"error", "right", "warned", "undetected"}
    # Of damage to chunks alone. A tenth is damage that changes nothing that is read.
    assert counts["error"] > 0.6 * counts.total()
    assert counts["undetected"] < 0.3 * counts.total()
