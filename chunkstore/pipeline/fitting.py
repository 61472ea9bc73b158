"""Do the arrays that a Loader is given fit together, and what do they become?"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from chunkstore.pipeline.casting import check_kind
from chunkstore.pipeline.memory import MemorySource
from chunkstore.pipeline.source import ChunkSource
from chunkstore.pipeline.transforming import SampleTransform
from chunkstore.settings import DEFAULT_CHUNK_NBYTES
from chunkstore.upper import resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import DTypeLike


def chunk_sources(names: Sequence[str], values: Sequence[Any]) -> list[ChunkSource]:
    """Return each value as a source.

    Numpy arrays are cut like the widest stored one; if they are much wider, shorter, so that their
    chunks are of the usual size and become the units.

    Raises
    ------
    TypeError, ValueError
        If a value is no array that can be loaded, or has no sample axis.
    UnsupportedError
        If its elements have no fixed size.
    """
    values = [known_array(name, value) for name, value in zip(names, values, strict=True)]
    for name, value in zip(names, values, strict=True):
        if not value.shape:
            raise ValueError(f"array {name!r} has shape (): it has no sample axis")
    stored = [value for value in values if not isinstance(value, np.ndarray)]
    given = [value for value in values if isinstance(value, np.ndarray)]
    sample_nbytes = sum(math.prod(value.shape[1:]) * value.dtype.itemsize for value in given)
    length = max(1, DEFAULT_CHUNK_NBYTES // max(sample_nbytes, 1))
    if not stored:
        length = max(1, min(length, len(given[0])))
    else:
        unit = unit_source(stored)
        if sample_nbytes <= source_width(unit) or unit.chunk_length <= length:
            length = unit.chunk_length
        else:
            # A stored chunk is then covered by a few units of nearly equal length.
            length = -(-unit.chunk_length // -(-unit.chunk_length // length))
    return [
        MemorySource(name, value, chunk_length=length) if isinstance(value, np.ndarray) else value
        for name, value in zip(names, values, strict=True)
    ]


def known_array(name: str, value: Any) -> Any:
    """Return a numpy array or a source as it is, an array of another library as a source.

    Raises
    ------
    TypeError, ValueError, UnsupportedError
        See `chunkstore.sources.recognise.foreign_source`.
    """
    if isinstance(value, np.ndarray | ChunkSource):
        return value
    # The files that know other libraries lie above the pipeline.
    return resolve("chunkstore.sources.recognise", "foreign_source")(name, value)


def with_known_arrays(source: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a data set; where it holds arrays of other libraries, a dict with their sources."""
    if not isinstance(source, Mapping):
        raise no_arrays(source)
    if hasattr(source, "sample_arrays"):
        return source
    if all(isinstance(array, np.ndarray | ChunkSource) for array in source.values()):
        return source
    return {name: known_array(name, array) for name, array in source.items()}


def no_arrays(value: object) -> TypeError:
    """Return the error for what is no set of arrays."""
    message = f"give a store or a dict of arrays such as {{'x': array}}, got {type(value).__name__}"
    if isinstance(value, str | os.PathLike):
        message += f"; chunkstore.open({os.fspath(value)!r}) opens a file"
    return TypeError(message)


def check_lengths(names: Sequence[str], sources: Sequence[ChunkSource]) -> None:
    """Raise ValueError unless all arrays have equally many samples."""
    for name, source in zip(names, sources, strict=True):
        if source.shape[0] != sources[0].shape[0]:
            raise ValueError(
                f"arrays loaded together must have equally many samples: {names[0]!r} has "
                f"{sources[0].shape[0]}, {name!r} has {source.shape[0]}"
            )


def check_alike(
    names: Sequence[str], sources: Sequence[ChunkSource], first: Sequence[ChunkSource]
) -> None:
    """Raise ValueError unless samples have the shape and type of those of the first file."""
    for name, source, other in zip(names, sources, first, strict=True):
        if source.shape[1:] != other.shape[1:] or source.dtype != other.dtype:
            raise ValueError(
                f"files loaded as one must have equal samples: array {name!r} has {other.dtype} of "
                f"shape {other.shape[1:]} in the first, {source.dtype} of shape "
                f"{source.shape[1:]} in another"
            )


def unit_source(sources: Iterable[ChunkSource]) -> ChunkSource:
    """Return the source with most bytes per sample; of equal ones, the shortest chunks."""
    return max(sources, key=lambda source: (source_width(source), -source.chunk_length))


def source_width(source: ChunkSource) -> int:
    """Return the bytes of a stored sample."""
    return math.prod(source.shape[1:]) * source.dtype.itemsize


def sample_transforms(
    names: Sequence[str],
    sources: Sequence[ChunkSource],
    asked: Mapping[str, Callable[..., Any]] | None,
) -> list[SampleTransform | None]:
    """Return what is done to the samples of each array, None where it is nothing.

    Raises
    ------
    TypeError, KeyError
        If the argument is no mapping, or names an array that is not loaded.
    """
    if asked is None:
        return [None] * len(names)
    if not isinstance(asked, Mapping):
        raise TypeError(
            f"transform must be a dict of names and functions, got {type(asked).__name__}"
        )
    _check_known("transform", asked, names)
    return [
        SampleTransform(name, asked[name], sample_shape=source.shape[1:], dtype=source.dtype)
        if name in asked
        else None
        for name, source in zip(names, sources, strict=True)
    ]


def delivered_dtypes(
    names: Sequence[str],
    sources: Sequence[ChunkSource],
    transforms: Sequence[SampleTransform | None],
    asked: DTypeLike | Mapping[str, DTypeLike] | None,
) -> list[np.dtype[Any]]:
    """Return the type of the delivered elements of each array.

    Raises
    ------
    TypeError, KeyError
        If values would lose their kind, or ``asked`` names an array that is not loaded.
    """
    if isinstance(asked, Mapping):
        _check_known("dtype", asked, names)
        by_name: Mapping[str, Any] = asked
    else:
        by_name = {} if asked is None else dict.fromkeys(names, asked)
    dtypes = []
    for name, source, step in zip(names, sources, transforms, strict=True):
        origin = source.dtype if step is None else step.dtype
        delivered = _parse_dtype(name, by_name[name]) if name in by_name else origin
        check_kind(name, origin, delivered, "stored" if step is None else "transformed")
        dtypes.append(delivered)
    return dtypes


def _parse_dtype(name: str, asked: Any) -> np.dtype[Any]:
    try:
        dtype: np.dtype[Any] = np.dtype(asked)
    except TypeError as error:
        raise TypeError(f"dtype of array {name!r}: {error}") from None
    return dtype


def _check_known(argument: str, asked: Mapping[str, Any], names: Sequence[str]) -> None:
    unknown = [name for name in asked if name not in names]
    if unknown:
        raise KeyError(f"{argument} names {unknown[0]!r}, but only {', '.join(names)} are loaded")
