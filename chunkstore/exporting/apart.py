"""How does work end well that must not be interrupted in its middle?

Signals raise their exceptions in the main thread, at any line of Python; where C calls this line,
as HDF5 does to write, the process crashes. So the work is done by another thread; the main thread
waits for it, and an interrupt makes it stop at the next place where it can.
"""

from __future__ import annotations

import contextvars
import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

# The work says when it is done; this is only how late an interrupt may be noticed on Windows.
_WAIT_SECONDS: Final = 0.2


class _StoppedError(Exception):
    """The work was asked to stop, and did."""


class _Work:
    """Work that another thread does.

    Notes
    -----
    Plain attributes and a lock that is only a bell: an interrupt between two lines of a condition
    would leave it locked.
    """

    def __init__(self, work: Callable[[Callable[[], None]], None]) -> None:
        self._work = work
        self.is_done = False
        self.is_stopped = False
        self.error: BaseException | None = None
        self.bell = threading.Lock()
        self.bell.acquire()

    def run(self) -> None:
        try:
            self._work(self._check)
        except _StoppedError:
            pass
        except BaseException as error:  # noqa: BLE001 - raised by who waits
            self.error = error
        finally:
            self.is_done = True
            self.bell.release()

    def _check(self) -> None:
        if self.is_stopped:
            raise _StoppedError


def run_apart(work: Callable[[Callable[[], None]], None]) -> None:
    """Do something in another thread, and wait until it is done.

    Parameters
    ----------
    work
        Gets a function to call where the work may stop; it raises there once this thread was
        interrupted. Runs in a copy of this thread's context.

    Raises
    ------
    BaseException
        What the work raised; or what interrupted this thread, once the work has stopped.
    """
    state = _Work(work)
    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(state.run,), name="chunkstore-export")
    interrupt: BaseException | None = None
    try:
        thread.start()
        while True:
            try:
                while not state.is_done:
                    state.bell.acquire(timeout=_WAIT_SECONDS)
                break
            except BaseException as error:  # noqa: BLE001 - raised when the work has stopped
                state.is_stopped = True
                interrupt = interrupt or error
    finally:
        # Also if an interrupt comes in the lines that take one.
        state.is_stopped = True
    if interrupt is not None:
        raise interrupt
    if state.error is not None:
        raise state.error
