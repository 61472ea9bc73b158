"""What is said where HDF5 cannot read what describes the data?

h5py raises RuntimeError, OSError or KeyError then, which name neither file nor dataset.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from chunkstore.errors import ChunkStoreError, CorruptionError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def reading_metadata(what: str, *, keys: bool = False) -> Iterator[None]:
    """Turn what h5py raises in a ``with`` block into an error that names what was read.

    Parameters
    ----------
    what
        With the file, such as ``"a.h5: dataset '/x'"``.
    keys
        Whether a KeyError is h5py's, of an object that is there and cannot be opened.

    Raises
    ------
    CorruptionError
        HDF5 could not read it.
    """
    try:
        yield
    except ChunkStoreError:
        raise
    except (RuntimeError, OSError, KeyError) as error:
        is_system = isinstance(error, OSError) and bool(error.errno)
        is_other = isinstance(error, RecursionError | NotImplementedError)
        if is_system or is_other or (isinstance(error, KeyError) and not keys):
            raise
        raise CorruptionError(
            f"{what}: HDF5 cannot read what describes it, so the file is damaged: {error.args[0]}"
        ) from error
