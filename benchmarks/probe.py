"""How does one measurement run in a process of its own?

``run_apart(function, ...)`` calls a function of a module in a fresh interpreter and returns what
it returned. A `Session` is such an interpreter that takes several calls. Allocators, caches and
imports of one side then cost or help no other side.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

REPOSITORY = Path(__file__).resolve().parent.parent
_MARK = "benchmarks.probe: "
_CLOSE_SECONDS = 20
_PRINTED_LINES = 30


class EndedError(RuntimeError):
    """The process of a session has ended by itself."""


class Session:
    """A fresh interpreter that calls functions of modules, one after the other.

    Parameters
    ----------
    python
        Path of the interpreter; by default the one that runs this.

    Attributes
    ----------
    process
        Its number.
    """

    def __init__(self, python: str = sys.executable) -> None:
        self._errors = tempfile.TemporaryFile(mode="w+")  # noqa: SIM115 - closed by close()
        self._child = subprocess.Popen(
            [python, "-m", "benchmarks.probe"],
            cwd=REPOSITORY,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            # Its worker processes end with it.
            start_new_session=True,
        )
        self.process = self._child.pid

    def call(
        self, function: Callable[..., Any], *, timeout: float | None = None, **arguments: Any
    ) -> Any:
        """Call a module's function.

        Parameters
        ----------
        function
            Found again by its module and name.
        timeout
            Seconds after which the process is ended; None waits.
        **arguments
            JSON values.

        Returns
        -------
        What it returned: a JSON value.

        Raises
        ------
        EndedError
            The process ended, or was ended; with what it printed.
        RuntimeError
            The function raised; with its traceback.
        """
        asked = {"module": function.__module__, "name": function.__name__, "arguments": arguments}
        printed: list[str] = []
        timer = threading.Timer(timeout or 0, self._kill)
        if timeout is not None:
            timer.start()
        answer = None
        # A child that has ended takes no question, and its output ends.
        with contextlib.suppress(BrokenPipeError):
            self._child.stdin.write(json.dumps(asked) + "\n")
            self._child.stdin.flush()
        for line in self._child.stdout:
            if line.startswith(_MARK):
                answer = json.loads(line.removeprefix(_MARK))
                break
            printed.append(line)
        timer.cancel()
        if answer is None:
            code = self._child.wait()
            raise EndedError(
                f"{''.join(printed)}{self._printed()}\n"
                f"{function.__module__}.{function.__name__} ended with exit code {code}"
            )
        if "error" in answer:
            raise RuntimeError(
                f"{function.__module__}.{function.__name__} failed:\n{answer['error']}"
            )
        return answer["value"]

    def _printed(self) -> str:
        self._errors.seek(0)
        return "".join(self._errors.readlines()[-_PRINTED_LINES:])

    def _kill(self) -> None:
        """End the process, and those of its own that may outlive it and hold its pipes."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process, signal.SIGKILL)

    def close(self) -> None:
        """End the process and those that it started."""
        with contextlib.suppress(BrokenPipeError):
            self._child.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(_CLOSE_SECONDS)
        self._kill()
        self._child.wait()
        self._child.stdout.close()
        self._errors.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def run_apart(
    function: Callable[..., Any], *, python: str = sys.executable, **arguments: Any
) -> Any:
    """Call a module's function in a fresh process.

    Parameters
    ----------
    function
        Found again by its module and name.
    python
        Path of the interpreter.
    **arguments
        JSON values.

    Returns
    -------
    What it returned: a JSON value.

    Raises
    ------
    RuntimeError
        It failed; with its traceback, or with what the process printed.
    """
    with Session(python) as session:
        return session.call(function, **arguments)


def main() -> None:
    """Answer each line on stdin: a function's module, name and arguments."""
    import traceback

    for line in sys.stdin:
        asked = json.loads(line)
        try:
            function = getattr(importlib.import_module(asked["module"]), asked["name"])
            answer = {"value": function(**asked["arguments"])}
        except Exception:  # noqa: BLE001 - it is handed on to the caller, with its traceback
            answer = {"error": traceback.format_exc()}
        print(_MARK + json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
