"""Which bytes describe the arrays of a file: its metadata entries and its directory?"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from chunkstore.container.directory import build_records
from chunkstore.container.reader import names_as_rows
from chunkstore.store.node import FORMAT_VERSION, METADATA_LIMIT_NBYTES, OWN_ATTRIBUTES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chunkstore.format.metadata import ArrayMetadata
    from chunkstore.store.chunk_table import ChunkPlaces

# Room for attributes that are added before the file is closed.
_RESERVE_SLACK_NBYTES = 512
_LARGEST_LENGTH = 10**18
_RECORDS_A_PIECE = 1 << 16


def metadata_documents(
    arrays: dict[str, ArrayMetadata],
    *,
    aligned: list[str],
    num_samples: int,
    attributes: dict[str, Any],
) -> dict[str, dict[str, Any]]:
    """Return the JSON documents of a file by entry name, the root first.

    Parameters
    ----------
    arrays
        By path, in the order of the file.
    aligned
        Names of the arrays whose axis 0 counts samples.
    num_samples
        Their length.
    attributes
        The user's attributes of the file.
    """
    documents = {name: metadata.to_json() for name, metadata in arrays.items()}
    groups = {
        "/".join(name.split("/")[:depth]): {
            "zarr_format": 3,
            "node_type": "group",
            "attributes": {},
        }
        for name in arrays
        for depth in range(1, name.count("/") + 1)
    }
    nodes = {**groups, **documents}
    root = {
        "zarr_format": 3,
        "node_type": "group",
        "attributes": {
            **attributes,
            OWN_ATTRIBUTES: {
                "version": FORMAT_VERSION,
                "complete": True,
                "num_samples": num_samples,
                "aligned": aligned,
                "arrays": list(arrays),
            },
        },
        "consolidated_metadata": {"kind": "inline", "must_understand": False, "metadata": nodes},
    }
    return {"zarr.json": root, **{f"{path}/zarr.json": node for path, node in nodes.items()}}


def encode_document(document: dict[str, Any], *, nbytes: int = 0) -> bytes:
    """Return a document as UTF-8 JSON, padded with spaces to at least ``nbytes``."""
    raw = json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
    if len(raw) > METADATA_LIMIT_NBYTES:
        raise ValueError(
            f"the metadata of all arrays takes {len(raw)} bytes, at most {METADATA_LIMIT_NBYTES} "
            "are allowed: give fewer arrays or smaller attributes"
        )
    return raw.ljust(nbytes, b" ")


def reserve_nbytes(document: dict[str, Any]) -> int:
    """Return how long a document may become until its file is closed.

    Lengths grow and the shuffle is decided by the first chunk, so both are taken at their longest.
    """
    longest = json.loads(json.dumps(document), parse_int=lambda text: int(text))
    for node in _nodes(longest):
        if "shape" in node:
            node["shape"][0] = _LARGEST_LENGTH
    own = longest["attributes"].get(OWN_ATTRIBUTES, {})
    if "num_samples" in own:
        own["num_samples"] = _LARGEST_LENGTH
    shuffle_slack = 8 * sum("shape" in node for node in _nodes(longest))
    return len(encode_document(longest)) + shuffle_slack + _RESERVE_SLACK_NBYTES


def _nodes(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield document
    consolidated = document.get("consolidated_metadata", {})
    yield from consolidated.get("metadata", {}).values()


def chunk_records(
    path: str,
    sample_ndim: int,
    places: ChunkPlaces,
) -> Iterator[bytes]:
    """Yield the directory records of an array's chunks, in index order, in pieces.

    Parameters
    ----------
    path
        Of the array.
    sample_ndim
        Axes besides axis 0; chunks span them whole, so their part of the key is ``/0`` each.
    places
        Where they are, by index.
    """
    prefix = np.frombuffer(f"{path}/c/".encode() if path else b"c/", np.uint8)
    suffix = np.frombuffer(b"/0" * sample_ndim, np.uint8)
    num_chunks = len(places.offset)
    start = 0
    while start < num_chunks:
        digits = len(str(start))
        stop = min(num_chunks, 10**digits, start + _RECORDS_A_PIECE)
        numbers = np.arange(start, stop, dtype=np.int64)
        powers = 10 ** np.arange(digits - 1, -1, -1, dtype=np.int64)
        names = np.empty((stop - start, len(prefix) + digits + len(suffix)), np.uint8)
        names[:, : len(prefix)] = prefix
        names[:, len(prefix) : len(prefix) + digits] = numbers[:, None] // powers % 10 + ord("0")
        names[:, len(prefix) + digits :] = suffix
        rows = slice(start, stop)
        yield build_records(
            names, places.offset[rows], places.encoded_nbytes[rows], places.crc[rows]
        )
        start = stop


def metadata_records(entries: dict[str, tuple[int, int, int]]) -> Iterator[bytes]:
    """Yield the directory records of metadata entries, given ``(offset, nbytes, crc)`` by name."""
    for name, (offset, nbytes, crc) in entries.items():
        yield build_records(
            names_as_rows([name.encode()]),
            np.array([offset], np.int64),
            np.array([nbytes], np.int64),
            np.array([crc], np.uint32),
        )
