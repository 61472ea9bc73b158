"""How does a chunk become bytes and come back: the chain of codecs?"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from chunkstore.errors import CorruptionError, UnsupportedError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chunkstore.format.codec import BytesCodec, Encoded
    from chunkstore.format.sharding import ShardingCodec

Endian = Literal["little", "big"]


@dataclass(frozen=True)
class CodecChain:
    """The codecs of an array, in the order of encoding.

    Attributes
    ----------
    dtype
        Of the decoded chunk, native byte order.
    endian
        Byte order of the stored elements; None when they have one byte.
    behind
        Codecs from bytes to bytes behind ``bytes`` or shards.
    sharding
        The codec of a sharded array, in place of ``bytes``.
    order
        Axis ``order[i]`` of the chunk is axis ``i`` of what is stored (codec ``transpose``, and
        Fortran order in zarr v2); None if it is stored as it is.

    Notes
    -----
    Threads: safe; numcodecs and zlib work without the interpreter lock.
    """

    dtype: np.dtype[Any]
    endian: Endian | None
    behind: tuple[BytesCodec, ...] = ()
    sharding: ShardingCodec | None = None
    order: tuple[int, ...] | None = None

    def encode(self, chunk: NDArray[Any]) -> bytes:
        """Return the encoded bytes of a chunk: new memory, equal for equal chunks.

        Parameters
        ----------
        chunk
            A whole chunk, at least one element, of the chain's dtype.

        Raises
        ------
        UnsupportedError
            Shards are read, not written.
        """
        if self.sharding is not None:
            raise UnsupportedError("sharded arrays (sharding_indexed) are read, not written")
        if chunk.dtype != self.dtype or chunk.size == 0:
            raise ValueError(
                f"a chunk must be of dtype {self.dtype} and not empty, got {chunk.dtype} of shape "
                f"{chunk.shape}"
            )
        if self.order is not None:
            chunk = chunk.transpose(self.order)
        if self._is_swapped:
            chunk = chunk.byteswap()
        data: Encoded = np.ascontiguousarray(chunk).reshape(-1).view(np.uint8).data
        for codec in self.behind:
            data = codec.encode(data)
        return bytes(data)

    def decode_into(self, encoded: Encoded, out: NDArray[Any]) -> None:
        """Fill a caller's array from the encoded bytes of a chunk.

        Parameters
        ----------
        encoded
            As stored. Not kept.
        out
            Of the chunk's full shape and the chain's dtype, C-contiguous, writable. Not kept. After
            an error its content is unspecified.

        Raises
        ------
        CorruptionError
            The bytes do not decode to exactly this chunk. The message has no location: the caller
            knows where the bytes came from.
        """
        flags = out.flags
        if not flags.c_contiguous or not flags.writeable or out.dtype != self.dtype:
            raise ValueError(
                f"out must be C-contiguous, writable and of dtype {self.dtype}, got {out.dtype}, "
                f"strides {out.strides}, shape {out.shape}"
            )
        if out.size == 0:
            return
        if self.sharding is not None:
            self.sharding.decode_into(self._front_of_shard(encoded), out)
        elif self.order is not None:
            stored = np.zeros([out.shape[axis] for axis in self.order], self.dtype)
            self._decode_elements_into(encoded, stored)
            out.transpose(self.order)[...] = stored
        else:
            self._decode_elements_into(encoded, out)

    def _decode_elements_into(self, encoded: Encoded, out: NDArray[Any]) -> None:
        behind = self.behind
        if not behind:
            _copy_into(encoded, out)
        else:
            if len(behind) > 1:
                limits = self._limits(out.nbytes)
                for codec, limit in zip(behind[:0:-1], limits[:0:-1], strict=True):
                    encoded = codec.decode(encoded, limit=limit)
            behind[0].decode_into(encoded, out)
        if self._is_swapped:
            out.byteswap(inplace=True)

    def _limits(self, nbytes: int) -> list[int]:
        """Return for each codec behind the first the most bytes that it can have been given."""
        limits = [nbytes]
        for codec in self.behind[:-1]:
            limits.append(codec.max_encoded_nbytes(limits[-1]))
        return limits

    def _front_of_shard(self, encoded: Encoded) -> Encoded:
        """Undo the checksums behind a shard."""
        for codec in reversed(self.behind):
            encoded = codec.decode(encoded, limit=len(encoded))
        return encoded

    @property
    def _is_swapped(self) -> bool:
        return self.endian is not None and self.endian != sys.byteorder

    def max_encoded_nbytes(self, nbytes: int) -> int:
        """Return the most bytes that a chunk of ``nbytes`` decoded bytes can take in the file."""
        if self.sharding is not None:
            nbytes = self.sharding.max_encoded_nbytes(nbytes)
        for codec in self.behind:
            nbytes = codec.max_encoded_nbytes(nbytes)
        return nbytes

    def to_json(self) -> list[dict[str, Any]]:
        """Return the chain as zarr v3 JSON.

        Raises
        ------
        UnsupportedError
            A codec of zarr v2 that v3 does not have.
        """
        chain: list[dict[str, Any]] = []
        if self.order is not None:
            chain.append({"name": "transpose", "configuration": {"order": list(self.order)}})
        if self.sharding is not None:
            chain.append(self.sharding.to_json())
        elif self.endian is not None:
            chain.append({"name": "bytes", "configuration": {"endian": self.endian}})
        else:
            chain.append({"name": "bytes"})
        return chain + [codec.to_json() for codec in self.behind]

    def __str__(self) -> str:
        parts = [] if self.sharding is None else [f"shards of {self.sharding.inner}"]
        parts += [str(codec) for codec in self.behind]
        if self.endian == "big":
            parts.append("big-endian")
        if self.order is not None:
            parts.append("transposed")
        return " + ".join(parts) or "raw"


def _copy_into(encoded: Encoded, out: NDArray[Any]) -> None:
    if len(encoded) != out.nbytes:
        raise CorruptionError(
            f"the chunk has a length of {len(encoded)} bytes, its shape {out.shape} needs "
            f"{out.nbytes}"
        )
    out.reshape(-1).view(np.uint8)[...] = np.frombuffer(encoded, np.uint8)
