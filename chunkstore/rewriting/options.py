"""What can a person say about a file that is written anew?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from chunkstore.importing.options import NewFileOptions
from chunkstore.store.spec import check_shuffle, storage_options


@dataclass(frozen=True, kw_only=True)
class RewriteOptions(NewFileOptions):
    """What is the same for all that write a file anew; checks itself.

    What is None stays as it is in the source; where a codec is given, level, shuffle and typesize
    are the defaults. At most one of ``chunk_length`` and ``chunk_nbytes`` is given.

    Attributes
    ----------
    shuffle
        See `chunkstore.create`.

    See Also
    --------
    chunkstore.importing.options.NewFileOptions
        The others.
    """

    shuffle: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.chunk_length is not None and self.chunk_nbytes is not None:
            raise ValueError(
                f"chunk_length={self.chunk_length} and chunk_nbytes={self.chunk_nbytes} both say "
                "how long a chunk is; give one of them"
            )
        if self.shuffle is not None:
            check_shuffle(self.shuffle)

    @property
    def keeps_chunks(self) -> bool:
        """Whether the chunks of a file of ours stay as long as they are."""
        return self.chunk_length is None and self.chunk_nbytes is None

    def storage(self) -> dict[str, Any]:
        """Return how the new file is stored, JSON values; None stands for what stays."""
        default = storage_options(None, None, None, self.chunk_nbytes)
        return {
            "codec": self.codec,
            "level": self.level,
            "shuffle": self.shuffle,
            "typesize": self.typesize,
            "chunk_length": self.chunk_length,
            "chunk_nbytes": self.chunk_nbytes,
            # Of arrays whose own codecs or chunks cannot be kept.
            "default": [default.codec, default.level, default.shuffle, default.chunk_nbytes],
        }
