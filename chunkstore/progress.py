"""How does a person see that something long is under way?"""

from __future__ import annotations

import contextlib
import sys
import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Work that ends sooner shows no bar.
_DELAY_SECONDS = 1.0

# What holds where a function is not told: None goes by the terminal.
_shown: ContextVar[bool | None] = ContextVar("progress_shown", default=None)


@contextlib.contextmanager
def progress_shown(show: bool | None) -> Iterator[None]:
    """Show or hide the bars of a ``with`` block, where their functions are not told themselves.

    Parameters
    ----------
    show
        None: when stderr is a terminal.
    """
    token = _shown.set(show)
    try:
        yield
    finally:
        _shown.reset(token)


@contextlib.contextmanager
def progress_bar(
    total: int, *, what: str, unit: str = "B", show: bool | None = None
) -> Iterator[Callable[[int], None]]:
    """Show a bar on stderr while a ``with`` block runs; yields what moves it on, in any thread.

    Parameters
    ----------
    total
        Units until the end.
    what
        Words in front of the bar.
    unit
        ``"B"`` for bytes, or the name of what is counted.
    show
        None: as `progress_shown` says, or else when stderr is a terminal. The bar appears after a
        second.
    """
    if show is None:
        show = _shown.get()
    if show is None:
        show = sys.stderr is not None and sys.stderr.isatty()
    if not show:
        yield lambda count: None
        return
    from tqdm.auto import tqdm

    with tqdm(
        total=total, desc=what, unit=unit, unit_scale=True, delay=_DELAY_SECONDS, leave=False
    ) as bar:
        lock = threading.Lock()

        def advance(count: int) -> None:
            with lock:
                bar.update(count)

        yield advance
