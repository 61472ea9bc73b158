"""What is a source file, as far as an import that goes on must know?"""

from __future__ import annotations

import os
import re
import stat
from contextlib import closing
from typing import TYPE_CHECKING, Final

from chunkstore.container.checksum import crc32
from chunkstore.errors import ChunkStoreError, FormatError, SystemCallError, system_call_error
from chunkstore.store.samples import check_array_name
from chunkstore.system import ReadFile

if TYPE_CHECKING:
    from collections.abc import Sequence

Place = str | os.PathLike[str]
_MOST_SHOWN: Final = 20
_DEFAULT_NAME: Final = "x"
_DIGITS: Final = re.compile(r"(\d+)")
# Of a file that are read to know it again; more of one that takes long to read anyway.
_SPOT_NBYTES: Final = 4096
_LARGE_NBYTES: Final = 64 << 20
_MANY_SPOTS: Final = 16


class PlainFile:
    """A file that is open only while it is read, so that there may be very many.

    Notes
    -----
    Threads: safe.
    """

    def __init__(self, path: str) -> None:
        self.path = path

    def size(self) -> int:
        """Return the file's present size in bytes."""
        with closing(ReadFile(self.path)) as file:
            return file.size()

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Fill ``buffer`` from ``offset`` on and return the bytes read: fewer at the end."""
        with closing(ReadFile(self.path)) as file:
            return file.read_into(buffer, offset)

    def read(self, nbytes: int, offset: int) -> bytes:
        """Return up to ``nbytes`` bytes from ``offset`` on: fewer at the end of the file."""
        with closing(ReadFile(self.path)) as file:
            return file.read(nbytes, offset)


def file_identity(path: str | os.PathLike[str]) -> str:
    """Return what tells a file from others: its name, its size, and a checksum of parts of it.

    A copy has the same, so the same input gives the same file. Of a large file only its beginning,
    its end and some places between are read: another one that is equal in these is not noticed.

    Raises
    ------
    SystemCallError
        It is not there.
    """
    place = os.fspath(path)
    try:
        status = os.stat(place)
    except OSError as error:
        raise missing(error, path) from None
    name, size = os.path.basename(place), status.st_size
    if not stat.S_ISREG(status.st_mode):
        # Reading a pipe takes what is in it.
        return name
    last = max(0, size - _SPOT_NBYTES)
    num_spots = _MANY_SPOTS if size >= _LARGE_NBYTES else 2
    digest = 0
    with closing(ReadFile(place)) as file:
        for offset in sorted({last * i // (num_spots - 1) for i in range(num_spots)}):
            digest = crc32(file.read(_SPOT_NBYTES, offset), digest)
    return f"{name} {size} {digest:08x}"


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


def listed_files(
    source: Place | Sequence[Place], endings: tuple[str, ...]
) -> tuple[list[str], str]:
    """Return the files that are meant, and what to call them together.

    Parameters
    ----------
    source
        A file, a folder, or several of these. Of a folder, the files directly in it that are not
        hidden, in the order of their names, numbers in which count as numbers.
    endings
        Of the files that are wanted of a folder, in small letters.

    Raises
    ------
    FormatError
        A folder holds no such file.
    """
    if not isinstance(source, str | os.PathLike):
        if not source:
            raise ValueError("an import needs at least one file, got none")
        paths = [path for place in source for path in listed_files(place, endings)[0]]
        name = os.fspath(source[0])
        return paths, name if len(source) == 1 else f"{name} and {len(source) - 1} more"
    place = os.fspath(source)
    if not os.path.isdir(place):
        return [place], place
    names = [name for name in os.listdir(place) if name.lower().endswith(endings)]
    names = sorted((name for name in names if not name.startswith(".")), key=_by_number)
    if not names:
        raise FormatError(f"there is no file in the folder that ends in {endings}", place)
    return [os.path.join(place, name) for name in names], place


def _by_number(name: str) -> tuple[list[tuple[int, str]], str]:
    """Return what to sort by: 2 before 10."""
    parts = _DIGITS.split(name)
    is_number = [part.isdigit() and part.isascii() for part in parts]
    return [
        (int(part), "") if number else (-1, part)
        for part, number in zip(parts, is_number, strict=True)
    ], name


def default_name(place: str) -> str:
    """Return what the only array of a file or folder is called.

    Examples
    --------
    >>> default_name("/data/trn_features.npy"), default_name("größe.npy"), default_name("parts/")
    ('trn_features', 'x', 'parts')
    """
    name = os.path.basename(os.path.abspath(place))
    name = os.path.splitext(name)[0] if not os.path.isdir(place) else name
    try:
        check_array_name(name)
    except ValueError:
        return _DEFAULT_NAME
    return _DEFAULT_NAME if name.startswith(".") else name
