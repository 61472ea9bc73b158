"""What does the metadata of a zarr node say?

A strict parser of ``zarr.json`` (v3) and of ``.zarray``, ``.zgroup`` and ``.zattrs`` (v2): what
the specifications do not allow, or what this reader would have to guess, is refused by name.
Sources: zarr v3 core specification 3.0; zarr storage specification version 2.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from chunkstore.errors import FormatError, UnsupportedError
from chunkstore.format.codecs import CodecChain, parse_codecs, parse_v2_codecs
from chunkstore.format.data_type import (
    fill_value_json,
    parse_data_type,
    parse_fill_value,
    parse_v2_dtype,
    parse_v2_fill_value,
)
from chunkstore.format.grid import ChunkGrid, ChunkKeyEncoding

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

MAX_NBYTES = 64 << 20
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
_GROUP_KEYS = ("zarr_format", "node_type", "attributes", "consolidated_metadata")
_V2_ARRAY_KEYS = (
    "zarr_format",
    "shape",
    "chunks",
    "dtype",
    "compressor",
    "fill_value",
    "order",
    "filters",
    "dimension_separator",
)


@dataclass(frozen=True)
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
        One a axis, or None.
    attributes
        The user's.
    zarr_format
        Version of the specification that the metadata follows.
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

    def to_json(self) -> dict[str, Any]:
        """Return the metadata as a v3 ``zarr.json`` document."""
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
    """A group as its metadata describes it."""

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
    if document.get("zarr_format") != 3 or type(document["zarr_format"]) is not int:
        raise FormatError(
            f"zarr_format is {document.get('zarr_format')!r}, expected 3 in a zarr.json"
        )
    kind = document.get("node_type")
    if kind == "array":
        return _parse_array(document)
    if kind == "group":
        _check_keys(document, required=_GROUP_KEYS[:2], optional=_GROUP_KEYS[2:])
        return GroupMetadata(_attributes(document))
    raise FormatError(f"node_type is {kind!r:.200}, allowed are 'array' and 'group'")


def _parse_array(document: dict[str, Any]) -> ArrayMetadata:
    _check_keys(document, required=_ARRAY_KEYS, optional=_OPTIONAL_ARRAY_KEYS)
    if document.get("storage_transformers"):
        raise UnsupportedError("storage_transformers are not read")
    shape = _lengths("shape", document["shape"], least=0)
    dtype = parse_data_type(document["data_type"])
    grid_name, grid = _named("chunk_grid", document["chunk_grid"])
    if grid_name != "regular":
        raise UnsupportedError(f"chunk_grid {grid_name!r} is not read; 'regular' is")
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
    does.
    """
    document = parse_json_object(zarray)
    _check_v2(document)
    _check_keys(document, required=_V2_ARRAY_KEYS[:-1], optional=_V2_ARRAY_KEYS[-1:])
    shape = _lengths("shape", document["shape"], least=0)
    chunk_shape = _lengths("chunks", document["chunks"], least=1)
    dtype = parse_v2_dtype(document["dtype"])
    native = dtype.newbyteorder("=")
    _check_size(shape, chunk_shape, native)
    separator = document.get("dimension_separator", ".")
    if separator not in (".", "/"):
        raise FormatError(f"dimension_separator is {separator!r}, allowed are '.' and '/'")
    return ArrayMetadata(
        shape=shape,
        dtype=native,
        chunk_shape=chunk_shape,
        fill_value=parse_v2_fill_value(document["fill_value"], native),
        codecs=parse_v2_codecs(
            document["compressor"], document["filters"], document["order"], dtype=dtype
        ),
        chunk_keys=ChunkKeyEncoding("v2", separator),
        attributes=parse_json_object(zattrs) if zattrs is not None else {},
        zarr_format=2,
    )


def parse_v2_group(zgroup: bytes, zattrs: bytes | None) -> GroupMetadata:
    """Parse a v2 ``.zgroup`` and the ``.zattrs`` beside it."""
    _check_v2(parse_json_object(zgroup))
    return GroupMetadata(parse_json_object(zattrs) if zattrs is not None else {}, 2)


def parse_json_object(raw: bytes) -> dict[str, Any]:
    """Return a JSON object, or raise FormatError whatever is wrong with the bytes."""
    if len(raw) > MAX_NBYTES:
        raise FormatError(f"metadata takes {len(raw)} bytes, at most {MAX_NBYTES} are read")
    try:
        document = json.loads(raw.decode("utf-8"), object_pairs_hook=_object)
    except UnicodeDecodeError as error:
        raise FormatError(f"metadata is no JSON: not UTF-8 at byte {error.start}") from None
    except RecursionError:
        raise FormatError("metadata is no JSON that can be read: nested too deep") from None
    except ValueError as error:
        raise FormatError(f"metadata is no JSON: {str(error)[:200]}") from None
    if not isinstance(document, dict):
        raise FormatError(f"metadata must be a JSON object, got {type(document).__name__}")
    return document


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r:.100} stands twice in one object")
    return result


def _check_v2(document: dict[str, Any]) -> None:
    if document.get("zarr_format") != 2 or type(document["zarr_format"]) is not int:
        raise FormatError(f"zarr_format is {document.get('zarr_format')!r:.200}, expected 2 here")


def _check_keys(
    document: dict[str, Any], *, required: tuple[str, ...], optional: tuple[str, ...]
) -> None:
    """Raise for missing keys, and for unknown ones that a reader must understand."""
    missing = [key for key in required if key not in document]
    if missing:
        raise FormatError(f"metadata lacks {', '.join(missing)}")
    for key, value in document.items():
        if key in required or key in optional:
            continue
        if not (isinstance(value, dict) and value.get("must_understand") is False):
            raise UnsupportedError(
                f"unknown metadata key {key!r:.200}, which does not say must_understand: false"
            )


def _attributes(document: dict[str, Any]) -> dict[str, Any]:
    attributes = document.get("attributes", {})
    if not isinstance(attributes, dict):
        raise FormatError(f"attributes must be an object, got {type(attributes).__name__}")
    return attributes


def _lengths(what: str, value: Any, *, least: int) -> tuple[int, ...]:
    is_list = isinstance(value, list) and len(value) <= _MAX_AXES
    # bool is an int to Python, but not to JSON.
    if not is_list or any(type(n) is not int or n < least for n in value):
        raise FormatError(
            f"{what} must be a list of at most {_MAX_AXES} whole numbers from {least} on, "
            f"got {value!r:.200}"
        )
    return tuple(value)


def _check_size(shape: tuple[int, ...], chunk_shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    if len(chunk_shape) != len(shape):
        raise FormatError(f"shape {shape} and chunk shape {chunk_shape} have different axes")
    if math.prod(shape) * dtype.itemsize >= _MAX_ARRAY_NBYTES or any(
        n >= _MAX_ARRAY_NBYTES for n in shape
    ):
        raise FormatError(f"shape {shape} is too large: the array would take 2^63 bytes or more")
    if math.prod(chunk_shape) * dtype.itemsize >= _MAX_CHUNK_NBYTES:
        raise UnsupportedError(
            f"chunk shape {chunk_shape} is too large: a chunk takes 2^31 bytes or more"
        )


def _named(what: str, value: Any) -> tuple[str, dict[str, Any]]:
    if isinstance(value, str):
        return value, {}
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        raise FormatError(f"{what} must be an object with a name, got {value!r:.200}")
    configuration = value.get("configuration", {})
    if not isinstance(configuration, dict):
        raise FormatError(f"the configuration of {what} must be an object")
    return value["name"], configuration


def _chunk_keys(value: Any) -> ChunkKeyEncoding:
    name, options = _named("chunk_key_encoding", value)
    separators: dict[str, Callable[[str], ChunkKeyEncoding]] = {
        "default": lambda s: ChunkKeyEncoding("default", s),  # type: ignore[arg-type]  # checked below
        "v2": lambda s: ChunkKeyEncoding("v2", s),  # type: ignore[arg-type]  # checked below
    }
    if name not in separators:
        raise UnsupportedError(
            f"chunk_key_encoding {name!r:.200} is not read; 'default' and 'v2' are"
        )
    separator = options.get("separator", "/" if name == "default" else ".")
    if separator not in ("/", ".") or set(options) - {"separator"}:
        raise FormatError(
            f"chunk_key_encoding has configuration {options!r:.200}; separator is '/' or '.'"
        )
    return separators[name](separator)


def _dimension_names(value: Any, num_axes: int) -> tuple[str | None, ...] | None:
    if value is None:
        return None
    if (
        not isinstance(value, list)
        or len(value) != num_axes
        or any(name is not None and not isinstance(name, str) for name in value)
    ):
        raise FormatError(
            f"dimension_names must be a list of {num_axes} strings or nulls, got {value!r:.200}"
        )
    return tuple(value)
