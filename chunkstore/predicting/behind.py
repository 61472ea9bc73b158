"""How is a batch dealt with in a thread while the next one is computed?"""

from __future__ import annotations

import contextlib
import contextvars
import os
import queue
import sys
import threading
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

# Batches that wait: one in work, one ready.
_NUM_SLOTS: Final = 2
# Below what computes: a model on the same processors goes first, and is waited for anyway.
_NICENESS: Final = 10


class Behind:
    """Calls a function with one item after the other, in a thread, a few items behind the caller.

    Use it in a ``with`` block: leaving it waits until every item was dealt with. After an error the
    other items are dropped; the error is raised by the next call, or on leaving the block.

    Parameters
    ----------
    function
        Called in the thread, in the order of the items, with the caller's context variables.

    Notes
    -----
    Threads: `put` is for one thread, which may be interrupted at any moment: it waits at queues
    only. On Linux the thread and those that it starts have a lower priority.
    """

    def __init__(self, function: Callable[[Any], None]) -> None:
        self._function = function
        self._items: queue.SimpleQueue[tuple[Any] | None] = queue.SimpleQueue()
        self._slots: queue.SimpleQueue[None] = queue.SimpleQueue()
        for _ in range(_NUM_SLOTS):
            self._slots.put(None)
        self._error: BaseException | None = None
        context = contextvars.copy_context()
        self._thread = threading.Thread(
            target=lambda: context.run(self._run), name="chunkstore-predict", daemon=True
        )
        self._thread.start()

    def put(self, item: Any) -> None:
        """Hand an item over; waits while two are not dealt with yet."""
        self._slots.get()
        self._raise()
        self._items.put((item,))

    def _run(self) -> None:
        _step_back()
        while (entry := self._items.get()) is not None:
            try:
                if self._error is None:
                    self._function(entry[0])
            except BaseException as error:  # noqa: BLE001 - the caller raises it
                self._error = error
            # The item is gone before the next one is waited for.
            del entry
            self._slots.put(None)

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def __enter__(self) -> Behind:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._items.put(None)
        self._thread.join()
        try:
            if kind is None:
                self._raise()
        finally:
            # Its traceback holds this frame.
            self._error = None


def _step_back() -> None:
    """Lower the priority of this thread and of those that it starts, where that may be done."""
    if not sys.platform.startswith("linux"):
        return
    thread = threading.get_native_id()
    # A sandbox may forbid it, and then everything has one priority.
    with contextlib.suppress(OSError):
        # A process that is nice already stays so: going back up is for its superuser.
        if os.getpriority(os.PRIO_PROCESS, thread) < _NICENESS:
            os.setpriority(os.PRIO_PROCESS, thread, _NICENESS)
