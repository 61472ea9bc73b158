"""Does Ctrl-C end a measurement, whatever it meets?

Python raises KeyboardInterrupt between any two instructions of the main thread. Where these belong
to a finalizer, to the callback of a weak reference, or to what C code calls and drops errors of,
the exception is lost and the program would go on. So it is noted as well, and raised again.
"""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

# A process has one handler of a signal, so that it has one note.
_noted = threading.Event()


@contextmanager
def heeded_interrupts() -> Iterator[None]:
    """Let no KeyboardInterrupt of the block be lost; blocks may be nested.

    It is raised at the next `check_interrupt`, and at the end of the block at the latest. Whoever
    handles SIGINT in another way, or ignores it, goes on doing so.

    Threads: outside of the main thread the block changes nothing, as no interrupt is raised there.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return

    def note(number: int, frame: FrameType | None) -> None:
        try:
            before(number, frame)
        except KeyboardInterrupt:
            _noted.set()
            raise

    signal.signal(signal.SIGINT, note)
    try:
        yield
        check_interrupt()
    except Exception:
        # It may be what became of an interrupt, such as an import that did not come to its end.
        check_interrupt()
        raise
    finally:
        signal.signal(signal.SIGINT, before)
        _noted.clear()


def check_interrupt() -> None:
    """Raise an interrupt that was noted and lost.

    Raises
    ------
    KeyboardInterrupt
        There was one.
    """
    if _noted.is_set():
        _noted.clear()
        raise KeyboardInterrupt
