"""How is work done by several threads while its results are taken in order?"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

Item = TypeVar("Item")
Result = TypeVar("Result")


def iter_ahead(
    function: Callable[[Item], Result], items: Iterable[Item], *, threads: int, depth: int
) -> Generator[Result]:
    """Yield the results of a function in the order of its arguments, computed ahead by threads.

    Parameters
    ----------
    function
        Called by several threads at the same time.
    items
        Its arguments; taken as needed.
    threads
        How many, at least 1.
    depth
        Results that are computed or wait at a time, at least 1.

    Raises
    ------
    BaseException
        What the function raises, in its turn.

    Examples
    --------
    >>> list(iter_ahead(abs, [3, -1, 2], threads=2, depth=2))
    [3, 1, 2]
    """
    waiting: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="chunkstore-import")
    try:
        for item in items:
            if len(waiting) == depth:
                yield waiting.popleft().result()
            waiting.append(pool.submit(function, item))
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
