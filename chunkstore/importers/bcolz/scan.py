"""Are the chunk files of an array all there, and can their headers be true?

Every header is read before the first sample is. Only headers: damage inside a frame shows when it
is decoded. How many samples there are is said by ``meta/sizes``, which bcolz wrote on flush only.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from chunkstore import system
from chunkstore.container.checksum import crc32
from chunkstore.errors import (
    ChunkStoreError,
    CorruptionError,
    SystemCallError,
    UnsupportedError,
)
from chunkstore.importers.bcolz.chunks import (
    check_content,
    chunk_key,
    chunk_samples,
    content_bounds,
    frame_typesize,
)
from chunkstore.importers.bcolz.files import KIND_TEXTS, TAIL_NBYTES
from chunkstore.importers.bcolz.frame import (
    HEAD_NBYTES,
    PACK_HEADER_NBYTES,
    FrameHeader,
    parse_head,
)
from chunkstore.importers.bcolz.report import problem_of
from chunkstore.importers.bcolz.snappy import INSTALL_HINT, has_snappy
from chunkstore.store.striping import for_each

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from chunkstore.importers.bcolz.files import ChunkFileReader, ChunkFiles, Head
    from chunkstore.importers.bcolz.metadata import CarrayMetadata
    from chunkstore.importers.bcolz.nodes import CarrayNode
    from chunkstore.store.report import Problem

# Streams of lz4 end with letters, those of zstd and zlib never with so many zeros. Content that is
# copied may, and so may streams of blosclz and snappy, which more often are left as they are.
_CODED_END_ZEROS: Final = 64
_OFTEN_LEFT: Final = frozenset({"blosclz", "snappy"})
_FILES_AT_A_TIME: Final = 256
_MAX_THREADS: Final = 8
_HEAD: Final = np.dtype(
    [
        ("file_nbytes", np.int64),
        ("nbytes", np.int64),
        ("frame_nbytes", np.int64),
        ("method", np.uint8),
        ("typesize", np.uint8),
        ("crc", np.uint32),
        ("has_holes", np.bool_),
        ("has_zero_end", np.bool_),
    ]
)
_METHODS: Final = tuple(
    FrameHeader(2, 1, codec << 5 | flags, 1, 1, 1, 0).method
    for codec in range(5)
    for flags in (0, 1, 4, 2)
)


@dataclass
class ChunkScan:
    """What was found of one array.

    Attributes
    ----------
    metadata
        With the number of samples that are read.
    present
        Chunks whose header fits, ascending, int64.
    encoded_nbytes
        Bytes of their files.
    largest_nbytes, largest_content_nbytes
        Of the largest file among them, and of what the largest frame holds.
    methods
        Chunks by codec and shuffle.
    digest
        Of the layout, and of the first bytes of all chunks.
    problems, refused, notes
        See `chunkstore.importers.bcolz.report.BcolzReport`.
    """

    metadata: CarrayMetadata
    present: NDArray[np.int64]
    encoded_nbytes: int = 0
    largest_nbytes: int = 0
    largest_content_nbytes: int = 0
    methods: dict[str, int] = field(default_factory=dict)
    digest: str = ""
    problems: list[Problem] = field(default_factory=list)
    refused: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def scan_chunks(
    node: CarrayNode,
    files: ChunkFiles,
    *,
    recover_unflushed: bool,
    advance: Callable[[int], None],
) -> ChunkScan:
    """Read every header of an array's chunks.

    Parameters
    ----------
    node, files
        The array and its chunk files.
    recover_unflushed
        Take the samples that ``meta/sizes`` does not count.
    advance
        Called with how many files were looked at.

    Raises
    ------
    SystemCallError
        The system refuses to read a file.
    """
    return _Scan(node, files, advance).run(recover_unflushed=recover_unflushed)


def _has_zero_end(
    reader: ChunkFileReader, chunk_index: int, head: Head, header: FrameHeader
) -> bool:
    """Say whether a frame ends in zeros that are perhaps not its own."""
    may_end_so = header.is_copied or header.codec in _OFTEN_LEFT
    least = TAIL_NBYTES if may_end_so else _CODED_END_ZEROS
    if head.num_end_zeros < least or head.nbytes <= HEAD_NBYTES + least:
        return False
    if head.nbytes != PACK_HEADER_NBYTES + header.frame_nbytes:
        # What is behind the frame does not count.
        return False
    # Copied content that is zero from its first byte on is really black.
    if not header.is_copied or any(head.start[HEAD_NBYTES:]):
        return True
    return bool(np.frombuffer(reader.read(chunk_index, head.nbytes), np.uint8)[HEAD_NBYTES:].any())


class _Scan:
    def __init__(self, node: CarrayNode, files: ChunkFiles, advance: Callable[[int], None]) -> None:
        self._node = node
        self._files = files
        self._indices = files.indices
        self._heads = np.zeros(len(files.indices), _HEAD)
        self._errors: dict[int, ChunkStoreError] = {}
        self._advance = advance
        self._metadata = node.metadata
        self._scan = ChunkScan(node.metadata, np.empty(0, np.int64))

    def run(self, *, recover_unflushed: bool) -> ChunkScan:
        self._read_heads()
        self._settle_length(recover_unflushed=recover_unflushed)
        metadata, scan = self._metadata, self._scan
        num_chunks = metadata.num_chunks
        # Chunks that hold the samples: so many of self._indices, from the first on.
        num_found = int(np.searchsorted(self._indices, num_chunks))
        self._find_missing(self._indices[:num_found], num_chunks)
        _, most = content_bounds(metadata, 0)
        # Nearly all chunks are full ones: only the others are looked at one by one.
        for row in np.flatnonzero(self._heads["nbytes"][:num_found] != most).tolist():
            self._check_row(row)
        self._doubt_longer_last(num_found)
        scan.problems.sort(key=lambda problem: problem.chunk_index or 0)
        bad = np.array([problem.chunk_index for problem in scan.problems], np.int64)
        is_good = np.isin(self._indices[:num_found], bad, invert=True)
        heads = self._heads[:num_found][is_good]
        scan.present = self._indices[:num_found][is_good]
        scan.encoded_nbytes = int(heads["file_nbytes"].sum())
        scan.largest_nbytes = int(heads["file_nbytes"].max(initial=0))
        scan.largest_content_nbytes = int(heads["nbytes"].max(initial=0))
        counts = Counter(heads["method"].tolist())
        scan.methods = dict(sorted((_METHODS[m], n) for m, n in counts.items()))
        scan.metadata = metadata
        self._find_undecodable(heads)
        self._note_oddities(heads)
        digest = hashlib.blake2b(digest_size=16)
        digest.update(
            f"{metadata.shape} {metadata.disk_dtype.descr} {metadata.chunk_length}".encode()
        )
        digest.update(scan.present.astype("<i8").tobytes())
        for column in ("nbytes", "frame_nbytes", "crc"):
            digest.update(heads[column].astype("<i8").tobytes())
        scan.digest = digest.hexdigest()
        return scan

    def _read_heads(self) -> None:
        rows = range(len(self._indices))
        blocks = [rows[i : i + _FILES_AT_A_TIME] for i in range(0, len(rows), _FILES_AT_A_TIME)]
        threads = min(len(blocks), _MAX_THREADS, 2 * system.calls.available_cores())
        for_each(
            blocks,
            self._read_block,
            open_tool=lambda: closing(self._files.open_reader()),
            threads=threads,
            name="chunkstore-check",
        )

    def _read_block(self, reader: ChunkFileReader, rows: range) -> None:
        for row in rows:
            try:
                head = reader.read_head(int(self._indices[row]))
                header = parse_head(head.start, file_nbytes=head.nbytes)
                has_zero_end = _has_zero_end(reader, int(self._indices[row]), head, header)
            except SystemCallError:
                raise
            except ChunkStoreError as error:
                self._errors[row] = error
                continue
            method = _METHODS.index(header.method)
            self._heads[row] = (
                head.nbytes,
                header.nbytes,
                header.frame_nbytes,
                method,
                header.typesize,
                crc32(head.start),
                head.has_holes,
                has_zero_end,
            )
        self._advance(len(rows))

    def _settle_length(self, *, recover_unflushed: bool) -> None:
        """Compare what ``meta/sizes`` says with what is there."""
        metadata, scan = self._metadata, self._scan
        said, found = metadata.num_samples, self._samples_found()
        if found > said:
            text = (
                f"array {self._node.name!r}: meta/sizes says {said} samples, {found} are there. "
                "Either the rest was appended and never flushed, or a trim has left it behind: "
                "the two cannot be told apart"
            )
            if recover_unflushed:
                self._metadata = metadata.resized(found)
                scan.notes.append(f"{text}. All {found} are read, as asked")
            else:
                scan.notes.append(
                    f"{text}. {said} are read; recover_unflushed=True reads all of them"
                )
        num_beyond = len(self._indices) - np.searchsorted(
            self._indices, self._metadata.num_chunks, side="left"
        )
        if num_beyond and (found <= said or recover_unflushed):
            scan.notes.append(
                f"array {self._node.name!r}: {num_beyond} chunk files beyond the last sample are "
                f"left out, the first is __{self._indices[-num_beyond]}.blp"
            )

    def _samples_found(self) -> int:
        """Return how many samples there would be if ``meta/sizes`` said nothing."""
        metadata = self._metadata
        if metadata.is_objects:
            length, sample_nbytes, full_nbytes = 1, 1, 0
        else:
            length, sample_nbytes = metadata.full_length, metadata.sample_nbytes
            full_nbytes = metadata.full_nbytes
        if sample_nbytes == 0:
            return metadata.num_samples
        chunk_index = metadata.num_samples // length
        total = chunk_index * length
        for row in range(int(np.searchsorted(self._indices, chunk_index)), len(self._indices)):
            nbytes = int(self._heads["nbytes"][row])
            if self._indices[row] != chunk_index or row in self._errors:
                break
            if metadata.is_objects:
                total += 1
            elif nbytes % sample_nbytes or nbytes > full_nbytes:
                break
            else:
                total += nbytes // sample_nbytes
                if nbytes < full_nbytes:
                    break
            chunk_index += 1
        return total

    def _find_missing(self, found: NDArray[np.int64], num_chunks: int) -> None:
        irregular = {i: kind for i, kind in self._files.irregular.items() if i < num_chunks}
        known = np.union1d(found, np.array(sorted(irregular), np.int64))
        edges = np.concatenate([[-1], known, [num_chunks]])
        for place in np.flatnonzero(np.diff(edges) > 1).tolist():
            first, stop = int(edges[place]) + 1, int(edges[place + 1])
            key = chunk_key(self._node, first)
            what = "the chunk file is missing"
            if stop - first > 1:
                what = f"the chunk files __{first}.blp to __{stop - 1}.blp are missing"
            self._add(CorruptionError(what, key=key), first, stop)
        for chunk_index, kind in irregular.items():
            text = f"this is {KIND_TEXTS[kind]}; a chunk file is wanted"
            self._add(CorruptionError(text), chunk_index)

    def _check_row(self, row: int) -> None:
        chunk_index = int(self._indices[row])
        error = self._errors.get(row)
        if error is None:
            try:
                check_content(self._metadata, chunk_index, int(self._heads["nbytes"][row]))
            except CorruptionError as found:
                error = found
        if error is not None:
            self._add(error, chunk_index)

    def _doubt_longer_last(self, num_found: int) -> None:
        """Distrust a last chunk that is longer than it should be where another one is shorter."""
        metadata = self._metadata
        last = metadata.num_chunks - 1
        if metadata.is_objects or num_found == 0 or self._indices[num_found - 1] != last:
            return
        least, most = content_bounds(metadata, last)
        nbytes = self._heads["nbytes"][:num_found]
        short = np.flatnonzero((nbytes[:-1] > 0) & (nbytes[:-1] < most))
        if len(short) and least < nbytes[-1] <= most:
            self._add(
                CorruptionError(
                    f"the last chunk holds {nbytes[-1]} bytes where {least} are left, and "
                    f"__{self._indices[short[0]]}.blp fewer than a full one: they may be swapped"
                ),
                last,
            )

    def _find_undecodable(self, heads: NDArray[Any]) -> None:
        number = [m for m, name in enumerate(_METHODS) if name.startswith("snappy")]
        rows = np.flatnonzero(np.isin(heads["method"], number))
        if len(rows) and not has_snappy():
            first = int(self._scan.present[rows[0]])
            self._scan.refused.append(
                problem_of(
                    UnsupportedError(
                        f"{len(rows)} of {len(heads)} chunks are coded with snappy, for which "
                        f"there is no decoder here; {INSTALL_HINT}"
                    ),
                    array=self._node.name,
                    chunk_index=first,
                    key=chunk_key(self._node, first),
                )
            )

    def _note_oddities(self, heads: NDArray[Any]) -> None:
        """Note what is no proof of damage, in a format without checksums, but a sign of it."""
        typesize = frame_typesize(self._metadata.disk_dtype)
        self._note(
            heads["has_holes"],
            "chunk files have holes, which read as zeros and were perhaps never written",
        )
        self._note(
            heads["has_zero_end"],
            "chunk files end in zeros, as those do whose end was never written",
        )
        self._note(
            heads["file_nbytes"] > heads["frame_nbytes"] + PACK_HEADER_NBYTES,
            "chunk files are longer than the frames in them",
        )
        self._note(
            heads["typesize"] != typesize,
            f"chunks were compressed as elements of another size than {typesize} bytes",
        )

    def _note(self, is_odd: NDArray[np.bool_], what: str) -> None:
        rows = np.flatnonzero(is_odd)
        if len(rows):
            first = int(self._scan.present[rows[0]])
            self._scan.notes.append(
                f"array {self._node.name!r}: {len(rows)} of {len(is_odd)} {what}; the first is "
                f"__{first}.blp. Frames have no checksum: look at these samples"
            )

    def _add(self, error: ChunkStoreError, chunk_index: int, stop: int | None = None) -> None:
        self._scan.problems.append(
            problem_of(
                error,
                array=self._node.name,
                chunk_index=chunk_index,
                samples=chunk_samples(self._metadata, chunk_index, stop),
                key=chunk_key(self._node, chunk_index),
            )
        )
