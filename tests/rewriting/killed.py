"""How is work that writes a file anew killed in the middle of a system call?"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import chunkstore
from chunkstore.rewriting import dealing, job, writing
from chunkstore.rewriting.budget import Budget

NUM_PILES, MOST_RECORDS = 6, 250
# What each call of the system is an event of: half of a write is done when the process ends.
_PROGRAM = f"""
import os, signal, sys
import chunkstore as cs
from chunkstore import system
from chunkstore.container.writer import ContainerWriter
from chunkstore.rewriting import dealing, job, writing
from chunkstore.rewriting.budget import Budget

for module in (dealing, writing):
    module._LEAST_BETWEEN_CHECKPOINTS_NBYTES = 0
job.plan_budget = lambda *_, **__: Budget({NUM_PILES}, {MOST_RECORDS})
left = int(sys.argv[1])
table = system.calls
pwrite, sync_data, sync_folder = table.pwrite, table.sync_data, table.sync_folder

def event():
    global left
    left -= 1
    return left < 0

def end():
    os.kill(os.getpid(), signal.SIGKILL)

def killed_pwrite(descriptor, data, offset):
    if event():
        pwrite(descriptor, data[: len(data) // 2], offset)
        end()
    return pwrite(descriptor, data, offset)

def killed_sync(call):
    def sync(argument):
        if event():
            end()
        call(argument)
    return sync

rename = ContainerWriter.rename

def killed_rename(self, *arguments, **options):
    if event():
        end()
    rename(self, *arguments, **options)

ContainerWriter.rename = killed_rename
table.pwrite = killed_pwrite
table.sync_data = killed_sync(sync_data)
table.sync_folder = killed_sync(sync_folder)
"""


def use_small_steps(monkeypatch):
    """Work in this process as in one that is killed."""
    for module in (dealing, writing):
        monkeypatch.setattr(module, "_LEAST_BETWEEN_CHECKPOINTS_NBYTES", 0)
    monkeypatch.setattr(job, "plan_budget", lambda *_, **__: Budget(NUM_PILES, MOST_RECORDS))


def run_killed(call, folder, *, events):
    """Run a call in a process that is killed at a system call.

    Parameters
    ----------
    call
        Source code, in which chunkstore is called ``cs``.
    folder
        That it runs in.
    events
        Writes, syncs and renames that succeed.

    Returns
    -------
    is_killed
        False where it came to its end.
    """
    root = str(Path(chunkstore.__file__).parents[1])
    process = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_PROGRAM) + call, str(events)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=False,
    )
    if process.returncode not in (0, -signal.SIGKILL):
        raise RuntimeError(process.stderr)
    return process.returncode != 0
