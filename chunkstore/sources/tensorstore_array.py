"""How is an array of TensorStore read as it is?"""

from __future__ import annotations

from typing import Any

from chunkstore.sources.sliced import SlicedSource


class TensorStoreSource(SlicedSource):
    """A TensorStore as a `ChunkSource`; see `SlicedSource`. Its domain must begin at 0."""

    def __init__(self, name: str, array: Any) -> None:
        if array.rank and array.domain.origin[0] != 0:
            raise ValueError(
                f"array {name!r}: its sample axis begins at {array.domain.origin[0]}; "
                "translate_to[0] makes it begin at 0"
            )
        super().__init__(name, array)

    def own_length(self) -> int | None:
        """Return the samples of what TensorStore reads at a time; None if it does not tell."""
        shape = self.array.chunk_layout.read_chunk.shape
        return None if shape is None or not shape[0] else int(shape[0])

    def raw_dtype(self) -> Any:
        """Return the type of the elements as NumPy calls it."""
        return self.array.dtype.numpy_dtype

    def identity(self) -> str:
        """Return the last part of where it is kept."""
        kvstore = self.array.kvstore
        return "" if kvstore is None else str(kvstore.path).rstrip("/").rpartition("/")[2]
