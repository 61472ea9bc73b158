"""How is a chunk encoded with Blosc?"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numcodecs import blosc

from chunkstore.errors import CorruptionError
from chunkstore.format.blosc_frame import HEADER_NBYTES, check_frame, frame_decoded_nbytes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chunkstore.format.codec import Encoded

Shuffle = Literal["none", "byte", "bit"]
SHUFFLES: Final[tuple[Shuffle, ...]] = ("none", "byte", "bit")
BLOSC_CODECS: Final = ("blosclz", "lz4", "lz4hc", "zlib", "zstd")
# The names of zarr v3 and the numbers of c-blosc.
ZARR_SHUFFLES: Final[dict[Shuffle, str]] = {
    "none": "noshuffle",
    "byte": "shuffle",
    "bit": "bitshuffle",
}
_NUMBERS: Final[dict[Shuffle, int]] = {"none": 0, "byte": 1, "bit": 2}
MAX_TYPESIZE: Final = 255


@dataclass(frozen=True)
class BloscCodec:
    """Blosc with one inner codec. Source: zarr v3 codec "blosc" version 1.0.

    Attributes
    ----------
    codec
        One of `BLOSC_CODECS`.
    level
        0 to 9.
    shuffle
        What is done to the bytes of neighbouring elements first.
    typesize
        Bytes of an element, 1 to 255.
    block_nbytes
        Bytes that are compressed together; 0 lets c-blosc choose.

    Notes
    -----
    Threads: safe; numcodecs works without the interpreter lock.
    """

    codec: str
    level: int
    shuffle: Shuffle
    typesize: int
    block_nbytes: int = 0

    def encode(self, data: Encoded) -> bytes:
        """Return the frame of at least one byte; equal data give equal bytes."""
        # c-blosc takes the element size from the buffer.
        elements: NDArray[Any] = np.frombuffer(data, np.uint8)
        if len(elements) % self.typesize == 0:
            elements = elements.view(f"V{self.typesize}")
        name, shuffle = self.codec.encode("ascii"), _NUMBERS[self.shuffle]
        with _ONE_THREAD_A_FRAME:
            frame: bytes = blosc.compress(elements, name, self.level, shuffle, self.block_nbytes)
        return frame

    def decode_into(self, encoded: Encoded, out: NDArray[Any]) -> None:
        """Fill ``out`` from a frame, which is checked first; nothing is copied on the way."""
        check_frame(encoded, out.nbytes)
        try:
            blosc.decompress(encoded, out)
        except (RuntimeError, ValueError, SystemError) as error:
            raise CorruptionError(f"blosc frame does not decode: {error}") from None

    def decode(self, encoded: Encoded, *, limit: int) -> Encoded:
        """Return the decoded bytes, at most ``limit``."""
        nbytes = frame_decoded_nbytes(encoded)
        if nbytes > limit:
            raise CorruptionError(f"blosc frame decodes to {nbytes} bytes, at most {limit} can be")
        out = np.zeros(nbytes, np.uint8)
        # The decoder has no answer for a frame of nothing.
        if nbytes:
            self.decode_into(encoded, out)
        return out.data

    def max_encoded_nbytes(self, nbytes: int) -> int:
        """Return the largest frame: c-blosc copies what it cannot compress."""
        return nbytes + HEADER_NBYTES

    def to_json(self) -> dict[str, Any]:
        """Return the codec as zarr v3 JSON."""
        return {
            "name": "blosc",
            "configuration": {
                "cname": self.codec,
                "clevel": self.level,
                "shuffle": ZARR_SHUFFLES[self.shuffle],
                "typesize": self.typesize,
                "blocksize": self.block_nbytes,
            },
        }

    def __str__(self) -> str:
        return f"blosc {self.codec}-{self.level} {self.shuffle}"


class _OneThreadAFrame:
    """While entered, numcodecs compresses a frame in the calling thread.

    In the main thread numcodecs lets c-blosc use threads of its own, which put the blocks of a
    frame in the order in which they finish: equal data would give different files. The switch is
    global to numcodecs, so the caller's setting comes back when the last of ours has left.

    Notes
    -----
    Threads: any number may be inside; the lock is held only to enter and leave.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._num_inside = 0
        self._setting: bool | None = None

    def __enter__(self) -> None:
        with self._lock:
            if self._num_inside == 0:
                self._setting = blosc.use_threads
                blosc.use_threads = False
            self._num_inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._num_inside -= 1
            if self._num_inside == 0:
                blosc.use_threads = self._setting

    def after_fork(self) -> None:
        """Forget the threads that were inside: a child process does not have them."""
        self._lock = threading.Lock()
        if self._num_inside:
            self._num_inside = 0
            blosc.use_threads = self._setting


_ONE_THREAD_A_FRAME = _OneThreadAFrame()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_ONE_THREAD_A_FRAME.after_fork)
