"""Does Ctrl-C end a command, whatever it meets?

Python raises KeyboardInterrupt between any two instructions of the main thread. Where these belong
to a finalizer or to the callback of a weak reference, the exception is only told to
`sys.unraisablehook`, and the command would go on to its end. So the signal is sent again.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

# The finalizer is over by then.
_WAIT_SECONDS: Final = 0.05


@contextlib.contextmanager
def interrupts_arrive() -> Iterator[None]:
    """Let a KeyboardInterrupt that a finalizer of the block dropped come once more.

    Threads: to be entered in the main thread; elsewhere the block changes nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = sys.unraisablehook
    timers: list[threading.Timer] = []

    def hook(unraisable: Any) -> None:
        if not issubclass(unraisable.exc_type, KeyboardInterrupt):
            before(unraisable)
            return
        timer = threading.Timer(_WAIT_SECONDS, _interrupt)
        timer.daemon = True
        timers.append(timer)
        timer.start()

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before
        for timer in timers:
            timer.cancel()


def _interrupt() -> None:
    if hasattr(signal, "pthread_kill"):
        # The main thread may wait for a lock, which only a signal to it interrupts.
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:
        signal.raise_signal(signal.SIGINT)
