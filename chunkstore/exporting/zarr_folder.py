"""How does a file become a folder of zarr?

A file of ours is a zarr hierarchy in a zip, so its entries become files, byte for byte.
"""

from __future__ import annotations

import shutil
import zipfile
from typing import TYPE_CHECKING, Final

from chunkstore.container.reader import EntryReader
from chunkstore.store.creating import create
from chunkstore.store.documents import encode_document, metadata_documents
from chunkstore.store.node import chunk_key
from chunkstore.store.spec import ArraySpec
from chunkstore.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from chunkstore.exporting.contents import Contents

_ENTRIES: Final = ".entries"


def write_zarr(contents: Contents, out: Path) -> None:
    """Write the arrays as a folder that any reader of zarr v3 opens.

    Of a whole file of ours the encoded chunks are copied as they are, each checked; else samples
    are encoded with our default codec, into a file beside the folder first.
    """
    source = contents.source
    if isinstance(source, Store) and source.is_ours and set(contents.arrays) == set(source):
        _copy_entries(source, out, contents.advance)
        return
    packed = out.with_name(out.name + _ENTRIES)
    try:
        _write_packed(contents, packed)
        with zipfile.ZipFile(packed) as archive:
            for entry in archive.infolist():
                path = out / entry.filename
                path.parent.mkdir(parents=True, exist_ok=True)
                # Reading to the end checks the CRC-32.
                with archive.open(entry) as chunk, path.open("wb") as file:
                    shutil.copyfileobj(chunk, file)
    finally:
        packed.unlink(missing_ok=True)


def _copy_entries(store: Store, out: Path, advance: Callable[[int], None]) -> None:
    """Write what an open store sees, also where its file has grown since."""
    nodes = store._file.nodes
    own = nodes.own or {}
    documents = metadata_documents(
        {name: nodes.arrays[name].metadata for name in own["arrays"]},
        aligned=own["aligned"],
        num_samples=own["num_samples"],
        attributes=store.attributes,
    )
    for key, document in documents.items():
        path = out / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_document(document))
    reader = EntryReader(store._file.container)
    folder = out
    for name, array in store.items():
        numbers, places = nodes.arrays[name].table.stored()
        for row, number in enumerate(numbers.tolist()):
            key = chunk_key(nodes.arrays[name], number)
            nbytes = int(places.encoded_nbytes[row])
            path = out / key
            if path.parent != folder:
                folder = path.parent
                folder.mkdir(parents=True, exist_ok=True)
            path.write_bytes(
                reader.fetch(
                    key.encode(),
                    offset=int(places.offset[row]),
                    encoded_nbytes=nbytes,
                    nbytes=nbytes,
                    crc=int(places.crc[row]),
                )
            )
            advance(array.nbytes // len(numbers))
    reader.close()


def _write_packed(contents: Contents, packed: Path) -> None:
    specs = {
        name: ArraySpec(
            contents.arrays[name].dtype,
            contents.arrays[name].shape[1:],
            chunk_length=getattr(contents.arrays[name], "chunk_length", None),
            attributes=contents.array_attributes(name),
        )
        for name in contents.aligned
    }
    with create(packed, arrays=specs, attributes=contents.attributes, overwrite=True) as writer:
        writer.keeps_unfinished = False
        if contents.aligned:
            for rows in contents.iter_rows():
                writer.append_mapping(rows)
        for name, array in contents.arrays.items():
            if name not in contents.aligned:
                writer.put(name, array, aligned=False)
