"""How are the filters of HDF5 undone outside of HDF5?

HDF5 has one lock for everything, so it decodes one chunk at a time. What its filters do is fixed by
their numbers and parameters; those that data sets for training use are undone here, each to exactly
as many bytes as the chunk has. Sources: HDF5 specification 2.0, "Filter Pipeline Message"; the
registered filters 32000 (LZF), 32001 (Blosc) and 32015 (zstd).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final, Protocol, cast

import numpy as np
from isal import isal_zlib

from chunkstore.errors import CorruptionError
from chunkstore.format.blosc import BloscCodec
from chunkstore.format.zstd import ZstdCodec
from chunkstore.importers.hdf5_lzf import lzf_decoder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

DEFLATE: Final = 1
SHUFFLE: Final = 2
FLETCHER32: Final = 3
LZF: Final = 32000
BLOSC: Final = 32001
ZSTD: Final = 32015

# isal's annotations call the class an instance.
_STREAM_ERROR: Final = cast("type[Exception]", isal_zlib.error)
_CHECKSUM_NBYTES: Final = 4
# Of Blosc's parameters: which compressor, and the number of one that numcodecs does not have.
_BLOSC_COMPRESSOR, _SNAPPY = 6, 3
_CHECKSUM_WORDS: Final = 1 << 16
_CHECKSUM_MODULUS: Final = 65535


class Filter(Protocol):
    """One step of a chunk's way to what is stored."""

    @property
    def added_nbytes(self) -> int | None:
        """By how many bytes what is stored is longer; None where that depends on the data."""

    def undo_into(self, encoded: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
        """Fill ``out`` with exactly its bytes, or raise CorruptionError."""


class _Deflate:
    """A zlib stream; its Adler-32 is checked."""

    added_nbytes = None

    def undo_into(self, encoded: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
        inflater = isal_zlib.decompressobj()
        try:
            # One more than may be: a stream that goes on is seen, and not followed.
            data = inflater.decompress(encoded.data, out.nbytes + 1)
        except _STREAM_ERROR as error:
            raise CorruptionError(f"deflate: the stream is damaged: {error}") from None
        if len(data) != out.nbytes:
            more = "more than " if len(data) > out.nbytes else ""
            count = min(len(data), out.nbytes)
            raise CorruptionError(
                f"deflate: the stream decodes to {more}{count} bytes, expected {out.nbytes}"
            )
        if not inflater.eof:
            raise CorruptionError("deflate: the stream is cut short before its checksum")
        out[...] = np.frombuffer(data, np.uint8)


@dataclass(frozen=True)
class _Shuffle:
    """Bytes of equal place in their elements stand together; what is no whole element, at the end.

    Attributes
    ----------
    element_nbytes
        Of an element, at least 1.
    """

    element_nbytes: int

    added_nbytes = 0

    def undo_into(self, encoded: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
        _check_nbytes("shuffle", len(encoded), out.nbytes)
        count = len(encoded) // self.element_nbytes
        whole = count * self.element_nbytes
        elements = out[:whole].reshape(count, self.element_nbytes)
        planes = encoded[:whole].reshape(self.element_nbytes, count)
        for i in range(self.element_nbytes):
            elements[:, i] = planes[i]
        out[whole:] = encoded[whole:]


class _Fletcher32:
    """A checksum of 32 bits behind the data."""

    added_nbytes = _CHECKSUM_NBYTES

    def undo_into(self, encoded: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
        _check_nbytes("fletcher32", len(encoded), out.nbytes + _CHECKSUM_NBYTES)
        stored = int.from_bytes(encoded[out.nbytes :].tobytes(), "little")
        found = fletcher32(encoded[: out.nbytes])
        # HDF5 before 1.6.3 wrote the bytes of each half the other way round on some machines.
        halves = ((found & 0xFF00FF00) >> 8) | ((found & 0x00FF00FF) << 8)
        if stored not in (found, halves):
            raise CorruptionError(f"fletcher32 is 0x{found:08x}, expected 0x{stored:08x}")
        out[...] = encoded[: out.nbytes]


@dataclass(frozen=True)
class _Lzf:
    """LZF by the decoder that h5py brings."""

    decode: Callable[[NDArray[np.uint8], NDArray[np.uint8]], int]

    added_nbytes = None

    def undo_into(self, encoded: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
        nbytes = self.decode(encoded, out)
        if nbytes != out.nbytes:
            what = f"decodes to {nbytes} bytes" if nbytes else "does not decode"
            raise CorruptionError(f"lzf: the data {what}, expected {out.nbytes} bytes")


class _Blosc:
    """A frame of Blosc."""

    added_nbytes = None

    def undo_into(self, encoded: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
        # How it was encoded stands in the frame.
        BloscCodec("lz4", 5, "byte", 1).decode_into(encoded.data, out)


class _Zstd:
    """A frame of zstd."""

    added_nbytes = None

    def undo_into(self, encoded: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
        ZstdCodec().decode_into(encoded.data, out)


@dataclass(frozen=True)
class FilterChain:
    """The filters of a dataset in the order of encoding.

    Attributes
    ----------
    filters
        At most one of them changes the number of bytes by what is in the data.
    """

    filters: tuple[Filter, ...]

    def decode_into(self, encoded: NDArray[np.uint8], mask: int, out: NDArray[np.uint8]) -> None:
        """Fill ``out`` with a chunk.

        Parameters
        ----------
        encoded
            As stored, shape ``(n,)``. Not kept.
        mask
            Bit ``i`` says that filter ``i`` was left out for this chunk.
        out
            Bytes of the chunk, shape ``(n,)``, contiguous. Unspecified after an error.

        Raises
        ------
        CorruptionError
            The bytes do not decode to exactly this chunk.

        Notes
        -----
        Threads: safe; nearly all work is done without the interpreter lock.
        """
        active = [step for i, step in enumerate(self.filters) if not mask >> i & 1]
        if not active:
            _check_nbytes("a chunk that no filter changed", len(encoded), out.nbytes)
            out[...] = encoded
            return
        for i in range(len(active) - 1, 0, -1):
            target = np.empty(_nbytes_before(active, i, len(encoded), out.nbytes), np.uint8)
            active[i].undo_into(encoded, target)
            encoded = target
        active[0].undo_into(encoded, out)


def filter_chain(described: Sequence[tuple[int, tuple[int, ...]]]) -> FilterChain | None:
    """Return the chain of filters, or None where one of them is HDF5's to undo.

    Parameters
    ----------
    described
        Number and parameters of each filter, in the order of encoding.
    """
    filters = [_filter(number, parameters) for number, parameters in described]
    found = [step for step in filters if step is not None]
    num_compressors = sum(step.added_nbytes is None for step in found)
    if len(found) < len(filters) or num_compressors > 1:
        return None
    return FilterChain(tuple(found))


def _filter(number: int, parameters: tuple[int, ...]) -> Filter | None:
    if number == DEFLATE:
        return _Deflate()
    if number == SHUFFLE and parameters and parameters[0] > 0:
        return _Shuffle(parameters[0])
    if number == FLETCHER32:
        return _Fletcher32()
    if number == LZF and (decode := lzf_decoder()) is not None:
        return _Lzf(decode)
    if number == BLOSC and parameters[_BLOSC_COMPRESSOR : _BLOSC_COMPRESSOR + 1] != (_SNAPPY,):
        return _Blosc()
    if number == ZSTD:
        return _Zstd()
    return None


def _nbytes_before(active: Sequence[Filter], i: int, nbytes: int, chunk_nbytes: int) -> int:
    """Return how many bytes filter ``i`` was given, whose result has ``nbytes``."""
    before = [step.added_nbytes for step in active[:i]]
    if None in before:
        # The one compressor is among them, so this filter adds a known number.
        return max(0, nbytes - (active[i].added_nbytes or 0))
    return chunk_nbytes + sum(added or 0 for added in before)


def _check_nbytes(what: str, got: int, expected: int) -> None:
    if got != expected:
        raise CorruptionError(f"{what} has {got} bytes, expected {expected}")


def fletcher32(data: NDArray[np.uint8]) -> int:
    """Return HDF5's checksum of some bytes, shape ``(n,)``.

    Both sums are over words of 16 bits, big end first, modulo 65535; a sum that is not 0 stands as
    1 to 65535.

    Examples
    --------
    >>> hex(fletcher32(np.frombuffer(b"abcde", np.uint8)))
    '0x4ff029c7'
    """
    first = second = 0
    whole = len(data) // 2 * 2
    words = data[:whole].view(">u2")
    for start in range(0, len(words), _CHECKSUM_WORDS):
        part = words[start : start + _CHECKSUM_WORDS].astype(np.uint64)
        # Each word counts in the second sum as often as words follow, itself included.
        second += int(part @ _weights()[-len(part) :]) + len(part) * first
        first += int(part.sum())
    if len(data) % 2:
        first += int(data[-1]) << 8
        second += first
    return _folded(second) << 16 | _folded(first)


@cache
def _weights() -> NDArray[np.uint64]:
    return np.arange(_CHECKSUM_WORDS, 0, -1, dtype=np.uint64)


def _folded(total: int) -> int:
    return (total - 1) % _CHECKSUM_MODULUS + 1 if total else 0
