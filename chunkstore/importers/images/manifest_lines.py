"""What do the lines of a CSV or TSV file say, and which of them say nothing?

One line is one sample, so that an error can name it; a quoted cell does not go on in the next line.
"""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from chunkstore.errors import CorruptionError, FormatError, system_call_error

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator

_GZIP: Final = b"\x1f\x8b"
_UTF8_MARK: Final = b"\xef\xbb\xbf"
_UTF16_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")
_MAX_LINE_NBYTES: Final = 1 << 20
_MAX_SHOWN: Final = 60
COMMENT: Final = "#"


@dataclass
class Lines:
    """The lines of a manifest, as far as they are rows.

    Attributes
    ----------
    delimiter
        Between cells.
    numbers
        Of the lines, from 1.
    cells
        Of each row, all of the same length; empty for a line that is wrong.
    wrong
        What is wrong with a line, by row.
    """

    delimiter: str
    numbers: list[int] = field(default_factory=list)
    cells: list[list[str]] = field(default_factory=list)
    wrong: dict[int, str] = field(default_factory=dict)


def read_lines(path: str | os.PathLike[str], *, delimiter: str | None = None) -> Lines:
    r"""Read a manifest, also one that gzip compressed.

    Blank lines and those that begin with ``#`` are no rows. Cells are stripped, unless quoted.

    Parameters
    ----------
    path
        The file, in UTF-8.
    delimiter
        One character. By default what the first row holds outside of quotes: a tab, else a comma,
        else a semicolon.

    Raises
    ------
    FormatError
        The file holds no row, or is in UTF-16.
    CorruptionError
        It ends inside of what gzip compressed, or is damaged there.
    SystemCallError
        It cannot be read.
    """
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n' + COMMENT):
        raise ValueError(f"delimiter must be one character, no quote and no #, got {delimiter!r}")
    lines: Lines | None = None
    for number, content in enumerate(_raw_lines(path), 1):
        text, reason = _decoded(content)
        if not reason and (not text.strip() or text.lstrip().startswith(COMMENT)):
            continue
        if lines is None:
            lines = Lines(delimiter or _found_delimiter(text))
        row = len(lines.cells)
        cells: list[str] = []
        if not reason:
            try:
                cells = split_line(text, lines.delimiter)
            except ValueError as error:
                reason = str(error)
        width = next((len(other) for other in lines.cells if other), len(cells))
        if not reason and len(cells) != width:
            reason = f"{len(cells)} cells, and {width} in the first row"
            cells = []
        lines.numbers.append(number)
        lines.cells.append(cells)
        if reason:
            lines.wrong[row] = reason
    if lines is None:
        raise FormatError("the manifest holds no row", str(path))
    return lines


def split_line(text: str, delimiter: str) -> list[str]:
    """Return the cells of a line.

    Raises
    ------
    ValueError
        A quote that is not closed, or stands where none may.

    Examples
    --------
    >>> split_line('cat/1.jpg, "a, ""b"" " ,3', ",")
    ['cat/1.jpg', 'a, "b" ', '3']
    """
    cells = []
    start = 0
    while True:
        begin = start
        while begin < len(text) and text[begin] in " \t" and text[begin] != delimiter:
            begin += 1
        if text[begin : begin + 1] == '"':
            cell, stop = _quoted(text, begin)
            rest = text.find(delimiter, stop)
            stop_of_cell = len(text) if rest < 0 else rest
            if behind := text[stop:stop_of_cell].strip():
                raise ValueError(f"{behind[:_MAX_SHOWN]!r} behind a closing quote")
        else:
            rest = text.find(delimiter, start)
            stop_of_cell = len(text) if rest < 0 else rest
            cell = text[start:stop_of_cell].strip()
            if '"' in cell:
                raise ValueError(
                    f"a quote inside of the cell {cell[:_MAX_SHOWN]!r}; quote the whole cell and "
                    "write the quote twice"
                )
        cells.append(cell)
        if rest < 0:
            return cells
        start = rest + 1


def join_line(cells: Iterable[str], delimiter: str = ",") -> str:
    r"""Return a line that `split_line` takes apart again.

    Raises
    ------
    ValueError
        A cell holds a line break.

    Examples
    --------
    >>> join_line(["a,b.jpg", "3", "#"])
    '"a,b.jpg",3,"#"'
    """
    parts = []
    for cell in cells:
        if any(mark in cell for mark in "\r\n\0"):
            raise ValueError(f"a manifest cannot hold {cell!r}: it has a line break or a NUL")
        is_plain = cell and cell == cell.strip() and not any(c in cell for c in f'"{delimiter}#')
        parts.append(cell if is_plain else '"' + cell.replace('"', '""') + '"')
    return delimiter.join(parts)


def _quoted(text: str, begin: int) -> tuple[str, int]:
    """Return what a quote at a place encloses, and where it ends."""
    parts = []
    place = begin + 1
    while True:
        stop = text.find('"', place)
        if stop < 0:
            raise ValueError(f"the quote of {text[begin : begin + _MAX_SHOWN]!r} is not closed")
        parts.append(text[place:stop])
        if text[stop + 1 : stop + 2] != '"':
            return '"'.join(parts), stop + 1
        place = stop + 2


def _found_delimiter(text: str) -> str:
    outside = "".join(text.split('"')[::2])
    return next((mark for mark in "\t,;" if mark in outside), ",")


def _decoded(content: bytes) -> tuple[str, str]:
    """Return the text of a line, and what is wrong with it."""
    if len(content) > _MAX_LINE_NBYTES:
        return "", f"the line is longer than {_MAX_LINE_NBYTES} bytes"
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        return "", f"byte 0x{content[error.start]:02x} at column {error.start + 1} is not UTF-8"
    text = text.rstrip("\r\n")
    if "\0" in text:
        return "", "the line holds a NUL"
    if "\r" in text:
        return "", "the line holds a carriage return: lines end with a line feed"
    return text, ""


def _raw_lines(path: str | os.PathLike[str]) -> Iterator[bytes]:
    try:
        with open(path, "rb") as file:
            is_gzip = file.read(2) == _GZIP
        with gzip.open(path, "rb") if is_gzip else open(path, "rb") as file:
            is_first = True
            while content := file.readline(_MAX_LINE_NBYTES + 1):
                if is_first and content.startswith(_UTF16_MARKS):
                    raise FormatError("the manifest is in UTF-16; save it as UTF-8", str(path))
                yield content.removeprefix(_UTF8_MARK) if is_first else content
                is_first = False
                while len(content) > _MAX_LINE_NBYTES and content[-1:] != b"\n":
                    # The rest of a line that is too long already.
                    rest = file.readline(_MAX_LINE_NBYTES + 1)
                    if rest.endswith(b"\n") or not rest:
                        break
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise CorruptionError(
            f"the manifest is compressed by gzip and damaged: {error}", str(path)
        ) from error
    except OSError as error:
        raise system_call_error(error, "the manifest cannot be read", str(path)) from error
