"""How is a chunk encoded with Blosc?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from numcodecs import blosc

from chunkstore.errors import CorruptionError
from chunkstore.format.blosc_frame import check_frame

if TYPE_CHECKING:
    from numpy.typing import NDArray

Shuffle = Literal["none", "byte", "bit"]
BLOSC_CODECS = ("blosclz", "lz4", "lz4hc", "zlib", "zstd")
# The names of zarr v3 and the numbers of c-blosc.
ZARR_SHUFFLES: Final[dict[Shuffle, str]] = {
    "none": "noshuffle",
    "byte": "shuffle",
    "bit": "bitshuffle",
}
_NUMBERS: Final[dict[Shuffle, int]] = {"none": 0, "byte": 1, "bit": 2}
# c-blosc adds at most a header; it falls back to a plain copy otherwise.
OVERHEAD_NBYTES = 16
MAX_TYPESIZE = 255


@dataclass(frozen=True)
class BloscCodec:
    """Blosc with one inner codec. Source: zarr v3 codec "blosc" version 1.0."""

    codec: str
    level: int
    shuffle: Shuffle
    typesize: int
    block_nbytes: int = 0

    def encode(self, data: Any) -> bytes:
        """Return the frame of a C-contiguous buffer of at least one byte."""
        frame: bytes = blosc.compress(
            data,
            self.codec.encode("ascii"),
            self.level,
            _NUMBERS[self.shuffle],
            self.block_nbytes,
            self.typesize,
        )
        return frame

    def decode_into(self, frame: bytes | memoryview, out: NDArray[Any]) -> None:
        """Fill ``out`` from a frame, which is checked first."""
        check_frame(frame, out.nbytes)
        try:
            blosc.decompress(frame, out)
        except (RuntimeError, ValueError, SystemError) as error:
            raise CorruptionError(f"blosc frame does not decode: {error}") from None

    def decoded_nbytes(self, frame: bytes | memoryview, limit: int) -> int:
        """Return how many bytes a frame says it decodes to, at most ``limit``."""
        if len(frame) < OVERHEAD_NBYTES:
            raise CorruptionError(f"blosc frame is cut short: {len(frame)} bytes")
        nbytes = int.from_bytes(frame[4:8], "little")
        if nbytes > limit:
            raise CorruptionError(
                f"blosc frame claims {nbytes} bytes, at most {limit} are expected"
            )
        return nbytes

    def max_encoded_nbytes(self, nbytes: int) -> int:
        """Return the largest frame of ``nbytes`` bytes."""
        return nbytes + OVERHEAD_NBYTES

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
