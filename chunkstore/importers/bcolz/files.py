"""Where do the files of a bcolz folder come from?

From a directory or from inside an archive: the layers above see the same few operations. Chunk
files, of which there can be millions, are known by number and not by name.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

Kind = Literal["file", "folder", "link", "other"]
KIND_TEXTS: Final[dict[Kind, str]] = {
    "file": "a file",
    "folder": "a folder",
    "link": "a link, which is not followed",
    "other": "a pipe or a device",
}
# The whole name, and no leading zeros: "__3 (1).blp", "__03.blp" and "__3.blp.part" are stray.
CHUNK_NAME: Final = re.compile(r"__(0|[1-9][0-9]{0,17})\.blp")
MAX_METADATA_NBYTES: Final = 64 << 20
# So many bytes at the end of each chunk file are looked at: a block of a disk.
TAIL_NBYTES: Final = 512


class Head(NamedTuple):
    """What is known of a chunk file before it is read.

    Attributes
    ----------
    nbytes
        Its length.
    start
        Its first `chunkstore.importers.bcolz.frame.PEEK_NBYTES` bytes.
    has_holes
        Whether parts of it were never written.
    num_end_zeros
        How many of its last `TAIL_NBYTES` bytes, counted from the end, are zero; 0 where nobody
        looked.
    """

    nbytes: int
    start: bytes
    has_holes: bool = False
    num_end_zeros: int = 0


class ChunkFileReader(Protocol):
    """Reads the chunk files of one folder.

    Threads: one reader serves one thread.
    """

    @property
    def read_nbytes(self) -> int:
        """Bytes read so far."""

    @property
    def buffer_nbytes(self) -> int:
        """The most memory that its buffers take."""

    def read_head(self, index: int) -> Head:
        """Return how a file begins and ends."""

    def read(self, index: int, limit: int) -> memoryview:
        """Return a file's bytes, at most ``limit``; valid until the next call."""

    def read_content(self, index: int, content: memoryview) -> tuple[bytes, int]:
        """Put what stands behind a file's headers into the caller's memory.

        Returns
        -------
        The first `HEAD_NBYTES` bytes, and how many bytes of ``content`` were filled.
        """

    def close(self) -> None:
        """Give back what the reader holds; again is allowed."""


class ChunkFiles(Protocol):
    """The chunk files of one ``data`` folder.

    Attributes
    ----------
    indices
        Numbers of the chunks that are regular files, ascending, int64.
    irregular
        What else has the name of a chunk: a folder or a link, by number.

    Threads: safe.
    """

    @property
    def indices(self) -> NDArray[np.int64]:
        """Numbers of the regular files."""

    @property
    def irregular(self) -> Mapping[int, Kind]:
        """What else has the name of a chunk."""

    def open_reader(self) -> ChunkFileReader:
        """Return a reader for one thread."""


class SourceFiles(Protocol):
    """A tree of folders with bcolz arrays in it.

    Paths are relative to ``path``, their parts divided by ``/``; the root is ``""``.

    Threads: safe.
    """

    @property
    def path(self) -> str:
        """The directory or the archive."""

    def entries(self, folder: str) -> dict[str, Kind]:
        """Return what is in a folder, by name; nothing if there is no such folder."""

    def has_chunks(self, folder: str) -> bool:
        """Say whether a folder holds a chunk file."""

    def read(self, path: str) -> bytes | None:
        """Return a small file's bytes; None if there is none."""

    def chunk_files(self, folder: str) -> ChunkFiles:
        """Return the chunk files of a folder."""

    def close(self) -> None:
        """Close what is open; again is allowed."""


def count_end_zeros(tail: bytes) -> int:
    """Return how many zeros are at the end of some bytes."""
    return len(tail) - len(tail.rstrip(b"\0"))


def joined(folder: str, name: str) -> str:
    """Return the path of what is called ``name`` in a folder."""
    return f"{folder}/{name}" if folder else name
