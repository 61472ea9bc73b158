"""How do sizes, tables and descriptions look on a terminal?"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import chunkstore as cs

_RESULT: Final = "chunkstore.cli.result"


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


def print_json(result: Mapping[str, Any]) -> None:
    """Keep what ``--json`` prints as the command ends, when its exit code is known.

    Parameters
    ----------
    result
        The command's own part of the document: JSON values, NaN and infinities among them.
    """
    click.get_current_context().meta[_RESULT] = dict(result)


def taken_result() -> dict[str, Any]:
    """Return what was kept by `print_json`; nothing where the command did not come so far."""
    result: dict[str, Any] = click.get_current_context().meta.pop(_RESULT, {})
    return result


def print_document(
    head: Mapping[str, Any],
    result: Mapping[str, Any],
    *,
    warnings: Sequence[str],
    error: Mapping[str, Any] | None,
) -> None:
    """Print the one document that ``--json`` gives.

    Parameters
    ----------
    head
        ``command``, ``ok`` and ``exit_code``.
    result
        What the command itself says.
    warnings
        As they stood on stderr.
    error
        What ended the command, or None.

    Raises
    ------
    TypeError
        A result with one of the names that every document has, or of another type.
    """
    tail = {"warnings": list(warnings), "error": None if error is None else dict(error)}
    reserved = {"command", "exit_code", *tail}
    if taken := sorted(reserved & set(result)):
        raise TypeError(f"a result may not have the names of all documents: {', '.join(taken)}")
    # A result's own "ok" says the same: the exit code is 0.
    document = {**head, **{k: v for k, v in result.items() if k != "ok"}, **tail}
    click.echo(json.dumps(_finite(document), indent=2, allow_nan=False))


def _finite(value: Any) -> Any:
    """Return JSON values with NaN and infinities as zarr writes them: JSON has no such numbers."""
    if isinstance(value, dict):
        return {str(name): _finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


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
