"""How is an import killed in the middle, as the system kills a process?"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import chunkstore
from chunkstore.importing import run

# Small, so that little data have several checkpoints; files follow from it.
_BLOCK_NBYTES = 1 << 20

_PROGRAM = f"""
import os, signal
import chunkstore as cs
from chunkstore.importing import run
run._BLOCK_NBYTES, run._LEAST_BETWEEN_CHECKPOINTS_NBYTES = {_BLOCK_NBYTES}, 0
checkpoint = run._Run.checkpoint
def killed(self):
    checkpoint(self)
    if self._position.num_done:
        os.kill(os.getpid(), signal.SIGKILL)
run._Run.checkpoint = killed
"""


def use_small_blocks(monkeypatch):
    """Import in this process as in one that is killed."""
    monkeypatch.setattr(run, "_BLOCK_NBYTES", _BLOCK_NBYTES)
    monkeypatch.setattr(run, "_LEAST_BETWEEN_CHECKPOINTS_NBYTES", 0)


def killed_after_a_checkpoint(call, folder):
    """Run an import in a process that is killed after the first samples were written.

    Parameters
    ----------
    call
        Source code, in which chunkstore is called ``cs``.
    folder
        That it runs in.

    Returns
    -------
    is_killed
        Whether it came so far, and left a partial file only.
    """
    root = str(Path(chunkstore.__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": root}
    process = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_PROGRAM) + call],
        cwd=folder,
        env=environment,
        check=False,
    )
    names = [path.name for path in Path(folder).iterdir()]
    return (
        process.returncode == -signal.SIGKILL
        and "b.zarr.zip" not in names
        and "b.zarr.zip.partial" in names
    )
