"""How does a file become a folder of zarr?

A file of ours is a zarr hierarchy in a zip, so its entries become files, byte for byte.
"""

from __future__ import annotations

import shutil
import zipfile
from typing import TYPE_CHECKING, Final

from chunkstore.store.compacting import compact
from chunkstore.store.creating import create
from chunkstore.store.spec import ArraySpec
from chunkstore.store.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from chunkstore.exporting.contents import Contents

_ENTRIES: Final = ".entries"


def write_zarr(contents: Contents, out: Path) -> None:
    """Write the arrays as a folder that any reader of zarr v3 opens.

    Of a whole file of ours the encoded chunks are copied as they are; else samples are encoded
    with our default codec.
    """
    packed = out.with_name(out.name + _ENTRIES)
    source = contents.source
    try:
        if isinstance(source, Store) and source.is_ours and set(contents.arrays) == set(source):
            compact(source.path, packed, overwrite=True, progress=False)
        else:
            _write_packed(contents, packed)
        with zipfile.ZipFile(packed) as archive:
            for entry in archive.infolist():
                path = out / entry.filename
                path.parent.mkdir(parents=True, exist_ok=True)
                # Reading to the end checks the CRC-32.
                with archive.open(entry) as chunk, path.open("wb") as file:
                    shutil.copyfileobj(chunk, file)
                contents.advance(0)
    finally:
        packed.unlink(missing_ok=True)


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
