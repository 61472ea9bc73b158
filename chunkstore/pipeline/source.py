"""What can a Loader read from?

Anything that is cut into chunks along its first axis and can decode one of them into memory that
the caller owns: the arrays of a store, numpy arrays, arrays of other libraries behind a few lines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class ChunkReader(Protocol):
    """Decodes the chunks of one array.

    Threads: one reader belongs to one thread; it owns the buffer it reads into.
    """

    @property
    def read_nbytes(self) -> int:
        """Encoded bytes read so far."""

    @property
    def fetch_seconds(self) -> float:
        """Time spent so far on reading bytes."""

    @property
    def decode_seconds(self) -> float:
        """Time spent so far on checking and decoding them."""

    @property
    def buffer_nbytes(self) -> int:
        """The most memory that the reader's own buffers take."""

    def read_chunk_into(self, chunk_index: int, out: NDArray[Any]) -> None:
        """Read, check and decode one chunk.

        Parameters
        ----------
        chunk_index
            In ``[0, num_chunks)``.
        out
            C-contiguous and writable, shape ``(chunk_length, *sample_shape)``, the source's dtype.
            Behind the samples of a shorter last chunk, its values are unspecified afterwards.
        """

    def close(self) -> None:
        """Give back what the reader holds; again is allowed."""


@runtime_checkable
class ChunkSource(Protocol):
    """An array cut into chunks along its first axis, the sample axis.

    Chunk ``i`` holds the samples ``[i * chunk_length, min((i + 1) * chunk_length, shape[0]))``.

    Threads: the properties and `open_reader` may be used from any thread.
    """

    @property
    def name(self) -> str:
        """How errors call the array."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the whole array."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the elements, in native byte order."""

    @property
    def chunk_length(self) -> int:
        """Samples in a chunk."""

    @property
    def num_chunks(self) -> int:
        """Chunks of the array."""

    @property
    def fingerprint(self) -> str:
        """Digest of what an order depends on: the layout, and the identity of the data."""

    def open_reader(self, *, direct: bool = False) -> ChunkReader:
        """Return a reader for one thread.

        Parameters
        ----------
        direct
            Read past the page cache where that is possible.
        """
