"""How is what an index asks for put together from chunks?

For all that is indexed as NumPy indexes an array and stored in chunks of samples: each chunk that
is touched is read and decoded once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from chunkstore import settings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import DTypeLike, NDArray


class ChunkDecoder(Protocol):
    """Decodes whole chunks, for one thread."""

    def read_chunk_into(self, chunk_index: int, out: NDArray[Any]) -> None:
        """Decode a chunk where it belongs."""

    def read_chunk(self, chunk_index: int) -> NDArray[Any]:
        """Return a chunk, valid until the next call."""


class WholeArray(Protocol):
    """An array on disk that can be read as a whole."""

    @property
    def name(self) -> str:
        """In its store."""

    @property
    def nbytes(self) -> int:
        """Decoded."""

    def __getitem__(self, key: Any) -> Any:
        """Return elements as new memory."""


def gather_range_into(
    out: NDArray[Any],
    start: int,
    stop: int,
    rest: tuple[Any, ...],
    *,
    chunk_length: int,
    run: Callable[[Callable[[Any, int], None], Sequence[int]], None],
    advance: Callable[[int], None] | None = None,
) -> None:
    """Fill memory with the samples ``[start, stop)``, each indexed by ``rest``.

    Parameters
    ----------
    out
        Has their shape.
    start, stop
        In ``[0, n)``; not empty.
    rest
        Basic index of the other axes; ``()`` for all of each sample.
    chunk_length
        Samples in a chunk.
    run
        Calls a task for every chunk, each with the `ChunkDecoder` of its thread.
    advance
        Is told the bytes of each chunk that is done, by the thread that did it.
    """

    def task(decoder: ChunkDecoder, chunk_index: int) -> None:
        base = chunk_index * chunk_length
        a, b = max(start, base), min(stop, base + chunk_length)
        target = out[a - start : b - start]
        if not rest and b - a == chunk_length:
            decoder.read_chunk_into(chunk_index, target)
        else:
            chunk = decoder.read_chunk(chunk_index)[a - base : b - base]
            target[...] = chunk[(slice(None), *rest)] if rest else chunk
        if advance is not None:
            advance(target.nbytes)

    run(task, range(start // chunk_length, -(-stop // chunk_length)))


def gather_numbers_into(
    out: NDArray[Any],
    samples: NDArray[np.int64],
    rest: tuple[Any, ...],
    *,
    chunk_length: int,
    run: Callable[[Callable[[Any, int], None], Sequence[int]], None],
) -> None:
    """Fill memory with the samples of these numbers, in this order.

    Parameters
    ----------
    out, rest, chunk_length, run
        See `gather_range_into`.
    samples
        Their numbers, shape ``(n,)``, ``n`` at least 1; may repeat.
    """
    chunks = samples // chunk_length
    within = samples - chunks * chunk_length
    places = np.argsort(chunks, kind="stable")
    cuts = np.flatnonzero(np.diff(chunks[places])) + 1
    bounds = [0, *cuts.tolist(), len(samples)]

    def task(decoder: ChunkDecoder, group: int) -> None:
        dest = places[bounds[group] : bounds[group + 1]]
        taken = decoder.read_chunk(int(chunks[dest[0]])).take(within[dest], axis=0)
        out[dest] = taken[(slice(None), *rest)] if rest else taken

    run(task, range(len(bounds) - 1))


def rest_shape(sample_shape: tuple[int, ...], rest: tuple[Any, ...], name: str) -> tuple[int, ...]:
    """Return the shape of a sample that is indexed.

    Raises
    ------
    IndexError
        Out of bounds, or too many indices; names the array.
    """
    if not rest:
        return sample_shape
    try:
        shape: tuple[int, ...] = np.broadcast_to(np.bool_(False), sample_shape)[rest].shape
    except IndexError as error:
        raise IndexError(f"array {name!r}: {error} (a sample has shape {sample_shape})") from None
    return shape


def as_memory(array: WholeArray, dtype: DTypeLike | None, copy: bool | None) -> NDArray[Any]:
    """Return the whole of a small array, as ``numpy.asarray`` asks for it.

    Raises
    ------
    ValueError
        It is larger than the setting ``asarray_nbytes``, or ``copy`` is False.
    """
    limit = settings.current().asarray_nbytes
    if array.nbytes > limit:
        raise ValueError(
            f"array {array.name!r} takes {array.nbytes} bytes; reading it whole by np.asarray is "
            f"allowed up to {limit} bytes. To train, give fit a loader: "
            "chunkstore.Loader(store, ...).keras(). To read it all the same, write array[...], or "
            "raise the limit: with chunkstore.defaults(asarray_nbytes=...)"
        )
    if copy is False:
        raise ValueError(f"array {array.name!r} is on disk: reading it always copies")
    whole: NDArray[Any] = array[...]
    return whole if dtype is None else whole.astype(dtype, copy=False)
