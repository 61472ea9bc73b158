"""What is fixed about an array before its first sample is written?"""

from __future__ import annotations

import copy
import json
import math
import operator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chunkstore import settings
from chunkstore.format.blosc import MAX_TYPESIZE
from chunkstore.format.codecs import CODEC_NAMES
from chunkstore.format.stored_dtype import stored_form
from chunkstore.store.node import METADATA_LIMIT_NBYTES, OWN_ATTRIBUTES

# numcodecs takes buffers below 2 GiB.
MAX_CHUNK_NBYTES = (1 << 31) - 1
# Readers refuse larger metadata, which holds the attributes of all arrays once more.
MAX_ATTRIBUTES_NBYTES = METADATA_LIMIT_NBYTES // 4
# A chunk may be so many times larger than aimed at, to keep its samples aligned with other chunks.
_MOST_TARGETS = 8
SHUFFLES = ("auto", "none", "byte", "bit")
# Codec and level follow from the first samples, see `chunkstore.format.choosing`.
AUTO = "auto"


@dataclass(frozen=True)
class ArraySpec:
    """Data type, sample shape and storage of an array.

    Parameters
    ----------
    dtype
        Any NumPy type without objects: bool, integers, floats, complex, datetime64, timedelta64,
        fixed-length strings, and structures of these.
    sample_shape
        Shape of one sample, ``()`` for one number a sample.
    codec, level, shuffle
        See `chunkstore.create`; None takes the writer's.
    chunk_length
        Samples in a chunk; None lets the writer choose.
    attributes
        JSON values that describe the array.
    typesize
        Bytes that shuffling takes for one element: a multiple of the type's, of which a sample
        holds whole ones. None takes the writer's.

    Raises
    ------
    ValueError, TypeError
        A value that is not allowed; says what is.

    Examples
    --------
    >>> import chunkstore as cs
    >>> cs.ArraySpec("uint8", (64, 64, 3), codec="lz4", level=5).sample_nbytes
    12288
    """

    dtype: Any
    sample_shape: tuple[int, ...] = ()
    codec: str | None = None
    level: int | None = None
    shuffle: str | None = None
    chunk_length: int | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    typesize: int | None = None

    def __post_init__(self) -> None:
        dtype = np.dtype(self.dtype)
        stored, _, _ = stored_form(dtype)  # refuses what cannot be stored
        object.__setattr__(self, "dtype", dtype.newbyteorder("="))
        given: Any = self.sample_shape
        if isinstance(given, int | np.integer):
            given = (given,)
        try:
            shape = tuple(operator.index(n) for n in given)
        except TypeError:
            raise TypeError(
                f"sample_shape must be a tuple of whole numbers, got {self.sample_shape!r}"
            ) from None
        if any(n < 0 for n in shape):
            raise ValueError(f"sample_shape must not be negative, got {self.sample_shape}")
        object.__setattr__(self, "sample_shape", shape)
        if self.codec == AUTO:
            check_level_is_open(self.level)
        elif self.codec is not None or self.level is not None:
            check_codec(
                settings.DEFAULT_CODEC if self.codec is None else self.codec, self.level or 0
            )
        if self.shuffle is not None:
            check_shuffle(self.shuffle)
        if self.typesize is not None:
            check_typesize(self.typesize)
            if not fits_typesize(self.typesize, stored, self.sample_nbytes):
                raise ValueError(
                    f"typesize must be a multiple of {stored.itemsize} bytes that divides the "
                    f"{self.sample_nbytes} bytes of a sample, got {self.typesize}"
                )
        length: Any = self.chunk_length
        if length is not None and (not _is_whole(length) or length < 1):
            raise ValueError(f"chunk_length must be at least 1 sample, got {self.chunk_length}")
        check_attributes(self.attributes)
        object.__setattr__(self, "attributes", copy.deepcopy(self.attributes))

    @property
    def sample_nbytes(self) -> int:
        """Decoded bytes of a sample."""
        return math.prod(self.sample_shape) * int(self.dtype.itemsize)


@dataclass(frozen=True)
class Storage:
    """How a writer stores arrays that say nothing themselves; checks itself."""

    codec: str
    level: int
    shuffle: str
    chunk_nbytes: int
    typesize: int | None = None

    def __post_init__(self) -> None:
        check_codec(self.codec, self.level)
        check_shuffle(self.shuffle)
        if self.typesize is not None:
            check_typesize(self.typesize)
        if not 1 <= self.chunk_nbytes <= MAX_CHUNK_NBYTES:
            raise ValueError(
                f"chunk_nbytes must be in [1, {MAX_CHUNK_NBYTES}], got {self.chunk_nbytes}"
            )

    def typesize_of(self, spec: ArraySpec) -> int | None:
        """Return the typesize of an array, None for that of its elements.

        That of the file is for arrays whose samples hold whole elements of it: with 3, images of
        three interleaved colours, and not the labels beside them.
        """
        if spec.typesize is not None or self.typesize is None:
            return spec.typesize
        stored, _, _ = stored_form(spec.dtype)
        return self.typesize if fits_typesize(self.typesize, stored, spec.sample_nbytes) else None


def storage_options(
    codec: str | None,
    level: int | None,
    shuffle: str | None,
    chunk_nbytes: int | None,
    typesize: int | None = None,
) -> Storage:
    """Return the options with the settings in force in place of None."""
    now = settings.current()
    if (now.codec if codec is None else codec) == AUTO:
        check_level_is_open(level)
    return Storage(
        now.codec if codec is None else codec,
        now.level if level is None else level,
        now.shuffle if shuffle is None else shuffle,
        now.chunk_nbytes if chunk_nbytes is None else chunk_nbytes,
        typesize,
    )


def _is_whole(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def check_codec(codec: str, level: int) -> None:
    """Raise ValueError, saying what is allowed, for a codec or level that does not exist."""
    if codec not in (AUTO, *CODEC_NAMES):
        raise ValueError(f"codec must be one of {', '.join((AUTO, *CODEC_NAMES))}; got {codec!r}")
    if isinstance(level, bool) or not isinstance(level, int) or not 0 <= level <= 9:
        raise ValueError(f"level must be a whole number from 0 to 9, got {level!r}")


def check_level_is_open(level: int | None) -> None:
    """Raise ValueError where a level is given though the codec decides it."""
    if level is not None:
        raise ValueError(
            f"codec='auto' chooses the level as well, so level= is not given with it; got {level!r}"
        )


def check_typesize(typesize: Any) -> None:
    """Raise ValueError, saying what is allowed, for a typesize that no file can hold."""
    if not _is_whole(typesize) or not 1 <= typesize <= MAX_TYPESIZE:
        raise ValueError(
            f"typesize must be a whole number from 1 to {MAX_TYPESIZE}, got {typesize!r}"
        )


def fits_typesize(typesize: int, stored: np.dtype[Any], sample_nbytes: int) -> bool:
    """Return whether samples hold whole elements of a typesize, and these whole stored ones."""
    return typesize % stored.itemsize == 0 and sample_nbytes % typesize == 0


def check_shuffle(shuffle: str) -> None:
    """Raise ValueError, saying what is allowed, for a shuffle that does not exist."""
    if shuffle not in SHUFFLES:
        raise ValueError(f"shuffle must be one of {', '.join(SHUFFLES)}; got {shuffle!r}")


def check_attributes(attributes: Any) -> None:
    """Raise TypeError or ValueError unless attributes are a dict that JSON gives back as it is."""
    if not isinstance(attributes, dict):
        raise TypeError(f"attributes are a dict, got {type(attributes).__name__}")
    if OWN_ATTRIBUTES in attributes:
        raise ValueError(
            f"the attribute name {OWN_ATTRIBUTES!r} belongs to the file format; choose another"
        )
    try:
        nbytes = len(json.dumps(attributes, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(f"attributes must be JSON values (NaN is none): {error}") from None
    if nbytes > MAX_ATTRIBUTES_NBYTES:
        raise ValueError(
            f"attributes take {nbytes} bytes as JSON, at most {MAX_ATTRIBUTES_NBYTES} are allowed; "
            "store what is large as an array, with put(name, array, aligned=False)"
        )
    values: list[Any] = [attributes]
    while values:
        value = values.pop()
        if isinstance(value, dict):
            for key in value:
                if not isinstance(key, str):
                    raise TypeError(
                        f"attributes must be JSON values, whose keys are strings; got the key "
                        f"{key!r} of type {type(key).__name__}"
                    )
            values += value.values()
        elif isinstance(value, list | tuple):
            values += value


def _base_for(base: int, spec: ArraySpec, target_nbytes: int) -> int:
    """Return a chunk length for a wider sample than the base was made for.

    Halved while chunks are too large, so that chunks of one array lie inside chunks of the other.
    """
    sample_nbytes = max(1, spec.sample_nbytes)
    while base % 2 == 0 and base * sample_nbytes > target_nbytes:
        base //= 2
    if base * sample_nbytes > _MOST_TARGETS * target_nbytes:
        return max(1, target_nbytes // sample_nbytes)
    return base


def choose_chunk_lengths(
    specs: dict[str, ArraySpec], *, target_nbytes: int, base: int | None = None
) -> dict[str, int]:
    """Return the chunk length of each array of aligned samples.

    Parameters
    ----------
    specs
        By name; a ``chunk_length`` given there stands.
    target_nbytes
        Decoded bytes that a chunk of the widest array aims at.
    base
        Chunk length of the widest array, if that is settled already.

    Returns
    -------
    The widest sample decides the base; a narrower array takes the base times the smallest power
    of two that makes a chunk of 16 KiB, so that samples stay aligned without tiny entries.
    """
    if not specs:
        return {}
    if base is None:
        given = [s for s in specs.values() if s.chunk_length is not None]
        widest = max(specs.values(), key=lambda spec: spec.sample_nbytes)
        if widest.chunk_length is not None:
            base = widest.chunk_length
        elif given:
            base = min(spec.chunk_length or 1 for spec in given)
        else:
            base = max(1, target_nbytes // max(1, widest.sample_nbytes))
    lengths = {}
    for name, spec in specs.items():
        if spec.chunk_length is not None:
            lengths[name] = spec.chunk_length
        else:
            length = _base_for(base, spec, target_nbytes)
            while length * max(1, spec.sample_nbytes) < settings.LEAST_CHUNK_NBYTES:
                length *= 2
            lengths[name] = length
        if lengths[name] * spec.sample_nbytes > MAX_CHUNK_NBYTES:
            raise ValueError(
                f"array {name!r}: a chunk of {lengths[name]} samples of {spec.sample_nbytes} bytes "
                f"takes {lengths[name] * spec.sample_nbytes} bytes, at most {MAX_CHUNK_NBYTES} are "
                "allowed; choose a smaller chunk_length"
            )
    return lengths
