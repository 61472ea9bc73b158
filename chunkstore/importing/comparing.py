"""Does the new file give back what the source gave?"""

from __future__ import annotations

from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from chunkstore.errors import CorruptionError
from chunkstore.importing.ahead import iter_ahead
from chunkstore.importing.digest import add_samples
from chunkstore.progress import progress_bar
from chunkstore.store.store import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from chunkstore.store.array import Array

# Decoded bytes that are read at a time.
_BLOCK_NBYTES: Final = 8 << 20


def compare(
    path: str,
    digests: Mapping[str, int],
    source: str,
    *,
    show: bool | None,
    block_nbytes: int | None = None,
) -> None:
    """Read a file and compare it with digests of what was written.

    Parameters
    ----------
    path
        The file, finished or not.
    digests
        Of each array, see `chunkstore.importing.digest`.
    source
        Where the samples came from, for the error.
    show
        Whether a bar is shown, see `chunkstore.progress.progress_bar`.
    block_nbytes
        Decoded bytes that are read at a time, of which there are up to four; None for 8 MiB.

    Raises
    ------
    CorruptionError
        An array is not what was written, or cannot be read.
    """
    try:
        _compare(path, digests, source, show=show, block_nbytes=block_nbytes or _BLOCK_NBYTES)
    except CorruptionError as error:
        raise CorruptionError(
            f"{error.message}. The new file was not finished; the same call begins anew. If it "
            "fails again, look for a fault in this machine's memory or in the disk of the new file",
            error.path,
            error.key,
            error.offset,
        ) from None


def _compare(
    path: str,
    digests: Mapping[str, int],
    source: str,
    *,
    show: bool | None,
    block_nbytes: int,
) -> None:
    with open_store(path) as store:
        total = sum(store[name].nbytes for name in digests)
        with progress_bar(total, what="verifying", show=show) as move:
            for name, expected in digests.items():
                found = _digest_of(store[name], move, block_nbytes=block_nbytes)
                if found != expected:
                    raise CorruptionError(
                        f"array {name!r}: the new file does not hold what was read from "
                        f"{source}: digest 0x{found:08x}, expected 0x{expected:08x}",
                        path,
                    )


def _digest_of(array: Array, move: Callable[[int], None], *, block_nbytes: int) -> int:
    """Return the digest of a stored array, read in one pass."""
    sample_nbytes = max(1, array.nbytes // max(1, len(array)))
    length = max(array.chunk_length, block_nbytes // sample_nbytes)
    length -= length % array.chunk_length
    digest = 0
    starts = range(0, len(array), length)
    with closing(
        iter_ahead(partial(_read_back, array, length=length), starts, threads=2, depth=2)
    ) as blocks:
        for samples in blocks:
            digest = add_samples(digest, samples)
            move(samples.nbytes)
    return digest


def _read_back(array: Array, start: int, *, length: int) -> NDArray[Any]:
    return array.read_samples(start, min(start + length, len(array)))
