"""What stands in each part of the page?"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final

from chunkstore.viewing import svg
from chunkstore.viewing.elements import (
    array_title,
    facts,
    how_much,
    json_block,
    number_cell,
    table,
)
from chunkstore.viewing.labelling import ADVICE_BATCH_SIZE
from chunkstore.viewing.plots import labels_figure, ratios_figure, scatter_figure, values_figure
from chunkstore.viewing.text import (
    called,
    escaped,
    format_nbytes,
    format_ratio,
    format_shape,
    format_share,
    isolated,
    plural,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chunkstore.store.store import Store
    from chunkstore.viewing.array_look import ArrayLook
    from chunkstore.viewing.looking import Look
    from chunkstore.viewing.pictures import Picture
    from chunkstore.viewing.summary import Summary

_MOST_ROWS: Final = 500
_MOST_CLASSES: Final = 40
_MOST_DAMAGE: Final = 30
_MOST_MESSAGE: Final = 500
_SMALL_PICTURE: Final = 64
IMPORT_ATTRIBUTE: Final = "import"


def overview(store: Store) -> str:
    """Return size, samples and format of the file."""
    ratio = store.nbytes / store.encoded_nbytes if store.encoded_nbytes else None
    version = store.format_version
    entries = [
        ("Samples", f"{store.num_samples:,}"),
        ("Arrays", f"{len(store):,}"),
        ("On disk", format_nbytes(store.file_nbytes)),
        ("Decoded", format_nbytes(store.nbytes)),
        ("Ratio", format_ratio(ratio)),
        ("Format", "another writer's" if version is None else f"version {version}"),
    ]
    if store.dead_nbytes:
        entries.append(("Dead bytes", format_nbytes(store.dead_nbytes)))
    return f'{facts(entries)}<p class="quiet">{isolated(store.path, 1000)}</p>'


def array_table(store: Store) -> str:
    """Return the table of arrays: shapes, types, chunks, codecs, sizes."""
    rows = []
    for array in list(store.values())[:_MOST_ROWS]:
        ratio = array.nbytes / array.encoded_nbytes if array.encoded_nbytes else None
        rows.append(
            (
                array_title(array),
                format_shape(array.shape),
                escaped(array.dtype),
                format_shape(array.chunk_shape),
                f"{array.num_chunks:,}",
                escaped(array.codec),
                format_nbytes(array.nbytes),
                format_nbytes(array.encoded_nbytes),
                format_ratio(ratio),
            )
        )
    heading = ("Array", "Shape", "Type", "Chunk", "Chunks", "Codec", "Decoded", "Stored", "Ratio")
    left_out = len(store) - len(rows)
    note = f'<p class="quiet">{plural(left_out, "array")} more.</p>' if left_out else ""
    return (
        table(
            "Arrays of the file", heading, rows, numeric=frozenset({4, 6, 7, 8}), style="wide-table"
        )
        + note
        if rows
        else "<p>There is no array in this file.</p>"
    )


def damage(look: Look) -> str:
    """Return what could not be read."""
    shown = look.damage[:_MOST_DAMAGE]
    items = "".join(f"<li>{isolated(entry.message, _MOST_MESSAGE)}</li>" for entry in shown)
    more = len(look.damage) - len(shown)
    return (
        "<p>Parts of this file could not be read. <code>chunkstore verify</code> lists all damage, "
        "<code>chunkstore repair</code> saves what is left.</p>"
        f"<ul>{items}</ul>" + (f"<p>{more:,} more.</p>" if more else "")
    )


def class_counts(summary: Summary, names: Mapping[int, str]) -> str:
    """Return how often each class comes."""
    counts = tuple((called(value, names), count) for value, count in summary.classes or ())
    total = max(sum(count for _, count in counts), 1)
    shown = counts
    if len(counts) > _MOST_CLASSES:
        shown = tuple(sorted(counts, key=lambda entry: -entry[1])[:_MOST_CLASSES])
    largest = max((count for _, count in shown), default=1) or 1
    rows = [
        (
            isolated(name, 60),
            f"{count:,}",
            format_share(count / total),
            svg.share_bar(count / largest),
        )
        for name, count in shown
    ]
    rest = len(counts) - len(shown)
    if rest:
        others = total - sum(count for _, count in shown)
        rows.append(
            (
                f"{plural(rest, 'class')} more",
                f"{others:,}",
                format_share(others / total),
                svg.share_bar(others / largest if others <= largest else 1.0),
            )
        )
    heading = ("Class", "Samples", "Share", "Relative to the largest")
    return table(
        f"Samples of each of {plural(len(counts), 'class')}",
        heading,
        rows,
        numeric=frozenset({1, 2}),
        style="counts",
    )


def mixing(look: Look) -> str:
    """Return which labels come where, and what a loader makes of it."""
    parts = []
    labelling = look.labelling
    if labelling is not None and labelling.along is not None:
        parts.append(labels_figure(labelling, labelling.along))
    advice = look.advice
    if isinstance(advice, str):
        parts.append(f"<p>{isolated(advice, _MOST_MESSAGE)}</p>")
    elif advice is not None:
        word = {"well": "Well mixed", "poor": "Poorly mixed", "unknown": "Cannot be told"}
        lines = "".join(
            f"<p>{isolated(line, _MOST_MESSAGE)}</p>" for line in str(advice).splitlines()[:-1]
        )
        about = "" if look.labelling else " There are no labels, so the samples were compared."
        parts.append(
            f'<h3>What a loader says</h3><p class="verdict is-{advice.verdict}">'
            f"{word[advice.verdict]}</p><p>{isolated(advice.advice, _MOST_MESSAGE)}</p>"
            f'<p class="quiet">For shuffled batches of at most {ADVICE_BATCH_SIZE} samples, with '
            f"the default memory.{about}</p>"
            f"<details><summary>More numbers</summary>{lines}</details>"
        )
    return "".join(parts)


def array_part(look: ArrayLook) -> str:
    """Return what there is to say about one array: pictures, values, chunks."""
    array, summary = look.array, look.summary
    words = [format_shape(array.shape), str(array.dtype)]
    if look.layout is not None:
        words.append(look.layout.words)
    words.append(f"{plural(array.num_chunks, 'chunk')} of {plural(array.chunk_length, 'sample')}")
    words.append(array.codec)
    parts = [f'<p class="quiet">{" &middot; ".join(escaped(word) for word in words)}</p>']
    if not array.size:
        parts.append("<p>It is empty.</p>")
    if look.pictures:
        parts.append(contact_sheet(look))
    if look.examples:
        parts.append(examples(look))
    parts += _fields(summary)
    is_measured = summary.classes is None or summary.kind == "text"
    if summary.num_values and is_measured:
        parts.append(values(summary))
    if summary.classes is not None and not look.is_label:
        parts.append(class_counts(summary, look.class_names))
    plots = []
    if summary.histogram is not None and not summary.is_constant and is_measured:
        plots.append(values_figure(summary))
    if look.compression.ratio is not None:
        plots.append(ratios_figure(look.compression))
    if look.scatter is not None:
        plots.append(scatter_figure(look.scatter, look.point_labels, look.class_order))
    if plots:
        parts.append(f'<div class="plots">{"".join(plots)}</div>')
    parts.append(how_much(summary) if array.size else "")
    parts.append(json_block("Attributes of this array", array.attributes))
    return "".join(parts)


def contact_sheet(look: ArrayLook) -> str:
    """Return the pictures of some samples with their labels."""
    items = "".join(
        _sheet_item(picture, None if picture.number is None else look.captions.get(picture.number))
        for picture in look.pictures
    )
    small = look.layout is not None and max(look.layout.height, look.layout.width) < _SMALL_PICTURE
    scaling = "" if look.scaling is None else look.scaling.words
    strange = look.summary.num_nan + look.summary.num_infinite
    words = [
        "The whole array as one picture"
        if look.pictures[0].number is None
        else f"{plural(len(look.pictures), 'sample')} of {len(look.array):,}, in file order",
        *([scaling] if scaling else []),
        *(["NaN and infinite pixels are magenta"] if strange else []),
    ]
    return (
        f'<ul class="sheet{" small" if small else ""}">{items}</ul>'
        f'<p class="quiet">{escaped("; ".join(words), 300)}.</p>'
    )


def examples(look: ArrayLook) -> str:
    """Return the values of some samples."""
    rows = [
        (
            f"{number:,}",
            isolated(text),
            *([isolated(look.captions.get(number, ""))] if look.captions else []),
        )
        for number, text in look.examples
    ]
    heading = ("Sample", "Value", *(["Label"] if look.captions else []))
    return (
        f"<details><summary>{plural(len(rows), 'example')}</summary>"
        f"{table('Values of some samples', heading, rows)}</details>"
    )


def values(summary: Summary) -> str:
    """Return range, mean, spread and strange values."""
    of = {"magnitudes": " magnitude", "text": " length"}.get(summary.kind, "")
    entries = [
        (f"Smallest{of}", number_cell(summary.minimum)),
        (f"Largest{of}", number_cell(summary.maximum)),
    ]
    if summary.mean is not None:
        entries.append((f"Mean{of}", number_cell(summary.mean)))
    if summary.std is not None and summary.kind != "text":
        entries.append(("Standard deviation", number_cell(summary.std)))
    if summary.quantiles is not None and summary.kind != "text":
        entries.append(("Median", number_cell(summary.quantiles[2])))
    missing = "NaT" if summary.kind == "times" else "NaN"
    if summary.kind == "text":
        entries.append(("Empty", f"{summary.num_empty:,}"))
    else:
        entries.append((missing, f"{summary.num_nan:,}"))
    if summary.num_infinite:
        entries += [
            ("+inf", f"{summary.num_positive_infinity:,}"),
            ("-inf", f"{summary.num_negative_infinity:,}"),
        ]
    if summary.is_constant and summary.kind != "text":
        entries.append(("Constant", "yes"))
    if summary.minimum is None:
        entries.append(("Finite values", "none"))
    return facts(entries)


def _sheet_item(picture: Picture, label: str | None) -> str:
    if picture.number is None:
        name, below = "the whole array", ""
    else:
        name = f"sample {picture.number:,}" + ("" if label is None else f", labelled {label}")
        below = ("" if label is None else f'<span class="cap">{isolated(label, 40)}</span>') + (
            f'<span class="num">{picture.number:,}</span>'
        )
    if picture.png is None or picture.pixels is None:
        return (
            f'<li><span class="lost" role="img" aria-label="{escaped(name)} is damaged">damaged'
            f"</span>{below}</li>"
        )
    height, width = picture.pixels.shape[:2]
    data = base64.b64encode(picture.png).decode()
    return (
        f'<li><img src="data:image/png;base64,{data}" alt="{escaped(name)}" width="{width}" '
        f'height="{height}">{below}</li>'
    )


def _fields(summary: Summary) -> list[str]:
    if not summary.fields:
        return []
    rows = [
        (
            isolated(name),
            escaped(inner.kind),
            number_cell(inner.minimum),
            number_cell(inner.maximum),
            f"{inner.num_nan:,}",
        )
        for name, inner in summary.fields.items()
    ]
    heading = ("Field", "Kind", "Smallest", "Largest", "NaN")
    return [table("Fields of the structure", heading, rows, numeric=frozenset({2, 3, 4}))]
