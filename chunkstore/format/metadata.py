"""What does the metadata of a zarr node say?

A strict parser of ``zarr.json`` (v3) and of ``.zarray``, ``.zgroup`` and ``.zattrs`` (v2): what
the specifications do not allow, or what this reader would have to guess, is refused by name.
Sources: zarr v3 core specification 3.0; zarr storage specification version 2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from chunkstore.errors import FormatError, UnsupportedError
from chunkstore.format.codec_metadata import parse_codecs
from chunkstore.format.codec_metadata_v2 import parse_v2_codecs
from chunkstore.format.data_type import (
    fill_value_json,
    parse_data_type,
    parse_fill_value,
    parse_v2_dtype,
    parse_v2_fill_value,
)
from chunkstore.format.grid import ChunkGrid, ChunkKeyEncoding
from chunkstore.format.json_document import (
    check_keys,
    check_options,
    parse_extension,
    parse_json_object,
    shown,
)

if TYPE_CHECKING:
    from chunkstore.format.chain import CodecChain

_MAX_ARRAY_NBYTES = 1 << 63
_MAX_CHUNK_NBYTES = 1 << 31
_MAX_AXES = 64  # NumPy's
_ARRAY_KEYS = (
    "zarr_format",
    "node_type",
    "shape",
    "data_type",
    "chunk_grid",
    "chunk_key_encoding",
    "fill_value",
    "codecs",
)
_OPTIONAL_ARRAY_KEYS = ("attributes", "dimension_names", "storage_transformers")
_GROUP_KEYS = ("zarr_format", "node_type")
_OPTIONAL_GROUP_KEYS = ("attributes", "consolidated_metadata")
_V2_ARRAY_KEYS = (
    "zarr_format",
    "shape",
    "chunks",
    "dtype",
    "compressor",
    "fill_value",
    "order",
    "filters",
)


@dataclass(frozen=True, eq=False)
class ArrayMetadata:
    """An array as its metadata describes it.

    Attributes
    ----------
    shape
        Of the array.
    dtype
        Core type, native byte order.
    chunk_shape
        Of a chunk of the outer grid: of a shard, in sharded arrays.
    fill_value
        Scalar of ``dtype``: value of chunks that are not stored.
    codecs
        The codec chain.
    chunk_keys
        How chunks are named.
    dimension_names
        One an axis, or None.
    attributes
        The user's.
    zarr_format
        Version of the specification that the metadata follows.

    Notes
    -----
    Two are equal if all of that is; fill values are equal if their bytes are, so NaN is.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunk_shape: tuple[int, ...]
    fill_value: Any
    codecs: CodecChain
    chunk_keys: ChunkKeyEncoding = field(default_factory=ChunkKeyEncoding)
    dimension_names: tuple[str | None, ...] | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    zarr_format: Literal[2, 3] = 3

    @cached_property
    def grid(self) -> ChunkGrid:
        """The chunk grid."""
        return ChunkGrid(self.shape, self.chunk_shape)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ArrayMetadata):
            return NotImplemented
        return self._compared() == other._compared()

    def _compared(self) -> tuple[Any, ...]:
        fill_value = np.array(self.fill_value, self.dtype).tobytes()
        return (
            (self.shape, self.dtype, self.chunk_shape, fill_value, self.codecs, self.chunk_keys),
            (self.dimension_names, self.attributes, self.zarr_format),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the metadata as a v3 ``zarr.json`` document.

        Raises
        ------
        UnsupportedError
            A codec of zarr v2 that v3 does not have.
        """
        document: dict[str, Any] = {
            "zarr_format": 3,
            "node_type": "array",
            "shape": list(self.shape),
            "data_type": self.dtype.name,
            "chunk_grid": {
                "name": "regular",
                "configuration": {"chunk_shape": list(self.chunk_shape)},
            },
            "chunk_key_encoding": {
                "name": self.chunk_keys.name,
                "configuration": {"separator": self.chunk_keys.separator},
            },
            "fill_value": fill_value_json(self.fill_value, self.dtype),
            "codecs": self.codecs.to_json(),
            "attributes": self.attributes,
        }
        if self.dimension_names is not None:
            document["dimension_names"] = list(self.dimension_names)
        return document


@dataclass(frozen=True)
class GroupMetadata:
    """A group as its metadata describes it.

    Attributes
    ----------
    attributes
        The user's.
    zarr_format
        Version of the specification that the metadata follows.
    """

    attributes: dict[str, Any] = field(default_factory=dict)
    zarr_format: Literal[2, 3] = 3

    def to_json(self) -> dict[str, Any]:
        """Return the metadata as a v3 ``zarr.json`` document."""
        return {"zarr_format": 3, "node_type": "group", "attributes": self.attributes}


def parse_node(raw: bytes) -> ArrayMetadata | GroupMetadata:
    """Parse a v3 ``zarr.json``.

    Parameters
    ----------
    raw
        The entry's bytes.

    Raises
    ------
    FormatError
        It is no JSON object, or breaks the specification.
    UnsupportedError
        It uses a feature that is not read; names it.
    """
    document = parse_json_object(raw)
    _check_version(document, 3)
    kind = document.get("node_type")
    if kind == "array":
        return _parse_array(document)
    if kind == "group":
        check_keys(document, required=_GROUP_KEYS, optional=_OPTIONAL_GROUP_KEYS)
        consolidated = document.get("consolidated_metadata")
        if consolidated is not None and not isinstance(consolidated, dict):
            raise FormatError(
                f"consolidated_metadata must be an object or null, got {shown(consolidated)}"
            )
        return GroupMetadata(_attributes(document))
    raise FormatError(f"node_type is {shown(kind)}, allowed are 'array' and 'group'")


def _parse_array(document: dict[str, Any]) -> ArrayMetadata:
    check_keys(document, required=_ARRAY_KEYS, optional=_OPTIONAL_ARRAY_KEYS)
    transformers = document.get("storage_transformers", [])
    if not isinstance(transformers, list):
        raise FormatError(f"storage_transformers must be a list, got {shown(transformers)}")
    if transformers:
        raise UnsupportedError(f"storage_transformers {shown(transformers)} are not read")
    shape = _lengths("shape", document["shape"], least=0)
    dtype = parse_data_type(document["data_type"])
    name, grid = parse_extension("chunk_grid", document["chunk_grid"])
    if name != "regular":
        raise UnsupportedError(f"chunk_grid {shown(name)} is not read; 'regular' is")
    check_options("chunk_grid", grid, ("chunk_shape",))
    chunk_shape = _lengths("chunk_shape", grid.get("chunk_shape"), least=1)
    _check_size(shape, chunk_shape, dtype)
    fill_value = parse_fill_value(document["fill_value"], dtype)
    return ArrayMetadata(
        shape=shape,
        dtype=dtype,
        chunk_shape=chunk_shape,
        fill_value=fill_value,
        codecs=parse_codecs(
            document["codecs"], dtype=dtype, chunk_shape=chunk_shape, fill_value=fill_value
        ),
        chunk_keys=_chunk_keys(document["chunk_key_encoding"]),
        dimension_names=_dimension_names(document.get("dimension_names"), len(shape)),
        attributes=_attributes(document),
    )


def parse_v2_array(zarray: bytes, zattrs: bytes | None) -> ArrayMetadata:
    """Parse a v2 ``.zarray`` and the ``.zattrs`` beside it.

    Raises
    ------
    FormatError, UnsupportedError
        As `parse_node`.

    Notes
    -----
    A fill value of null leaves missing chunks undefined; they are read as zero, as zarr-python
    does. Unknown keys are ignored, as the specification of v2 demands.
    """
    document = parse_json_object(zarray)
    _check_version(document, 2)
    missing = [key for key in _V2_ARRAY_KEYS if key not in document]
    if missing:
        raise FormatError(f"metadata lacks {', '.join(missing)}")
    shape = _lengths("shape", document["shape"], least=0)
    chunk_shape = _lengths("chunks", document["chunks"], least=1)
    dtype, endian = parse_v2_dtype(document["dtype"])
    _check_size(shape, chunk_shape, dtype)
    separator = document.get("dimension_separator", ".")
    if separator not in (".", "/"):
        raise FormatError(f"dimension_separator is {shown(separator)}, allowed are '.' and '/'")
    return ArrayMetadata(
        shape=shape,
        dtype=dtype,
        chunk_shape=chunk_shape,
        fill_value=parse_v2_fill_value(document["fill_value"], dtype),
        codecs=parse_v2_codecs(
            document["compressor"],
            document["filters"],
            document["order"],
            dtype=dtype,
            endian=endian,
            num_axes=len(shape),
        ),
        chunk_keys=ChunkKeyEncoding("v2", separator),
        attributes=parse_json_object(zattrs) if zattrs is not None else {},
        zarr_format=2,
    )


def parse_v2_group(zgroup: bytes, zattrs: bytes | None) -> GroupMetadata:
    """Parse a v2 ``.zgroup`` and the ``.zattrs`` beside it.

    Raises
    ------
    FormatError
        As `parse_node`.
    """
    _check_version(parse_json_object(zgroup), 2)
    return GroupMetadata(parse_json_object(zattrs) if zattrs is not None else {}, 2)


def _check_version(document: dict[str, Any], expected: int) -> None:
    version = document.get("zarr_format")
    if type(version) is not int or version != expected:
        raise FormatError(f"zarr_format is {shown(version)}, expected {expected} here")


def _attributes(document: dict[str, Any]) -> dict[str, Any]:
    attributes = document.get("attributes", {})
    if not isinstance(attributes, dict):
        raise FormatError(f"attributes must be an object, got {shown(attributes)}")
    return attributes


def _lengths(what: str, value: Any, *, least: int) -> tuple[int, ...]:
    is_list = isinstance(value, list) and len(value) <= _MAX_AXES
    # bool is an int to Python, but not to JSON.
    if not is_list or any(type(n) is not int or n < least for n in value):
        raise FormatError(
            f"{what} must be a list of at most {_MAX_AXES} whole numbers from {least} on, got "
            f"{shown(value)}"
        )
    return tuple(value)


def _check_size(shape: tuple[int, ...], chunk_shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Raise for what no address can reach, in Python's integers: NumPy's would wrap."""
    if len(chunk_shape) != len(shape):
        raise FormatError(
            f"shape {shown(shape)} has {len(shape)} axes, chunk shape {shown(chunk_shape)} has "
            f"{len(chunk_shape)}"
        )
    # An axis of length 0 does not make the others addressable: NumPy refuses them.
    if math.prod(max(1, n) for n in shape) * dtype.itemsize >= _MAX_ARRAY_NBYTES:
        raise FormatError(
            f"shape {shown(shape)} is too large: an array of {dtype} would take 2^63 bytes or more"
        )
    if math.prod(chunk_shape) * dtype.itemsize >= _MAX_CHUNK_NBYTES:
        raise UnsupportedError(
            f"chunk shape {shown(chunk_shape)} is too large: a chunk of {dtype} takes 2^31 bytes "
            "or more"
        )


def _chunk_keys(value: Any) -> ChunkKeyEncoding:
    name, options = parse_extension("chunk_key_encoding", value)
    if name not in ("default", "v2"):
        raise UnsupportedError(
            f"chunk_key_encoding {shown(name)} is not read; 'default' and 'v2' are"
        )
    check_options("chunk_key_encoding", options, ("separator",))
    separator = options.get("separator", "/" if name == "default" else ".")
    if separator not in ("/", "."):
        raise FormatError(
            f"chunk_key_encoding has separator {shown(separator)}, allowed are '/' and '.'"
        )
    return ChunkKeyEncoding("v2" if name == "v2" else "default", separator)


def _dimension_names(value: Any, num_axes: int) -> tuple[str | None, ...] | None:
    if value is None:
        return None
    if (
        not isinstance(value, list)
        or len(value) != num_axes
        or any(name is not None and not isinstance(name, str) for name in value)
    ):
        raise FormatError(
            f"dimension_names must be a list of {num_axes} strings or nulls, got {shown(value)}"
        )
    return tuple(value)
