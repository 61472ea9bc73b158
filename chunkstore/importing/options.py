"""What can a person say about an import, whatever the format?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from chunkstore import system

if TYPE_CHECKING:
    from collections.abc import Mapping

OnError = Literal["fail", "skip"]

_MAX_THREADS: Final = 32


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """What is the same for importers of all formats.

    Attributes
    ----------
    codec, level, chunk_nbytes, chunk_length
        Of the new file, see `chunkstore.create`; ``chunk_length`` is that of its widest array.
        Where neither of the last two is given, chunks of very many arrays are smaller, so that
        one of each takes at most 64 MiB.
    attributes
        Further attributes of the new file, JSON values.
    on_error
        ``"fail"`` ends the import at a sample that cannot be read, ``"skip"`` leaves it out and
        lists it.
    threads
        That read; by default the processors of this process.
    verify
        Read the new file before it gets its name, and compare.
    resume
        Go on with an import of the same source and options that was killed; with others it is an
        error. False begins anew.
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
    chunk_nbytes: int | None = None
    chunk_length: int | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    on_error: OnError = "fail"
    threads: int | None = None
    verify: bool = True
    resume: bool = True
    overwrite: bool = False
    progress: bool | None = None

    def __post_init__(self) -> None:
        if self.on_error not in get_args(OnError):
            raise ValueError(f"on_error must be 'fail' or 'skip', got {self.on_error!r}")
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"threads must be at least 1, got {self.threads}")
        if self.chunk_length is not None and self.chunk_length < 1:
            raise ValueError(f"chunk_length must be at least 1, got {self.chunk_length}")

    @property
    def num_threads(self) -> int:
        """Threads that read."""
        return self.threads or min(system.calls.available_cores(), _MAX_THREADS)
