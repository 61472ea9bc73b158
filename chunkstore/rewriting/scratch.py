"""Where do the piles of a shuffle lie, and what of them is there after a kill?

One file beside the new one. The number of samples in each pile is known before the first is
written, so every pile has its place, and a block that is dealt again after a kill writes the same
bytes to the same places. Two slots at the front say in turn how far the dealing came: a record of
it is written when the samples are on the device, and one that was torn leaves the other in force.
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from chunkstore import system
from chunkstore.container.checksum import crc32
from chunkstore.errors import CorruptionError, ExistingFileError, system_call_error

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MAGIC: Final = b"chunkstore piles\n"
# Magic, checksum of what follows, turn, samples dealt, piles, identity.
_HEAD: Final = struct.Struct("<17sIQQQ16s")
_CHECKED_FROM: Final = 21
_PAGE: Final = 4096


@dataclass
class Dealt:
    """How far the dealing came.

    Attributes
    ----------
    num_samples
        Of the source that are in the piles.
    counts, checksums
        Of each pile: records that are there, and the CRC-32 of these.
    """

    num_samples: int
    counts: NDArray[np.int64]
    checksums: NDArray[np.uint32]


class PileFile:
    """Piles of records in one file, each in its place.

    Parameters
    ----------
    path
        Of the file. Its caller keeps others from it.
    identity
        16 bytes that everything in the file follows from: what is there of another identity is
        begun anew.
    counts
        Records of each pile when all are dealt.
    record_nbytes
        Of each record.

    Attributes
    ----------
    dealt
        What the last record of it says.

    Raises
    ------
    ExistingFileError
        There is a file of that name that holds no piles.
    SystemCallError
        The system refused.

    Notes
    -----
    Threads: one writes, one reads.
    """

    def __init__(
        self, path: str, *, identity: bytes, counts: NDArray[np.int64], record_nbytes: int
    ) -> None:
        self.path = path
        self._identity = identity
        self._record_nbytes = record_nbytes
        num_piles = len(counts)
        self._slot_nbytes = -(-(_HEAD.size + 12 * num_piles) // _PAGE) * _PAGE
        self._counts = counts
        self._starts = np.concatenate([[0], np.cumsum(counts)])
        self._turn = 0
        self.dealt = Dealt(0, np.zeros(num_piles, np.int64), np.zeros(num_piles, np.uint32))
        is_there = Path(path).exists()
        try:
            self._descriptor = system.open_for_writing(path, create=not is_there)
        except OSError as error:
            raise system_call_error(error, "the file of piles cannot be created", path) from error
        try:
            if not (is_there and self._go_on()):
                # Before anything else: what does not begin so is no file of piles.
                self._call("written", system.write_at, self._descriptor, [_MAGIC], 0)
            self._call("made", os.ftruncate, self._descriptor, self.nbytes)
        except BaseException:
            os.close(self._descriptor)
            raise

    @property
    def nbytes(self) -> int:
        """Of the file."""
        return 2 * self._slot_nbytes + int(self._starts[-1]) * self._record_nbytes

    def append(self, pile: int, records: memoryview, count: int) -> None:
        """Write records behind those that a pile has.

        Parameters
        ----------
        pile
            Which one.
        records
            Their bytes.
        count
            How many they are.

        Raises
        ------
        SystemCallError
            The system refused, for example because the disk is full.
        """
        dealt = self.dealt
        offset = self._offset(pile) + int(dealt.counts[pile]) * self._record_nbytes
        self._call("written", system.write_at, self._descriptor, [records], offset)
        dealt.counts[pile] += count
        dealt.checksums[pile] = crc32(records, int(dealt.checksums[pile]))

    def checkpoint(self, num_samples: int) -> None:
        """Make what was appended durable, and say how many samples of the source it is."""
        self._call("made durable", system.calls.sync_data, self._descriptor)
        self.dealt.num_samples = num_samples
        self._turn += 1
        body = _HEAD.pack(
            _MAGIC, 0, self._turn, num_samples, len(self._counts), self._identity
        ) + _columns(self.dealt)
        raw = body[: _CHECKED_FROM - 4] + struct.pack("<I", crc32(body[_CHECKED_FROM:]))
        raw += body[_CHECKED_FROM:]
        offset = self._turn % 2 * self._slot_nbytes
        self._call("written", system.write_at, self._descriptor, [raw], offset)
        self._call("made durable", system.calls.sync_data, self._descriptor)

    def read_into(self, pile: int, memory: memoryview) -> int:
        """Fill memory with the records of a pile and return how many there are.

        Raises
        ------
        CorruptionError
            They are not what was written.
        """
        count = int(self._counts[pile])
        wanted = memory[: count * self._record_nbytes]
        offset = self._offset(pile)
        done = 0
        while done < wanted.nbytes:
            read = self._call(
                "read", system.calls.pread_into, self._descriptor, wanted[done:], offset + done
            )
            if read <= 0:
                break
            done += read
        found = crc32(wanted)
        expected = int(self.dealt.checksums[pile])
        if done < wanted.nbytes or found != expected:
            raise CorruptionError(
                f"pile {pile} of {len(self._counts)} is not what was written: {done} of "
                f"{wanted.nbytes} bytes, crc32 is 0x{found:08x}, expected 0x{expected:08x}; look "
                "for a fault in this machine's memory or in its disk",
                self.path,
                offset=offset,
            )
        return count

    def close(self) -> None:
        """Close the file; again is allowed."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _offset(self, pile: int) -> int:
        return 2 * self._slot_nbytes + int(self._starts[pile]) * self._record_nbytes

    def _go_on(self) -> bool:
        """Take over what an earlier process left and return True, if it is just this."""
        found = []
        size = os.fstat(self._descriptor).st_size
        for slot in range(2):
            raw = self._read_slot(slot, size)
            if slot == 0 and not _is_ours(raw):
                raise ExistingFileError(
                    "there is a file of this name that holds no piles of a shuffle; move it away",
                    self.path,
                    errno=errno.EEXIST,
                )
            parsed = _parsed(raw, self._identity, len(self._counts))
            if parsed is not None:
                found.append(parsed)
        if found:
            self._turn, self.dealt = max(found, key=lambda entry: entry[0])
        else:
            # Of other piles nothing may look like these.
            self._call("cut", os.ftruncate, self._descriptor, 0)
        return bool(found)

    def _read_slot(self, slot: int, size: int) -> bytes:
        buffer = bytearray(max(0, min(self._slot_nbytes, size - slot * self._slot_nbytes)))
        if buffer:
            read = self._call(
                "read",
                system.calls.pread_into,
                self._descriptor,
                memoryview(buffer),
                slot * self._slot_nbytes,
            )
            return bytes(buffer[:read])
        return b""

    def _call(self, what: str, function: object, *args: object) -> int:
        try:
            return function(*args)  # type: ignore[operator, no-any-return]  # a system call
        except OSError as error:
            raise system_call_error(
                error, f"the file of piles, {self.nbytes} bytes, cannot be {what}", self.path
            ) from error


def remove(path: str) -> None:
    """Remove a file of piles, if there is one; of another kind of file nothing is touched."""
    with contextlib.suppress(OSError):
        with Path(path).open("rb") as file:
            head = file.read(len(_MAGIC))
        if _is_ours(head):
            Path(path).unlink()


def _is_ours(beginning: bytes) -> bool:
    """Return whether a file of piles begins so, or a kill left as much of one."""
    return _MAGIC.startswith(beginning[: len(_MAGIC)])


def _columns(dealt: Dealt) -> bytes:
    return dealt.counts.astype("<i8").tobytes() + dealt.checksums.astype("<u4").tobytes()


def _parsed(raw: bytes, identity: bytes, num_piles: int) -> tuple[int, Dealt] | None:
    """Return turn and content of a slot, or None if it is torn or of other piles."""
    nbytes = _HEAD.size + 12 * num_piles
    if len(raw) < nbytes:
        return None
    magic, checksum, turn, num_samples, found_piles, found = _HEAD.unpack_from(raw)
    if (magic, found_piles, found) != (_MAGIC, num_piles, identity):
        return None
    if crc32(raw[_CHECKED_FROM:nbytes]) != checksum:
        return None
    counts = np.frombuffer(raw, "<i8", num_piles, _HEAD.size).astype(np.int64)
    checksums = np.frombuffer(raw, "<u4", num_piles, _HEAD.size + 8 * num_piles)
    return turn, Dealt(num_samples, counts, checksums.astype(np.uint32))
