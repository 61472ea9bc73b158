"""How is work on many chunks spread over a few threads that end with it?"""

from __future__ import annotations

import concurrent.futures
import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from contextlib import AbstractContextManager

Item = TypeVar("Item")
Tool = TypeVar("Tool")


def for_each(
    items: Sequence[Item],
    work: Callable[[Tool, Item], None],
    *,
    open_tool: Callable[[], AbstractContextManager[Tool]],
    threads: int,
    name: str,
) -> None:
    """Do some work on each item, with one tool for each thread.

    Parameters
    ----------
    items
        Dealt to the threads in turn.
    work
        Called with a tool and an item.
    open_tool
        Opens what one thread needs, such as a reader.
    threads
        How many; with one the caller's thread does it.
    name
        Of the threads.

    Raises
    ------
    BaseException
        The first error of any item; the other threads stop at their next item. So they do when the
        caller is interrupted.
    """
    is_over = threading.Event()

    def run(mine: Iterable[Item]) -> None:
        try:
            with open_tool() as tool:
                for item in mine:
                    if is_over.is_set():
                        return
                    work(tool, item)
        except BaseException:
            is_over.set()
            raise

    if threads < 2:
        run(items)
        return
    # Threads of this call only: nothing is left behind, and nothing to repair after a fork.
    with concurrent.futures.ThreadPoolExecutor(threads, name) as pool:
        futures = [pool.submit(run, items[first::threads]) for first in range(threads)]
        try:
            for future in futures:
                future.result()
        except BaseException:
            is_over.set()
            raise
