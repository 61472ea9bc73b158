"""What is a source file, as far as an import that goes on must know?"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from chunkstore.errors import ChunkStoreError, SystemCallError, system_call_error

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOST_SHOWN = 20


def file_identity(path: str | os.PathLike[str]) -> str:
    """Return size and time of change of a file.

    Raises
    ------
    SystemCallError
        It is not there.
    """
    try:
        status = os.stat(path)
    except OSError as error:
        raise missing(error, path) from None
    return f"{os.path.basename(path)} {status.st_size} {status.st_mtime_ns}"


def missing(error: OSError, path: str | os.PathLike[str]) -> SystemCallError:
    """Return what the system said about a file as an error of ours."""
    return system_call_error(error, "the file cannot be read", os.fspath(path))


def raise_together(errors: Sequence[ChunkStoreError], name: str) -> None:
    """Raise one error that lists all, if there are any; of the kind of the first.

    Parameters
    ----------
    errors
        With their places.
    name
        Of what they are in.
    """
    if not errors:
        return
    if len(errors) == 1:
        raise errors[0]
    shown = [str(error) for error in errors[:_MOST_SHOWN]]
    if len(errors) > _MOST_SHOWN:
        shown.append(f"and {len(errors) - _MOST_SHOWN} more")
    kind = type(errors[0])
    if issubclass(kind, SystemCallError):
        kind = ChunkStoreError
    raise kind(f"{len(errors)} files cannot be imported:\n  " + "\n  ".join(shown), name)
