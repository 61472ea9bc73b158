"""What do the arrays of one open store share?"""

from __future__ import annotations

import contextlib
import os
import weakref
from typing import TYPE_CHECKING

from chunkstore.container.reader import Container, ReaderPool
from chunkstore.store.array_reader import ArrayReader
from chunkstore.store.nodes import read_nodes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chunkstore.store.array import Array
    from chunkstore.store.node import Nodes

# Readers kept between single reads: their buffers are as large as a chunk.
_KEPT_READERS = 2


class OpenFile:
    """A container, its nodes, and readers that wait for the next index.

    Notes
    -----
    Threads: safe. A forked child shares the descriptor and reads by position, so both read right.
    An open file that nobody refers to any more is closed.
    """

    def __init__(self, path: str, *, lenient: bool = False) -> None:
        self.path = path
        self.container = Container(path)
        try:
            self.nodes: Nodes = read_nodes(self.container, lenient=lenient)
        except BaseException:
            self.container.close()
            raise
        # For other processes, and after a change of the working directory.
        self.place = os.path.abspath(path)
        self._pool = ReaderPool(self.container, keep=_KEPT_READERS)
        self.is_closed = False
        # An array that was unpickled or taken from ``open(path)["x"]`` has no store to close.
        self._finalizer = weakref.finalize(self, self.container.close)

    @contextlib.contextmanager
    def array_reader(self, array: Array) -> Iterator[ArrayReader]:
        """Lend a chunk reader for the time of a ``with`` block."""
        self.check_open()
        entries = self._pool.borrow()
        try:
            yield ArrayReader(self, array._node, array.dtype, direct=False, entries=entries)
        finally:
            self._pool.give_back(entries)

    def check_open(self) -> None:
        """Raise ValueError if the store was closed."""
        if self.is_closed:
            raise ValueError(f"{self.path}: the store is closed; open it again to read")

    def close(self) -> None:
        """Close the file; again is allowed."""
        self.is_closed = True
        self._pool.close()
        self._finalizer()
