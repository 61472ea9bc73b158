"""What may a caller give as samples, and how is it read block by block?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from chunkstore.format.stored_dtype import stored_form
from chunkstore.store.spec import ArraySpec

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from numpy.typing import NDArray

# Decoded bytes read from a source at a time: many chunks, so that all cores have work.
_BLOCK_NBYTES = 16 << 20
_MAX_NAME_LENGTH = 1024


def check_array_name(name: str, others: Container[str] | None = None) -> None:
    """Raise ValueError unless a name can be the path of an array.

    Parameters
    ----------
    name
        Parts joined by ``/``.
    others
        Names of the file's other arrays: an array cannot lie inside another one.
    """
    parts = name.split("/") if isinstance(name, str) else []
    if not isinstance(name, str) or not name:
        raise ValueError(f"an array's name is a non-empty string, got {name!r}")
    if not name.isascii() or not name.isprintable() or len(name) > _MAX_NAME_LENGTH:
        raise ValueError(
            f"an array's name is printable ASCII of at most {_MAX_NAME_LENGTH} characters, got "
            f"{name!r}"
        )
    if "\\" in name or any(part in ("", ".", "..") for part in parts):
        raise ValueError(
            f"an array's name may not hold a backslash or empty, '.' or '..' parts, got {name!r}"
        )
    if any(part.startswith("__") or part in ("zarr.json", "c") for part in parts):
        raise ValueError(
            "a part of an array's name may not begin with '__' or be 'zarr.json' or 'c', which "
            f"the zarr format uses, got {name!r}"
        )
    inside = ["/".join(parts[:depth]) for depth in range(1, len(parts))]
    for other in others or ():  # type: ignore[attr-defined]  # a dict or set, iterable as well
        if other in inside or other.startswith(name + "/"):
            raise ValueError(f"arrays {name!r} and {other!r}: one cannot lie inside the other")


def check_specs(specs: Mapping[str, ArraySpec]) -> dict[str, ArraySpec]:
    """Return specs by name, or raise for a name or a value that cannot be."""
    for name, spec in specs.items():
        check_array_name(name, set(specs) - {name})
        if not isinstance(spec, ArraySpec):
            raise TypeError(
                f"array {name!r}: arrays maps names to chunkstore.ArraySpec, got "
                f"{type(spec).__name__}"
            )
    return dict(specs)


def spec_of(name: str, value: Any) -> ArraySpec:
    """Return the spec that a first block of samples implies."""
    check_array_name(name)
    array = np.asarray(value)
    if array.ndim == 0:
        raise ValueError(
            f"array {name!r}: samples have an axis 0 that counts them, got a scalar "
            f"{value!r}; for one sample give [{name}]"
        )
    try:
        return ArraySpec(array.dtype, array.shape[1:])
    except TypeError as error:
        raise TypeError(f"array {name!r}: {error}") from None


def as_array(name: str, value: Any) -> NDArray[Any]:
    """Return what ``numpy.asarray`` makes of a value; TypeError where that would unmask values."""
    if np.ma.is_masked(value):
        raise TypeError(
            f"array {name!r}: values are masked, and a mask cannot be stored: the hidden values "
            "would become data. Give .filled(value), and the mask as an array of its own"
        )
    return np.asarray(value)


def as_samples(name: str, value: Any, spec: ArraySpec) -> NDArray[Any]:
    """Return samples as an array of the spec's dtype, or raise saying what was expected.

    Parameters
    ----------
    name
        Of the array.
    value
        What the caller gave.
    spec
        What the array holds.

    Raises
    ------
    ValueError, TypeError
        Another sample shape or dtype. NaN is data and passes.
    """
    array = as_array(name, value)
    expected = f"expected shape (n, {', '.join(map(str, spec.sample_shape))})".replace(", )", ",)")
    if array.ndim == 0 or array.shape[1:] != spec.sample_shape:
        raise ValueError(
            f"array {name!r}: {expected} and dtype {spec.dtype}, got shape {array.shape} and "
            f"dtype {array.dtype}"
        )
    if array.dtype != spec.dtype:
        # Strings of any length, kind "T", have no byte order to ask for.
        if array.dtype.kind == "T" or array.dtype.newbyteorder("=") != spec.dtype:
            raise TypeError(
                f"array {name!r}: expected dtype {spec.dtype}, got {array.dtype}; convert it with "
                f".astype({spec.dtype.str!r}) if that is what you want"
            )
        array = array.astype(spec.dtype)
    return array


class _Source:
    """Anything with shape, dtype and slices along axis 0."""

    def __init__(self, name: str, value: Any) -> None:
        shape = getattr(value, "shape", None)
        dtype = getattr(value, "dtype", None)
        if shape is None or dtype is None or not hasattr(value, "__getitem__"):
            if isinstance(value, Mapping):
                # NumPy would take the names that an HDF5 group holds for the samples.
                raise TypeError(
                    f"array {name!r}: got a {type(value).__name__}, which is a mapping; give one "
                    "of its arrays"
                )
            value = np.asarray(value)
            shape, dtype = value.shape, value.dtype
        self.value = value
        self.shape = tuple(int(n) if n == n else -1 for n in shape)
        if not self.shape:
            raise ValueError(
                f"array {name!r}: samples have an axis 0 that counts them, got a scalar"
            )
        if -1 in self.shape:
            raise ValueError(
                f"array {name!r}: its shape {shape} is not known before it is computed; for dask "
                "call compute_chunk_sizes() first"
            )
        self.name = name
        try:
            stored_form(np.dtype(dtype))
        except TypeError as error:
            raise TypeError(f"array {name!r}: {error}") from None
        self.dtype = np.dtype(dtype).newbyteorder("=")

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * int(self.dtype.itemsize)

    def preferred_length(self) -> int | None:
        """Return the samples that the source itself keeps together, if it says so."""
        for attribute in ("chunk_length", "chunks"):
            chunks = getattr(self.value, attribute, None)
            if isinstance(chunks, int):
                return chunks
            if isinstance(chunks, tuple) and chunks and isinstance(chunks[0], int):
                return int(chunks[0])
        return None

    def block(self, start: int, stop: int) -> NDArray[Any]:
        """Return samples ``[start, stop)`` in memory."""
        block = as_array(self.name, self.value[start:stop])
        if block.shape != (stop - start, *self.shape[1:]):
            raise ValueError(
                f"array {self.name!r}: its source has shape {self.shape}, but gives shape "
                f"{block.shape} for its samples [{start}, {stop}); was it changed meanwhile?"
            )
        return block

    def bounds(self) -> list[int] | None:
        """Return where dask's blocks begin and end along axis 0, else None."""
        chunks = getattr(self.value, "chunks", None)
        if isinstance(chunks, tuple) and chunks and isinstance(chunks[0], tuple):
            return [0, *np.cumsum(chunks[0], dtype=np.int64).tolist()]
        return None


def as_source(name: str, value: Any) -> _Source:
    """Wrap anything with shape, dtype and slices, or what ``numpy.asarray`` takes."""
    return _Source(name, value)


def iter_blocks(source: _Source, chunk_length: int) -> Iterator[NDArray[Any]]:
    """Yield a source's samples in order, in blocks of some 16 MiB.

    Parameters
    ----------
    source
        See `as_source`.
    chunk_length
        Blocks are whole multiples of it, or of the source's own chunks where it has some, so that
        no chunk of the source is decoded twice.
    """
    for start, stop in block_bounds(source, chunk_length):
        yield source.block(start, stop)


def block_bounds(source: _Source, chunk_length: int) -> Iterator[tuple[int, int]]:
    """Yield the ranges that `iter_blocks` reads."""
    length = source.shape[0]
    sample_nbytes = max(1, source.nbytes // max(1, length))
    wanted = max(1, _BLOCK_NBYTES // sample_nbytes)
    bounds = source.bounds()
    if bounds is not None:
        # dask computes whole blocks: as many as fit, at least one.
        start = 0
        for this, following in zip(bounds[1:], [*bounds[2:], None], strict=True):
            if following is None or following - start > wanted:
                if this > start:
                    yield start, this
                start = this
        return
    unit = source.preferred_length() or chunk_length
    step = max(unit, wanted // unit * unit)
    for start in range(0, length, step):
        yield start, min(length, start + step)
