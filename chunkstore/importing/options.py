"""What can a person say about a file that is made of another one, or imported?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from chunkstore import system
from chunkstore.store.spec import storage_options

if TYPE_CHECKING:
    from collections.abc import Mapping

OnError = Literal["fail", "skip"]

_MAX_THREADS: Final = 32


@dataclass(frozen=True, kw_only=True)
class NewFileOptions:
    """What is the same for all that make a file of what is there already; checks itself.

    Attributes
    ----------
    codec, level, typesize
        Of the new file, see `chunkstore.create`.
    chunk_length, chunk_nbytes
        Samples in a chunk of the widest array, or decoded bytes that it aims at.
    threads
        That read and decode; by default the processors of this process.
    verify
        Read the new file before it gets its name, and compare.
    resume
        Go on with an unfinished file of the same source and options; with others it is an error.
        False begins anew.
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
    typesize: int | None = None
    chunk_length: int | None = None
    chunk_nbytes: int | None = None
    threads: int | None = None
    verify: bool = True
    resume: bool = True
    overwrite: bool = False
    progress: bool | None = None

    def __post_init__(self) -> None:
        storage_options(self.codec, self.level, None, self.chunk_nbytes, self.typesize)
        if self.chunk_length is not None and self.chunk_length < 1:
            raise ValueError(f"chunk_length must be at least 1, got {self.chunk_length}")
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"threads must be at least 1, got {self.threads}")

    @property
    def num_threads(self) -> int:
        """Threads that read and decode."""
        return self.threads or min(system.calls.available_cores(), _MAX_THREADS)


@dataclass(frozen=True, kw_only=True)
class ImportOptions(NewFileOptions):
    """What is the same for importers of all formats.

    Where neither length nor bytes of a chunk are given, chunks of very many arrays are smaller, so
    that one of each takes at most 64 MiB.

    Attributes
    ----------
    attributes
        Further attributes of the new file, JSON values.
    on_error
        ``"fail"`` ends the import at a sample that cannot be read, ``"skip"`` leaves it out and
        lists it.

    See Also
    --------
    NewFileOptions
        The others.
    """

    attributes: Mapping[str, Any] = field(default_factory=dict)
    on_error: OnError = "fail"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.on_error not in get_args(OnError):
            raise ValueError(f"on_error must be 'fail' or 'skip', got {self.on_error!r}")
