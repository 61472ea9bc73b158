"""Are the Blosc frames of a zarr folder whole that zarr-python decodes?

Its decoder goes by the length that a frame says it has, and takes what the memory holds behind one
that was cut short for the rest of it.
"""

from __future__ import annotations

import itertools
import struct
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import zarr

from chunkstore.errors import CorruptionError, MissingFileError
from chunkstore.format.blosc_frame import HEADER_NBYTES
from chunkstore.importers.arrays.column import ForeignColumn
from chunkstore.system import ReadFile

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Where a frame says how many bytes it has.
_FRAME_NBYTES_OFFSET: Final = 12


class FrameCheck:
    """A look at the chunks of an array of zarr-python before it decodes them.

    Parameters
    ----------
    place
        How errors call the array.
    array
        Of zarr-python.

    Notes
    -----
    Threads: safe.
    """

    def __init__(self, place: str, array: Any) -> None:
        self._place = place
        self._array = array
        # A zip is checked as a whole, and a shard has an index with a checksum.
        self._folder = (
            Path(array.store.root) / array.path
            if isinstance(array.store, zarr.storage.LocalStore) and _ends_with_blosc(array)
            else None
        )

    def check(self, start: int, stop: int) -> None:
        """Raise CorruptionError unless all chunks of the samples ``[start, stop)`` are whole."""
        if self._folder is None:
            return
        shape, lengths = self._array.shape, self._array.chunks
        rows = range(start // lengths[0], -(-stop // lengths[0]))
        others = [range(-(-n // c)) for n, c in zip(shape[1:], lengths[1:], strict=True)]
        for places in itertools.product(rows, *others):
            key = self._array.metadata.encode_chunk_key(places)
            try:
                file = ReadFile(str(self._folder / key))
            except MissingFileError:
                continue
            with closing(file):
                header, nbytes = file.read(HEADER_NBYTES, 0), file.size()
            said = (
                struct.unpack_from("<I", header, _FRAME_NBYTES_OFFSET)[0]
                if len(header) == HEADER_NBYTES
                else HEADER_NBYTES
            )
            if said != nbytes:
                first = places[0] * lengths[0]
                last = min(first + lengths[0], shape[0])
                raise CorruptionError(
                    f"{self._place}: samples [{first}, {last}): the chunk {key!r} is damaged: its "
                    f"blosc frame says it has {said} bytes, {nbytes} are there"
                )


class CheckedColumn(ForeignColumn):
    """An array of zarr-python whose chunks are looked at first.

    Parameters
    ----------
    place, array, attributes
        See `ForeignColumn`.
    frames
        Of the same array.
    """

    def __init__(
        self,
        place: str,
        array: Any,
        frames: FrameCheck,
        *,
        attributes: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(place, array, attributes=attributes)
        self._frames = frames

    def read_into(self, start: int, stop: int, out: NDArray[Any]) -> None:
        """Look at the chunks, then read."""
        self._frames.check(start, stop)
        super().read_into(start, stop, out)


def _ends_with_blosc(array: Any) -> bool:
    """Return whether what is stored of a chunk is a Blosc frame."""
    about = array.metadata.to_dict()
    if about["zarr_format"] == 2:
        steps = [
            *(about.get("filters") or ()),
            *([about["compressor"]] * bool(about["compressor"])),
        ]
        return bool(steps) and _id_of(steps[-1]) == "blosc"
    return bool(about["codecs"]) and _id_of(about["codecs"][-1]) == "blosc"


def _id_of(codec: Any) -> Any:
    if not isinstance(codec, dict):
        codec = codec.get_config() if hasattr(codec, "get_config") else codec.to_dict()
    return codec.get("id", codec.get("name"))
