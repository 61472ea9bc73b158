"""How do sizes, tables and descriptions look on a terminal?"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import chunkstore as cs


def describe_store(store: cs.Store) -> dict[str, Any]:
    """Return what `info` prints, as JSON values."""
    arrays = [
        {
            "name": name,
            "shape": list(array.shape),
            "dtype": str(array.dtype),
            "chunk_shape": list(array.chunk_shape),
            "num_chunks": array.num_chunks,
            "codec": array.codec,
            "nbytes": array.nbytes,
            "encoded_nbytes": array.encoded_nbytes,
            "ratio": array.nbytes / array.encoded_nbytes if array.encoded_nbytes else None,
            "dimension_names": array.dimension_names and list(array.dimension_names),
            "attributes": dict(array.attributes),
        }
        for name, array in store.items()
    ]
    return {
        "path": str(store.path),
        "format_version": store.format_version,
        "num_samples": store.num_samples,
        "file_nbytes": store.file_nbytes,
        "dead_nbytes": store.dead_nbytes,
        "nbytes": sum(array.nbytes for array in store.values()),
        "attributes": dict(store.attributes),
        "arrays": arrays,
    }


def print_json(value: dict[str, Any]) -> None:
    """Print what ``--json`` asks for."""
    click.echo(json.dumps(value, indent=2))


def format_nbytes(nbytes: int) -> str:
    """Return a size for people.

    Examples
    --------
    >>> format_nbytes(999), format_nbytes(1536), format_nbytes(5 << 30)
    ('999 B', '1.5 KiB', '5.0 GiB')
    """
    if nbytes < 1024:
        return f"{nbytes} B"
    size = float(nbytes)
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        size /= 1024
        if size < 1024:
            return f"{size:.1f} {unit}"
    return f"{size / 1024:.1f} PiB"


def format_shape(shape: Sequence[int]) -> str:
    """Return a shape for people."""
    return "x".join(str(length) for length in shape) or "scalar"


def format_table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table, each column as wide as its widest cell.

    Examples
    --------
    >>> format_table(("array", "chunks"), [("x", "12"), ("labels", "1")])
    ['array   chunks', 'x       12', 'labels  1']
    """
    table = [tuple(heading), *(tuple(row) for row in rows)]
    widths = [max(len(cell) for cell in column) for column in zip(*table, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]
