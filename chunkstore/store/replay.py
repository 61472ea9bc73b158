"""What was written to a file, in which order, as far as it is still there?

A file grows only at its end, so its entries stand in the order of time: full chunks, then metadata,
then the short chunks that this metadata counts, then a directory. An array that is replaced begins
with metadata that counts no samples. Damaged stretches are stepped over.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from chunkstore.container import layout
from chunkstore.container.checksum import crc32
from chunkstore.container.end import checkpoint_at
from chunkstore.container.scan import Piece, walk
from chunkstore.errors import ChunkStoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chunkstore.format.metadata import ArrayMetadata
    from chunkstore.system import ReadFile

_SEARCH_NBYTES = 4 << 20


@dataclass(frozen=True)
class Place:
    """An entry: offsets of header and data, size, CRC-32; of a chunk how many samples count."""

    offset: int
    data_offset: int
    nbytes: int
    crc: int
    num_samples: int = 0


@dataclass(frozen=True)
class Entry:
    """A complete entry.

    Attributes
    ----------
    name, place
        What and where; the bytes have the CRC-32 that the local header says.
    num_gaps
        Damaged stretches of the file before it.
    """

    name: bytes
    place: Place
    num_gaps: int


def iter_events(
    file: ReadFile, start: int, messages: list[str]
) -> Iterator[Entry | Literal["directory"]]:
    """Yield the sound entries and the directories from ``start`` on, in the order of the file.

    Parameters
    ----------
    file
        Open for reading.
    start
        Where an entry or a directory begins, or began.
    messages
        What is damaged is added here in words.
    """
    size = file.size()
    position, num_gaps = start, 0
    while position < size:
        piece = next(walk(file, position, size))
        if piece.header is not None and _is_sound(file, piece):
            header = piece.header
            place = Place(position, position + header.data_start, header.encoded_nbytes, header.crc)
            yield Entry(header.name, place, num_gaps)
            position = piece.stop
            continue
        if piece.kind not in ("entry", "cut", "unknown"):
            yield "directory"
            position = piece.stop
            continue
        num_gaps += 1
        following: int | None = piece.stop
        if piece.kind != "entry" or not _begins_structure(file, piece.stop, size):
            # The lengths in a damaged header lead nowhere: look for what comes next.
            following = _next_structure(file, position + 1, size)
        if following is None:
            messages.append(f"bytes {position} to {size} hold no complete entry")
            return
        messages.append(f"bytes {position} to {following} hold no complete entry")
        position = following


def _is_sound(file: ReadFile, piece: Piece) -> bool:
    header = piece.header
    if header is None or header.method != layout.STORED:
        return False
    data = file.read(header.encoded_nbytes, piece.start + header.data_start)
    return len(data) == header.encoded_nbytes and crc32(data) == header.crc


def _begins_structure(file: ReadFile, position: int, size: int) -> bool:
    return position == size or next(walk(file, position, size)).kind != "unknown"


def _next_structure(file: ReadFile, start: int, size: int) -> int | None:
    """Return the next offset of a sound entry, or of an end record that fits where it stands."""
    position = start
    while position < size:
        block = file.read(min(_SEARCH_NBYTES, size - position), position)
        place = block.find(b"PK")
        while place >= 0:
            signature = block[place : place + 4]
            if signature == layout.LOCAL_SIGNATURE:
                if _is_sound(file, next(walk(file, position + place, size))):
                    return position + place
            elif signature == layout.END_SIGNATURE and _is_end(file, position + place, size):
                return position + place
            place = block.find(b"PK", place + 1)
        # A signature may lie across the border of two blocks.
        position += max(1, len(block) - 3)
    return None


def _is_end(file: ReadFile, position: int, size: int) -> bool:
    piece = next(walk(file, position, size))
    if piece.kind != "end":
        return False
    try:
        checkpoint_at(file, position, piece.stop)
    except ChunkStoreError:
        return False
    return True


@dataclass(frozen=True)
class _Chunk:
    """A chunk entry of an array; ``count`` is how many samples count, None for all."""

    index: int
    suffix: str
    place: Place
    count: int | None
    num_gaps: int
    is_listed: bool = False


@dataclass
class _Generation:
    """An array from its beginning, or from when it was replaced, to its replacement.

    It is described once metadata counts its samples, and confirmed by the directory behind that.
    """

    metadata: ArrayMetadata | None = None
    is_described: bool = False
    is_confirmed: bool = False
    is_behind_metadata: bool = False
    chunks: list[_Chunk] = field(default_factory=list)


class History:
    """What was written of one array.

    Parameters
    ----------
    name
        Of the array.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._generations = [_Generation()]

    def listed(self, metadata: ArrayMetadata, places: dict[int, Place]) -> None:
        """Begin with what a sound directory lists."""
        length = metadata.chunk_shape[0]
        suffix = "/0" * (len(metadata.shape) - 1)
        self._generations = [
            _Generation(
                metadata,
                is_confirmed=True,
                chunks=[
                    _Chunk(
                        index,
                        suffix,
                        place,
                        min(length, metadata.shape[0] - index * length),
                        0,
                        is_listed=True,
                    )
                    for index, place in sorted(places.items())
                ],
            )
        ]

    def described(self, metadata: ArrayMetadata, *, by_root: bool) -> None:
        """Note metadata of the array, from its own entry or from the copy in the root's."""
        current = self._generations[-1]
        count = metadata.shape[0]
        if count == 0 and current.chunks:
            current = _Generation()
            self._generations.append(current)
        current.metadata = metadata
        current.is_described |= by_root or count > 0
        current.is_behind_metadata = True

    def checkpointed(self) -> None:
        """Note a directory: chunks behind it are not those that the metadata before it counts."""
        current = self._generations[-1]
        current.is_behind_metadata = False
        current.is_confirmed |= current.is_described

    def written(self, index: int, suffix: str, place: Place, num_gaps: int) -> None:
        """Note a chunk; ``suffix`` is what its key says behind the index."""
        current = self._generations[-1]
        count = None
        if current.is_behind_metadata and current.metadata is not None:
            length, num_samples = current.metadata.chunk_shape[0], current.metadata.shape[0]
            if num_samples % length and index == num_samples // length:
                count = num_samples % length
                current.is_behind_metadata = False
        current.chunks.append(_Chunk(index, suffix, place, count, num_gaps))

    @property
    def _in_force(self) -> _Generation:
        """The newest generation that a directory has listed, or the first."""
        confirmed = [each for each in self._generations if each.is_confirmed]
        return confirmed[-1] if confirmed else self._generations[0]

    @property
    def is_being_replaced(self) -> bool:
        """Whether a replacement was begun and never acknowledged."""
        return self._in_force is not self._generations[-1]

    @property
    def metadata(self) -> ArrayMetadata | None:
        """The newest metadata of the array in force."""
        return self._in_force.metadata

    def chunks(self, messages: list[str]) -> dict[int, Place]:
        """Return the chunks of the array in force, by index.

        No CRC covers an entry's name, so a name counts only if it fits its neighbours.
        """
        metadata = self.metadata
        if metadata is None:
            return {}
        length, num_samples = metadata.chunk_shape[0], metadata.shape[0]
        suffix = "/0" * (len(metadata.shape) - 1)
        known = [chunk for chunk in self._in_force.chunks if chunk.suffix == suffix]
        result: dict[int, Place] = {}
        before, gaps_before = -1, 0
        for chunk in self._in_order(self._newest(known, length, messages), messages):
            count = length if chunk.count is None else chunk.count
            # Whole chunks behind the last sample that metadata counts were written later.
            is_later = chunk.index * length + count > num_samples
            if is_later and chunk.index != before + 1 and chunk.num_gaps == gaps_before:
                messages.append(self._doubt(chunk, "follows no chunk"))
                continue
            before, gaps_before = chunk.index, chunk.num_gaps
            result[chunk.index] = replace(chunk.place, num_samples=count)
        return result

    def _newest(self, chunks: list[_Chunk], length: int, messages: list[str]) -> list[_Chunk]:
        """Leave out short chunks that were written again, and chunks that stand there twice."""
        kept: dict[int, _Chunk] = {}
        twice: set[int] = set()
        for chunk in chunks:
            earlier = kept.get(chunk.index)
            if earlier is None or (earlier.count is not None and earlier.count < length):
                kept.pop(chunk.index, None)  # the place in the order is that of the newer one
                kept[chunk.index] = chunk
            else:
                messages.append(self._doubt(chunk, "stands there twice"))
                if not earlier.is_listed:
                    twice.add(chunk.index)
        return [chunk for chunk in kept.values() if chunk.index not in twice]

    def _in_order(self, chunks: list[_Chunk], messages: list[str]) -> list[_Chunk]:
        """Leave out the fewest chunks so that the indices rise; those that are listed stay."""
        listed = [chunk for chunk in chunks if chunk.is_listed]
        least = listed[-1].index if listed else -1
        rest = [chunk for chunk in chunks if not chunk.is_listed and chunk.index > least]
        # Longest rising sequence: of each length the smallest last index, and what came before.
        lasts: list[int] = []
        tails: list[int] = []
        previous: list[int] = []
        for number, chunk in enumerate(rest):
            place = bisect.bisect_left(lasts, chunk.index)
            previous.append(tails[place - 1] if place else -1)
            if place == len(lasts):
                lasts.append(chunk.index)
                tails.append(number)
            else:
                lasts[place], tails[place] = chunk.index, number
        number = tails[-1] if tails else -1
        rising: list[_Chunk] = []
        while number >= 0:
            rising.append(rest[number])
            number = previous[number]
        kept = [*listed, *reversed(rising)]
        offsets = {chunk.place.offset for chunk in kept}
        messages += [
            self._doubt(chunk, "stands out of order")
            for chunk in chunks
            if chunk.place.offset not in offsets
        ]
        return kept

    def _doubt(self, chunk: _Chunk, what: str) -> str:
        return (
            f"chunk {chunk.index} of array {self.name!r} at byte {chunk.place.offset} {what}: its "
            "name may be damaged"
        )
