"""How is the tree of folders inside an archive read in place?

Whatever the archive is, its listing becomes an index: folders with their children, small files by
path, and chunk files as tables of numbers, 40 bytes each. Links, absolute names, names with ``..``
and names that come twice are refused: each means another file to another program.
"""

from __future__ import annotations

import array
from contextlib import closing
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import numpy as np

from chunkstore.errors import FormatError
from chunkstore.importers.bcolz.files import (
    CHUNK_NAME,
    MAX_METADATA_NBYTES,
    Head,
    Kind,
    joined,
)
from chunkstore.importers.bcolz.frame import HEAD_NBYTES, PEEK_NBYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

_MAX_NAME_NBYTES: Final = 4096
_MAX_PARTS: Final = 64
# Names of folders and small files, of which an archive of arrays has a few for each array. Each
# takes some 400 bytes besides its letters: an archive packs half a million of them into 3 MiB.
_NAME_NBYTES: Final = 400
_MAX_NAMES_NBYTES: Final = 256 << 20
_NO_FILES: Final[Mapping[int, Kind]] = {}


class Place(NamedTuple):
    """Where a file stands in an archive.

    Attributes
    ----------
    offset
        Of its bytes in a tar (unpacked, if that is compressed), of its header in a zip.
    encoded_nbytes, nbytes
        Bytes it takes in the archive, and its length.
    crc
        CRC-32 in a zip, 0 in a tar.
    """

    offset: int
    encoded_nbytes: int
    nbytes: int
    crc: int = 0


class MemberReader(Protocol):
    """Reads the members of an archive.

    Threads: one reader serves one thread.
    """

    @property
    def read_nbytes(self) -> int:
        """Bytes of the archive read so far."""

    @property
    def buffer_nbytes(self) -> int:
        """The most memory that its buffers take."""

    def read_head(self, name: bytes, place: Place) -> Head:
        """Return how a member begins and, where that costs little, how it ends."""

    def read(self, name: bytes, place: Place, limit: int) -> memoryview:
        """Return a member's bytes, at most ``limit``; valid until the next call."""

    def close(self) -> None:
        """Give back what the reader holds; again is allowed."""


class Archive(Protocol):
    """An open archive whose members were put into an index."""

    @property
    def path(self) -> str:
        """The file."""

    def open_member_reader(self) -> MemberReader:
        """Return a reader for one thread."""

    def close(self) -> None:
        """Close the file; again is allowed."""


class _ChunkPlaces:
    """The chunk files of one folder, as they come."""

    def __init__(self, raw_folder: bytes) -> None:
        self.raw_folder = raw_folder
        self.indices = array.array("q")
        # Offset, stored size, length and CRC-32, one behind the other.
        self.places = array.array("q")
        self.heads = bytearray()
        self.end_zeros = array.array("h")


class ArchiveIndex:
    """What is in an archive."""

    def __init__(self) -> None:
        self.folders: dict[str, dict[str, Kind]] = {"": {}}
        self.files: dict[str, tuple[bytes, Place]] = {}
        self.chunks: dict[str, _ChunkPlaces] = {}
        self._names_nbytes = 0

    def add_folder(self, raw: bytes, name: str) -> None:
        """Enter a folder.

        Raises
        ------
        FormatError
            The name is not allowed, or taken by a file.
        """
        self._enter_folder(_checked_name(raw, name))

    def add_file(
        self, raw: bytes, name: str, place: Place, start: bytes = b"", num_end_zeros: int = 0
    ) -> None:
        """Enter a file.

        Parameters
        ----------
        raw, name
            Its name as it stands in the archive, and as text.
        place
            Where it is.
        start, num_end_zeros
            Its first bytes and the zeros at its end, from archives that cannot be read at any
            place; see `chunkstore.importers.bcolz.files.Head`.

        Raises
        ------
        FormatError
            The name is not allowed, or taken.
        """
        name = _checked_name(raw, name)
        folder, _, base = name.rpartition("/")
        self._enter_folder(folder)
        match = CHUNK_NAME.fullmatch(base)
        if match is None:
            if self.folders[folder].setdefault(base, "file") != "file" or name in self.files:
                raise FormatError(f"the archive holds {name!r} twice")
            self._count_name(name)
            self.files[name] = raw, place
            return
        if base in self.folders[folder]:
            raise FormatError(f"the archive holds {name!r} twice")
        raw_folder = raw[: -len(base)]
        chunks = self.chunks.setdefault(folder, _ChunkPlaces(raw_folder))
        if chunks.raw_folder != raw_folder:
            raise FormatError(f"the archive writes the name of folder {folder!r} in two ways")
        chunks.indices.append(int(match[1]))
        chunks.places.extend(place)
        chunks.end_zeros.append(num_end_zeros)
        chunks.heads += start[:PEEK_NBYTES].ljust(PEEK_NBYTES, b"\0")

    def check(self) -> None:
        """Raise FormatError if a chunk file comes twice."""
        for folder, chunks in self.chunks.items():
            indices = np.sort(np.array(chunks.indices, np.int64))
            repeated = indices[1:][indices[1:] == indices[:-1]]
            if len(repeated):
                name = joined(folder, f"__{repeated[0]}.blp")
                raise FormatError(f"the archive holds {name!r} twice")

    def top(self) -> str:
        """Return the one folder that holds everything else, or "" if there is none."""
        outside = [name for name in self.files if "/" not in name and not name.startswith(".")]
        if outside or "" in self.chunks:
            return ""
        folders = [
            name
            for name, kind in self.folders[""].items()
            if kind == "folder" and not name.startswith(".") and name != "__MACOSX"
        ]
        return folders[0] if len(folders) == 1 else ""

    def _enter_folder(self, folder: str) -> None:
        if folder in self.folders:
            return
        parent, _, base = folder.rpartition("/")
        self._enter_folder(parent)
        if self.folders[parent].setdefault(base, "folder") != "folder":
            raise FormatError(f"the archive holds {folder!r} as a file and as a folder")
        self._count_name(folder)
        self.folders[folder] = {}

    def _count_name(self, name: str) -> None:
        self._names_nbytes += _NAME_NBYTES + 2 * len(name)
        if self._names_nbytes > _MAX_NAMES_NBYTES:
            raise FormatError(
                f"the archive holds more than {len(self.folders)} folders and {len(self.files)} "
                "files that are no chunks: its listing would take too much memory. Unpack it, if "
                "you trust it, and give the folder"
            )


def _checked_name(raw: bytes, name: str) -> str:
    """Return a member's name without a leading ``./``, or raise FormatError."""
    shown = raw[:200]
    if len(raw) > _MAX_NAME_NBYTES or name.count("/") > _MAX_PARTS:
        raise FormatError(
            f"the archive holds a name of {len(raw)} bytes with {name.count('/')} folders: "
            f"{shown!r}...; at most {_MAX_NAME_NBYTES} and {_MAX_PARTS} are read"
        )
    if "\0" in name or "\\" in name:
        raise FormatError(
            f"the archive holds {shown!r}: NUL and backslash are not allowed in names"
        )
    if name.startswith("/"):
        raise FormatError(f"the archive holds {shown!r}: absolute names are refused")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise FormatError(f"the archive holds {shown!r}: names with '..' are refused")
    return "/".join(parts)


class ArchiveFiles:
    """The files of an archive, as `chunkstore.importers.bcolz.files.SourceFiles`.

    Parameters
    ----------
    archive
        The open archive; closed with this.
    index
        What is in it. If one folder holds everything, that is the root here.

    Notes
    -----
    Threads: safe.
    """

    def __init__(self, archive: Archive, index: ArchiveIndex) -> None:
        self.path = archive.path
        self._archive = archive
        self._index = index
        self._top = index.top()

    def entries(self, folder: str) -> dict[str, Kind]:
        """Return what is in a folder, by name; nothing if there is no such folder."""
        return dict(self._index.folders.get(self._inside(folder), {}))

    def has_chunks(self, folder: str) -> bool:
        """Say whether a folder holds a chunk file."""
        return self._inside(folder) in self._index.chunks

    def read(self, path: str) -> bytes | None:
        """Return a small file's bytes; None if there is none."""
        found = self._index.files.get(self._inside(path))
        if found is None:
            return None
        name, place = found
        if place.nbytes > MAX_METADATA_NBYTES:
            raise FormatError(
                f"the file has {place.nbytes} bytes, at most {MAX_METADATA_NBYTES} are read",
                self.path,
                path,
            )
        with closing(self._archive.open_member_reader()) as reader:
            return bytes(reader.read(name, place, MAX_METADATA_NBYTES))

    def chunk_files(self, folder: str) -> ArchiveChunkFiles:
        """Return the chunk files of a folder."""
        inside = self._inside(folder)
        places = self._index.chunks.get(inside)
        irregular: dict[int, Kind] = {}
        for name, kind in self._index.folders.get(inside, {}).items():
            match = CHUNK_NAME.fullmatch(name)
            if match:
                irregular[int(match[1])] = kind
        return ArchiveChunkFiles(
            self._archive.open_member_reader, places or _ChunkPlaces(b""), irregular
        )

    def close(self) -> None:
        """Close the archive; again is allowed."""
        self._archive.close()

    def _inside(self, path: str) -> str:
        return joined(self._top, path) if path else self._top


class ArchiveChunkFiles:
    """The chunk files of a ``data`` folder in an archive."""

    def __init__(
        self,
        open_member_reader: Callable[[], MemberReader],
        places: _ChunkPlaces,
        irregular: Mapping[int, Kind] = _NO_FILES,
    ) -> None:
        indices = np.array(places.indices, np.int64)
        order = np.argsort(indices, kind="stable")
        self.indices: NDArray[np.int64] = indices[order]
        self.irregular = irregular
        self.places = np.array(places.places, np.int64).reshape(-1, 4)[order]
        self.heads = np.frombuffer(bytes(places.heads), np.uint8).reshape(-1, PEEK_NBYTES)[order]
        self.end_zeros = np.array(places.end_zeros, np.int16)[order]
        self.raw_folder = places.raw_folder
        self._open_member_reader = open_member_reader

    def open_reader(self) -> ArchiveChunkReader:
        """Return a reader for one thread."""
        return ArchiveChunkReader(self, self._open_member_reader())


class ArchiveChunkReader:
    """Reads the chunk files of one folder in an archive."""

    def __init__(self, files: ArchiveChunkFiles, members: MemberReader) -> None:
        self._files = files
        self._members = members

    @property
    def read_nbytes(self) -> int:
        """Bytes read so far."""
        return self._members.read_nbytes

    @property
    def buffer_nbytes(self) -> int:
        """The most memory that its buffers take."""
        return self._members.buffer_nbytes

    def read_head(self, index: int) -> Head:
        """Return how a file begins and ends; it has no holes."""
        row, name, place = self._find(index)
        start = self._files.heads[row].tobytes()
        if not any(start):
            return self._members.read_head(name, place)
        num_end_zeros = int(self._files.end_zeros[row])
        return Head(place.nbytes, start[: place.nbytes], num_end_zeros=num_end_zeros)

    def read(self, index: int, limit: int) -> memoryview:
        """Return a file's bytes, at most ``limit``; valid until the next call."""
        _, name, place = self._find(index)
        return self._members.read(name, place, limit)

    def read_content(self, index: int, content: memoryview) -> tuple[bytes, int]:
        """Put what stands behind a file's headers into the caller's memory."""
        data = self.read(index, HEAD_NBYTES + len(content))
        found = data[HEAD_NBYTES:]
        content[: len(found)] = found
        return bytes(data[:HEAD_NBYTES]), len(found)

    def close(self) -> None:
        """Give back what the reader holds; again is allowed."""
        self._members.close()

    def _find(self, index: int) -> tuple[int, bytes, Place]:
        files = self._files
        row = int(np.searchsorted(files.indices, index))
        name = files.raw_folder + f"__{index}.blp".encode()
        return row, name, Place(*files.places[row].tolist())
