"""What can a person say about a file that is written anew?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from chunkstore import system
from chunkstore.store.spec import storage_options

_MAX_THREADS: Final = 32


@dataclass(frozen=True, kw_only=True)
class RewriteOptions:
    """What is the same for all that write a file anew; checks itself.

    Attributes
    ----------
    codec, level, shuffle, typesize
        Of the new file, see `chunkstore.create`. What is None stays as it is in the source; where
        a codec is given, the others are the defaults.
    chunk_length, chunk_nbytes
        Samples in a chunk of the widest array, or decoded bytes that it aims at; at most one of
        them. Where both are None, the chunks of a file of ours stay as they are.
    threads
        That read and decode; by default the processors of this process.
    verify
        Read the new file before it gets its name, and compare.
    resume
        Go on with an unfinished file of the same source and options. False begins anew.
    overwrite
        Replace an existing file once the new one is complete.
    progress
        Show a bar on stderr; None shows it on a terminal when the work takes over a second.

    Raises
    ------
    ValueError
        A value that is not allowed.
    """

    codec: str | None = None
    level: int | None = None
    shuffle: str | None = None
    typesize: int | None = None
    chunk_length: int | None = None
    chunk_nbytes: int | None = None
    threads: int | None = None
    verify: bool = True
    resume: bool = True
    overwrite: bool = False
    progress: bool | None = None

    def __post_init__(self) -> None:
        storage_options(self.codec, self.level, self.shuffle, self.chunk_nbytes, self.typesize)
        if self.chunk_length is not None and self.chunk_nbytes is not None:
            raise ValueError(
                f"chunk_length={self.chunk_length} and chunk_nbytes={self.chunk_nbytes} both say "
                "how long a chunk is; give one of them"
            )
        if self.chunk_length is not None and self.chunk_length < 1:
            raise ValueError(f"chunk_length must be at least 1, got {self.chunk_length}")
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"threads must be at least 1, got {self.threads}")

    @property
    def num_threads(self) -> int:
        """Threads that read and decode."""
        return self.threads or min(system.calls.available_cores(), _MAX_THREADS)

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
