"""How does one measurement run in a process of its own?

``run_apart(function, ...)`` calls a function of a module in a fresh interpreter and returns what
it returned. Allocators, caches and imports of one side then cost or help no other side.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

REPOSITORY = Path(__file__).resolve().parent.parent
_MARK = "benchmarks.probe: "


def run_apart(function: Callable[..., Any], **arguments: Any) -> Any:
    """Call a module's function in a fresh process.

    Parameters
    ----------
    function
        Found again by its module and name.
    **arguments
        JSON values.

    Returns
    -------
    What it returned: a JSON value.

    Raises
    ------
    RuntimeError
        The process failed; with what it printed.
    """
    process = subprocess.run(
        [sys.executable, "-m", "benchmarks.probe", function.__module__, function.__name__],
        input=json.dumps(arguments),
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line for line in process.stdout.splitlines() if line.startswith(_MARK)]
    if process.returncode or len(lines) != 1:
        raise RuntimeError(
            f"{function.__module__}.{function.__name__} failed with exit code "
            f"{process.returncode}:\n{process.stdout}{process.stderr}"
        )
    return json.loads(lines[0].removeprefix(_MARK))


def main() -> None:
    """Call the function that the command line names with the arguments on stdin."""
    module, name = sys.argv[1:]
    arguments = json.load(sys.stdin)
    value = getattr(importlib.import_module(module), name)(**arguments)
    print(_MARK + json.dumps(value))


if __name__ == "__main__":
    main()
