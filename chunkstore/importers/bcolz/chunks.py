"""Which samples are in a chunk of a carray, and how many bytes may its frame hold?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from chunkstore.errors import CorruptionError
from chunkstore.format.blosc import MAX_TYPESIZE
from chunkstore.importers.bcolz.frame import MAX_FRAME_CONTENT_NBYTES

if TYPE_CHECKING:
    import numpy as np

    from chunkstore.importers.bcolz.metadata import CarrayMetadata
    from chunkstore.importers.bcolz.nodes import CarrayNode

# A pickle of more is no element of a training set.
MAX_ELEMENT_NBYTES: Final = 256 << 20


def chunk_key(node: CarrayNode, chunk_index: int) -> str:
    """Return the path of a chunk's file."""
    return f"{node.data}/__{chunk_index}.blp"


def chunk_samples(
    metadata: CarrayMetadata, chunk_index: int, stop: int | None = None
) -> tuple[int, int]:
    """Return the samples of a chunk, or of the chunks up to ``stop``, half-open."""
    length = 1 if metadata.is_objects else metadata.full_length
    last = (chunk_index + 1 if stop is None else stop) * length
    return chunk_index * length, min(last, metadata.num_samples)


def samples_text(metadata: CarrayMetadata, chunk_index: int) -> str:
    """Return the samples of a chunk as the end of an error's message."""
    start, stop = chunk_samples(metadata, chunk_index)
    return f"; sample {start}" if metadata.is_objects else f"; samples [{start}, {stop})"


def content_bounds(metadata: CarrayMetadata, chunk_index: int) -> tuple[int, int]:
    """Return the least and the most bytes that a chunk's frame may hold.

    They are the same, except that the last chunk may be longer than the samples that are left:
    an append that was not flushed has made it so.
    """
    if metadata.is_objects:
        return 1, MAX_ELEMENT_NBYTES
    start, stop = chunk_samples(metadata, chunk_index)
    most = min(metadata.full_nbytes, MAX_FRAME_CONTENT_NBYTES)
    return (stop - start) * metadata.sample_nbytes, most


def frame_typesize(dtype: np.dtype[Any]) -> int:
    """Return the size of an element that bcolz tells Blosc."""
    if dtype.kind == "U":
        return 4
    if dtype.kind in "SO" or dtype.itemsize > MAX_TYPESIZE:
        return 1
    return dtype.itemsize


def check_content(metadata: CarrayMetadata, chunk_index: int, nbytes: int) -> None:
    """Raise CorruptionError unless a frame may hold so many bytes in this chunk's place."""
    least, most = content_bounds(metadata, chunk_index)
    if least <= nbytes <= most and (metadata.is_objects or nbytes % metadata.sample_nbytes == 0):
        return
    wanted = f"{least}" if least == most else f"{least} to {most}"
    samples = "" if metadata.is_objects else f", in whole samples of {metadata.sample_nbytes}"
    raise CorruptionError(
        f"the frame holds {nbytes} bytes, this chunk has {wanted}{samples}: meta/sizes, "
        "meta/storage and the chunk do not belong together, or the chunk is another one's"
    )
