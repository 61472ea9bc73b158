"""How are zips made of which every byte is deliberate?"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from chunkstore import system
from chunkstore.container import layout
from chunkstore.container.directory import build_records
from chunkstore.container.reader import names_as_rows

if TYPE_CHECKING:
    from chunkstore.container.writer import ContainerWriter

TABLES = {"native": system.NativeCalls, "portable": system.PortableCalls}


@dataclass
class RawEntry:
    """One entry; ``local`` and ``record`` replace what the local header and the record say.

    Keys of both: flags, method, crc, encoded_nbytes, nbytes, name, extra, signature; of
    ``record`` also offset, disk, comment.
    """

    name: bytes
    data: bytes = b""
    deflated: bool = False
    local: dict[str, Any] = field(default_factory=dict)
    record: dict[str, Any] = field(default_factory=dict)
    behind: bytes = b""

    @property
    def stored(self) -> bytes:
        """What stands in the file."""
        if not self.deflated:
            return self.data
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        return packer.compress(self.data) + packer.flush()

    def facts(self) -> dict[str, Any]:
        """What header and record say if nothing is replaced."""
        return {
            "flags": 0,
            "method": layout.DEFLATED if self.deflated else layout.STORED,
            "crc": zlib.crc32(self.data),
            "encoded_nbytes": len(self.stored),
            "nbytes": len(self.data),
            "name": self.name,
            "extra": b"",
        }

    def header(self) -> bytes:
        """Return the local header."""
        said = {"signature": layout.LOCAL_SIGNATURE} | self.facts() | self.local
        return (
            layout.LOCAL.pack(
                said["signature"],
                20,
                said["flags"],
                said["method"],
                0,
                0x21,
                said["crc"],
                said["encoded_nbytes"],
                said["nbytes"],
                len(said["name"]),
                len(said["extra"]),
            )
            + said["name"]
            + said["extra"]
        )

    def directory_record(self, offset: int) -> bytes:
        """Return the directory record."""
        said = {"signature": layout.RECORD_SIGNATURE, "offset": offset, "disk": 0, "comment": b""}
        said |= self.facts() | self.record
        return (
            struct.pack(
                "<4sHHHHHHIIIHHHHHII",
                said["signature"],
                20,
                20,
                said["flags"],
                said["method"],
                0,
                0x21,
                said["crc"],
                said["encoded_nbytes"],
                said["nbytes"],
                len(said["name"]),
                len(said["extra"]),
                len(said["comment"]),
                said["disk"],
                0,
                0,
                said["offset"],
            )
            + said["name"]
            + said["extra"]
            + said["comment"]
        )


def build_zip(
    entries: list[RawEntry],
    *,
    order: list[int] | None = None,
    comment: bytes = b"",
    promised: int | None = None,
    front: bytes = b"",
) -> bytes:
    """Return a zip with these entries.

    Parameters
    ----------
    entries
        In the order of the file.
    order
        Which entries the directory lists, in which order; all in file order by default.
    comment
        Of the archive.
    promised
        Number of records in the end record, when it is not the real one.
    front
        Bytes in front of the first entry, counted by the offsets.
    """
    body = bytearray(front)
    offsets = []
    for entry in entries:
        offsets.append(len(body))
        body += entry.header() + entry.stored + entry.behind
    start = len(body)
    rows = range(len(entries)) if order is None else order
    for row in rows:
        body += entries[row].directory_record(offsets[row])
    count = len(rows) if promised is None else promised
    body += layout.END.pack(
        layout.END_SIGNATURE, 0, 0, count, count, len(body) - start, start, len(comment)
    )
    return bytes(body + comment)


def records_of(entries: list[tuple[bytes, int, int, int]]) -> list[bytes]:
    """Return one directory record for each ``(name, offset, nbytes, crc)``."""
    return [
        build_records(
            names_as_rows([name]),
            np.array([offset], np.int64),
            np.array([nbytes], np.int64),
            np.array([crc], np.uint32),
        )
        for name, offset, nbytes, crc in entries
    ]


def append_checkpoint(
    writer: ContainerWriter,
    listed: list[tuple[bytes, int, int, int]],
    fresh: dict[bytes, bytes],
) -> None:
    """Append entries and a checkpoint that lists them behind the earlier ones, in ``listed``."""
    for name, data in fresh.items():
        crc = zlib.crc32(data)
        offset = writer.append_entry(name, data, crc)
        listed.append((name, offset, len(data), crc))
    writer.checkpoint(records_of(listed), len(listed))
