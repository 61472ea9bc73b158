"""What happens when frames lie directly in front of memory that cannot be read?

Run as a program, in a process of its own: what a decoder must not do ends it with a signal.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from typing import Any

import numpy as np

from chunkstore.errors import CorruptionError
from chunkstore.format import blosc as blosc_module
from chunkstore.format.blosc import BLOSC_CODECS, BloscCodec
from chunkstore.format.chain import CodecChain
from chunkstore.format.codec_metadata import parse_codecs

CHUNK = np.arange(700, dtype=np.uint32)
CHUNK[300:] = 7


class GuardedMemory:
    """Memory that ends where reading on is a fault."""

    def __init__(self, nbytes: int) -> None:
        page = mmap.PAGESIZE
        self._size = -(-nbytes // page) * page
        # Kept for the life of the process: nothing may come to stand behind it.
        self._map = mmap.mmap(-1, self._size + page)
        self._view = memoryview(self._map)
        address = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        libc = ctypes.CDLL(None, use_errno=True)
        arguments = (ctypes.c_void_p(address + self._size), ctypes.c_size_t(page), 0)
        if libc.mprotect(*arguments) != 0:
            raise OSError(ctypes.get_errno(), "mprotect")

    def place(self, data: bytes) -> memoryview:
        """Return a view of the data, whose last byte is the last that can be read."""
        start = self._size - len(data)
        self._view[start : self._size] = data
        return self._view[start : self._size]


def frames() -> dict[str, bytes]:
    """Return frames of several blocks, by each codec, and one that is only copied."""
    found = {
        name: BloscCodec(name, 5, shuffle, 4, 1024).encode(memoryview(CHUNK).cast("B"))
        for name, shuffle in zip(BLOSC_CODECS, ("none", "byte", "bit", "byte", "bit"), strict=True)
    }
    found["copied"] = BloscCodec("lz4", 0, "none", 4).encode(memoryview(CHUNK).cast("B"))
    return found


def outcome(chain: CodecChain, encoded: memoryview) -> str:
    """Decode, and say what came of it."""
    out = np.zeros(CHUNK.shape, CHUNK.dtype)
    try:
        chain.decode_into(encoded, out)
    except CorruptionError:
        return "refused"
    return "equal" if (out == CHUNK).all() else "other"


def check(condition: Any, what: str) -> None:
    if not condition:
        raise SystemExit(what)


def decode_cut_frames() -> None:
    """Cut frames at each length; alone, and as the last inner chunk of a shard."""
    little = {"name": "bytes", "configuration": {"endian": "little"}}
    blosc = BloscCodec("lz4", 5, "none", 4)
    plain = CodecChain(CHUNK.dtype, "little", (blosc,))
    options = {
        "chunk_shape": [700],
        "codecs": [little, blosc.to_json()],
        "index_codecs": [little],
        "index_location": "start",
    }
    shard = parse_codecs(
        [{"name": "sharding_indexed", "configuration": options}],
        dtype=CHUNK.dtype,
        chunk_shape=(700,),
        fill_value=0,
    )
    for name, frame in frames().items():
        memory = GuardedMemory(len(frame) + 16)
        check(outcome(plain, memory.place(frame)) == "equal", f"{name}: whole frame")
        for length in range(len(frame)):
            cut = frame[:length]
            check(outcome(plain, memory.place(cut)) == "refused", f"{name} cut at {length}")
            index = np.array([16, length], "<u8").tobytes()
            inner = memory.place(index + cut)
            check(outcome(shard, inner) == "refused", f"{name} in a shard, cut at {length}")


def decode_mutated_frames() -> None:
    """Set each byte of the header to each value, and change bytes behind it at random."""
    chain = CodecChain(CHUNK.dtype, "little", (BloscCodec("lz4", 5, "none", 4),))
    rng = np.random.default_rng(0)
    for name, frame in frames().items():
        memory = GuardedMemory(len(frame))
        for place in range(16):
            for value in range(256):
                changed = bytearray(frame)
                changed[place] = value
                result = outcome(chain, memory.place(bytes(changed)))
                # Version, sizes and lengths are held exactly; the others may do no harm.
                if value != frame[place] and place not in (1, 2, 3, 8, 9, 10, 11):
                    check(result == "refused", f"{name}: byte {place} is {value}: {result}")
        for _ in range(300):
            changed = bytearray(frame)
            for place in rng.integers(16, len(frame), rng.integers(1, 5)):
                changed[place] = rng.integers(256)
            outcome(chain, memory.place(bytes(changed)))


def decode_without_the_check() -> None:
    """Do what the check is for: the process must not live to return."""
    blosc_module.check_frame = lambda frame, expected_nbytes: None  # type: ignore[assignment]
    decode_cut_frames()


if __name__ == "__main__":
    {
        "cut": decode_cut_frames,
        "mutated": decode_mutated_frames,
        "unchecked": decode_without_the_check,
    }[sys.argv[1]]()
