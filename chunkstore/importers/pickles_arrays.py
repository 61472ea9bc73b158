"""How is a pickle of arrays read without running anything?

A pickle names functions that it wants called. It gets what `chunkstore.importers.pickles_allowed`
gives out, and no other.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import pickle
import zlib
from typing import TYPE_CHECKING, Any, Final

from chunkstore.errors import ChunkStoreError, CorruptionError, UnsupportedError
from chunkstore.importers.arrays.files import missing
from chunkstore.importers.bcolz.pickle_scan import check_pickle
from chunkstore.importers.pickles_allowed import (
    Allowance,
    Call,
    MadeArray,
    MadeDtype,
    Nothing,
    given_out,
    text_key,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_OPENERS: Final[tuple[tuple[bytes, Callable[..., Any]], ...]] = (
    (b"\x1f\x8b", gzip.open),
    (b"BZh", bz2.open),
    (b"\xfd7zXZ\x00", lzma.open),
)
# A file that is larger decompressed is refused before it fills the memory. Values of 512 MB, which
# `check_pickle` lets through, take up to four times as much as the escaped text of protocol 0.
MAX_NBYTES: Final = 2 << 30
# Values that are met when lists in lists are walked.
_MAX_VALUES: Final = 1 << 26


class _Unpickler(pickle.Unpickler):
    def __init__(self, raw: bytes) -> None:
        # Python 2 wrote its str without a code: bytes are what it was.
        super().__init__(io.BytesIO(raw), encoding="bytes")
        self._allowance = Allowance(len(raw))

    def find_class(self, module: str, name: str) -> Any:
        return given_out(module, name, self._allowance)

    def persistent_load(self, pid: Any) -> Any:
        raise UnsupportedError("the pickle refers to something outside itself")


def load_arrays(raw: bytes) -> Any:
    """Return the value in a pickle: arrays, numbers, text, and lists, tuples and dicts of these.

    Text that Python 2 wrote, and keys of dicts that are bytes, are str where they are UTF-8.

    Raises
    ------
    UnsupportedError
        It asks for something else, or for more time or memory than a value of its size needs.
        Nothing of it was run.
    CorruptionError
        It is damaged.
    """
    check_pickle(raw)
    try:
        return _finished(_bounded(_Unpickler(raw).load()))
    except ChunkStoreError:
        raise
    except RecursionError:
        raise UnsupportedError("the pickle is nested too deep") from None
    except Exception as error:  # noqa: BLE001 - what is given out is called with anything
        raise CorruptionError(f"the pickle is damaged: {type(error).__name__}: {error}") from None


def read_pickle(path: str | os.PathLike[str]) -> Any:
    """Return the value in a file that holds a pickle, or one packed by gzip, bzip2 or xz.

    Raises
    ------
    UnsupportedError, CorruptionError
        See `load_arrays`; says which file.
    """
    place = os.fspath(path)
    try:
        with open(place, "rb") as file:
            start = file.read(6)
        opener = next((found for magic, found in _OPENERS if start.startswith(magic)), open)
        with opener(place, "rb") as file:
            raw = file.read(MAX_NBYTES + 1)
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise CorruptionError(f"the file cannot be decompressed: {error}", place) from error
    except OSError as error:
        if error.errno is None:
            raise CorruptionError(f"the file cannot be decompressed: {error}", place) from error
        raise missing(error, place) from None
    if len(raw) > MAX_NBYTES:
        raise UnsupportedError(f"the pickle takes more than {MAX_NBYTES} bytes", place)
    try:
        return load_arrays(raw)
    except ChunkStoreError as error:
        raise error.located(place) from None


def _bounded(value: Any) -> Any:
    """Return a value, unless its parts stand in it so often that no walk would end."""
    if _count(value, {}) > _MAX_VALUES:
        raise UnsupportedError(
            f"the pickle unfolds to more than {_MAX_VALUES:,} values: parts of it stand in it "
            "again and again"
        )
    return value


def _count(value: Any, known: dict[int, int]) -> int:
    """Return how many values are met when all parts are walked, shared ones again each time."""
    if isinstance(value, dict):
        parts: Any = value.values()
    elif isinstance(value, list | tuple):
        parts = value
    else:
        return 1
    if all(type(item) in (int, float, bool, str) for item in parts):
        return 1 + len(parts)
    if id(value) not in known:
        known[id(value)] = 1 + sum(_count(item, known) for item in parts)
    return known[id(value)]


def _finished(value: Any) -> Any:
    """Return a value with arrays in place of what they were made by."""
    if isinstance(value, MadeArray):
        if value.value is None:
            raise CorruptionError("the pickle is damaged: an array has no elements")
        return value.value
    if isinstance(value, dict):
        finished = {text_key(key): _finished(item) for key, item in value.items()}
        if len(finished) < len(value):
            raise UnsupportedError("the pickle has a dict with a key both as bytes and as text")
        return finished
    if isinstance(value, list):
        # Most lists are long ones of numbers.
        if all(type(item) in (int, float, bool, str) for item in value):
            return value
        return [_finished(item) for item in value]
    if isinstance(value, tuple):
        return tuple(_finished(item) for item in value)
    if isinstance(value, Call | MadeDtype | Nothing):
        raise UnsupportedError("the pickle holds a dtype or a function, no array")
    return value
