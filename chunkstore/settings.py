"""Which values does an argument take that the caller left out?

The defaults live in a context variable: a ``with cs.defaults(...)`` block changes them for the
code inside it, in its own thread or task only, and they return on leaving it, also by an exception.
"""

from __future__ import annotations

import contextlib
import contextvars
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

KIB = 1 << 10
MIB = 1 << 20

DEFAULT_CODEC = "zstd"
DEFAULT_LEVEL = 1
DEFAULT_SHUFFLE = "auto"
DEFAULT_CHUNK_NBYTES = MIB
# A chunk of a narrow array (labels) is at least this large, so that its entry is not mostly header.
LEAST_CHUNK_NBYTES = 16 * KIB
# In a folder that was exported: its format and its files, as JSON.
EXPORT_MARKER = ".chunkstore-export.json"
# np.asarray(array) above this raises and names the Loader.
DEFAULT_ASARRAY_NBYTES = 256 * MIB


@dataclass(frozen=True)
class Settings:
    """Defaults of the arguments that writing takes.

    Attributes
    ----------
    codec
        Name of the codec: ``"blosclz"``, ``"lz4"``, ``"lz4hc"``, ``"zlib"``, ``"zstd"`` (inside
        Blosc), ``"gzip"`` or ``"raw"``.
    level
        Compression level, 0 to 9.
    shuffle
        ``"none"``, ``"byte"``, ``"bit"``, or ``"auto"``: the three are tried on the first chunk
        of each array and the smallest wins.
    chunk_nbytes
        Decoded bytes a chunk of the widest array aims at.
    asarray_nbytes
        Largest array that ``np.asarray`` reads whole.
    """

    codec: str = DEFAULT_CODEC
    level: int = DEFAULT_LEVEL
    shuffle: str = DEFAULT_SHUFFLE
    chunk_nbytes: int = DEFAULT_CHUNK_NBYTES
    asarray_nbytes: int = DEFAULT_ASARRAY_NBYTES


_BUILT_IN = Settings()
_current: contextvars.ContextVar[Settings] = contextvars.ContextVar(
    "chunkstore_settings", default=_BUILT_IN
)


def current() -> Settings:
    """Return the settings in force in this thread or task."""
    return _current.get()


@contextlib.contextmanager
def defaults(**changes: Any) -> Iterator[Settings]:
    """Change the defaults of writing inside a ``with`` block.

    Parameters
    ----------
    **changes
        Any of ``codec``, ``level``, ``shuffle``, ``chunk_nbytes``, ``asarray_nbytes``; see
        `Settings`. What is not named keeps its value, so blocks nest.

    Raises
    ------
    TypeError
        A name that is no setting.

    Notes
    -----
    Threads: the change is seen by this thread or task only, and undone also after an exception.
    Values are checked where they are used, with the sentence that a direct argument gets.

    Examples
    --------
    >>> import chunkstore as cs
    >>> with cs.defaults(codec="lz4", level=5) as settings:
    ...     settings.codec
    'lz4'
    """
    allowed = [field.name for field in fields(Settings)]
    unknown = sorted(set(changes) - set(allowed))
    if unknown:
        raise TypeError(f"no such setting: {', '.join(unknown)}; there are {', '.join(allowed)}")
    settings = replace(current(), **changes)
    token = _current.set(settings)
    try:
        yield settings
    finally:
        _current.reset(token)
