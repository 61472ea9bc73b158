"""What does a notebook show of an open file and of one array?

A display must neither fail nor take long: it reads a few chunks at most, and where that is not
possible, says why.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final

import numpy as np

from chunkstore.viewing.compression import chunk_compression
from chunkstore.viewing.elements import array_title
from chunkstore.viewing.images import image_layout
from chunkstore.viewing.pictures import draw_pictures
from chunkstore.viewing.sampling import READ_ERRORS, Remarks, choose_samples, chunk_nbytes
from chunkstore.viewing.text import (
    escaped,
    format_nbytes,
    format_ratio,
    format_shape,
    isolated,
    plural,
)

if TYPE_CHECKING:
    from chunkstore.store.array import Array
    from chunkstore.store.store import Store

_MOST_CHUNKS: Final = 3
_MOST_PICTURES: Final = 6
_SIDE: Final = 64
# Chunks that are larger are not decoded for a picture.
_LARGEST_CHUNK_NBYTES: Final = 32 << 20
_MOST_ARRAYS: Final = 40
_MOST_CELLS: Final = 48
_CELL: Final = 7
# A notebook has a style of its own, by day and by night: colours are those of its text.
_TABLE: Final = 'style="border-collapse:collapse;text-align:left"'
_CELLS: Final = 'style="text-align:left;padding:2px 12px 2px 0"'
_QUIET: Final = 'style="opacity:.75;font-size:85%"'


def store_html(store: Store) -> str:
    """Return what a notebook shows of a store."""
    rows = []
    for array in list(store.values())[:_MOST_ARRAYS]:
        cells = (
            format_shape(array.shape),
            escaped(array.dtype),
            f"{array.num_chunks:,}",
            escaped(array.codec),
            format_nbytes(array.encoded_nbytes),
            format_ratio(array.nbytes / array.encoded_nbytes if array.encoded_nbytes else None),
            chunk_strip(array),
        )
        rows.append(
            f'<tr><th scope="row" {_CELLS}>{array_title(array)}</th>'
            + "".join(f"<td {_CELLS}>{cell}</td>" for cell in cells)
            + "</tr>"
        )
    heading = ("Array", "Shape", "Type", "Chunks", "Codec", "Stored", "Ratio", "Bytes of chunks")
    head = "".join(f'<th scope="col" {_CELLS}>{cell}</th>' for cell in heading)
    more = len(store) - len(rows)
    table = (
        f"<table {_TABLE}><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
        if rows
        else "<p>There is no array in this file.</p>"
    )
    first = next((array for array in store.values() if image_layout(array) is not None), None)
    return (
        f"<div><strong>chunkstore file</strong> {isolated(store.path, 300)}"
        f"<div {_QUIET}>{plural(store.num_samples, 'sample')}, "
        f"{format_nbytes(store.file_nbytes)} on disk, {format_nbytes(store.nbytes)} decoded</div>"
        f"{table}"
        + (f"<div {_QUIET}>{plural(more, 'array')} more</div>" if more else "")
        + (thumbnails(first) if first is not None else "")
        + "</div>"
    )


def array_html(array: Array) -> str:
    """Return what a notebook shows of an array."""
    ratio = array.nbytes / array.encoded_nbytes if array.encoded_nbytes else None
    entries = (
        ("Shape", format_shape(array.shape)),
        ("Type", escaped(array.dtype)),
        ("Chunks", f"{array.num_chunks:,} of shape {format_shape(array.chunk_shape)}"),
        ("Codec", escaped(array.codec)),
        (
            "Size",
            ", ".join(
                (
                    f"{format_nbytes(array.nbytes)} decoded",
                    f"{format_nbytes(array.encoded_nbytes)} stored",
                    f"ratio {format_ratio(ratio)}",
                )
            ),
        ),
        ("Bytes of chunks", chunk_strip(array)),
    )
    rows = "".join(
        f'<tr><th scope="row" {_CELLS}>{name}</th><td {_CELLS}>{value}</td></tr>'
        for name, value in entries
    )
    return (
        f"<div><strong>chunkstore array</strong> {array_title(array)}"
        f"<table {_TABLE}><tbody>{rows}</tbody></table>{thumbnails(array)}</div>"
    )


def chunk_strip(array: Array) -> str:
    """Return the chunks of an array from first to last, the darker the more bytes they take."""
    found = chunk_compression(array)
    count = min(len(found.mean), _MOST_CELLS)
    if not count:
        return "none stored"
    # Stored bytes for each decoded one; where no chunk is stored, none.
    costs = np.nan_to_num(1 / found.mean)
    means = [float(group.mean()) for group in np.array_split(costs, count)]
    top = max(means) or 1.0
    cells = "".join(
        f'<rect x="{place * _CELL}" y="0" width="{_CELL - 1}" height="14" rx="1" '
        f'fill="currentColor" fill-opacity="{0.15 + 0.7 * mean / top:.2f}"/>'
        for place, mean in enumerate(means)
    )
    words = (
        f"{plural(found.num_stored, 'chunk')}; ratio from {format_ratio(found.minimum)} to "
        f"{format_ratio(found.maximum)}"
    )
    return (
        f'<svg role="img" aria-label="{words}" width="{count * _CELL}" height="14" '
        f'style="vertical-align:middle"><title>{words}</title>{cells}</svg>'
    )


def thumbnails(array: Array) -> str:
    """Return a few samples of an array of images, or why they are not shown; else nothing."""
    layout = image_layout(array)
    if layout is None:
        return ""
    if chunk_nbytes(array) > _LARGEST_CHUNK_NBYTES:
        return (
            f"<div {_QUIET}>no pictures: one chunk decodes to "
            f"{format_nbytes(chunk_nbytes(array))}; store.preview() reads it</div>"
        )
    remarks = Remarks()
    try:
        numbers = choose_samples(
            array, _MOST_PICTURES, nbytes=_LARGEST_CHUNK_NBYTES, most=_MOST_CHUNKS
        )
        pictures = draw_pictures(array, numbers, layout, remarks, side=_SIDE)
    except (*READ_ERRORS, ValueError) as error:
        # Also the ValueError of a store that was closed.
        return f"<div {_QUIET}>no pictures: {isolated(error, 300)}</div>"
    # Single pixels of small images show.
    is_small = max(layout.height, layout.width) < _SIDE
    grain = ";image-rendering:pixelated" if is_small else ""
    images = []
    for picture in pictures:
        if picture.png is not None:
            data = base64.b64encode(picture.png).decode()
            images.append(
                f'<img src="data:image/png;base64,{data}" alt="sample {picture.number}" '
                f'title="sample {picture.number}" style="height:{_SIDE}px;margin:2px;'
                f'display:inline-block{grain}">'
            )
    lost = "".join(
        f"<div {_QUIET}>damaged: {isolated(entry.message, 300)}</div>" for entry in remarks.damage
    )
    return f"<div>{''.join(images)}</div>{lost}"
