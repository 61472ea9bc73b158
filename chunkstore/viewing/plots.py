"""How are labels, values, chunks and features drawn on the page, with what words?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chunkstore.viewing import svg
from chunkstore.viewing.elements import figure, legend
from chunkstore.viewing.text import (
    format_number,
    format_ratio,
    format_share,
    isolated,
    plural,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from chunkstore.viewing.compression import Compression
    from chunkstore.viewing.features import Scatter
    from chunkstore.viewing.labelling import Along, Labelling
    from chunkstore.viewing.summary import Summary


def labels_figure(labelling: Labelling, along: Along) -> str:
    """Return which labels come where; nothing where they are neither classes nor numbers."""
    if along.shares is None:
        if along.low is None or along.middle is None or along.high is None:
            return ""
        drawing = svg.band(
            along.low,
            along.middle,
            along.high,
            "Values of the labels along the file: the middle, and where eight tenths of them are",
        )
        note = (
            "The line is the median of neighbouring samples, eight tenths of them are in the band."
        )
        return figure("Labels along the file", drawing, ("first sample", "last"), note)
    names = [labelling.called(value) for value in along.classes]
    words = common_classes(along.shares, [*names, "other classes"])
    drawing = svg.stack(along.shares, f"Share of each class along the file: {words}")
    counts = dict(labelling.summary.classes or ())
    total = max(sum(counts.values()), 1)
    entries = [
        (
            svg.colour_class(number),
            f"{isolated(name, 40)}&nbsp;{format_share(counts[value] / total)}",
        )
        for number, (name, value) in enumerate(zip(names, along.classes, strict=True))
    ]
    num_others = len(counts) - len(names)
    if num_others:
        entries.append((svg.colour_class(0, is_other=True), f"{plural(num_others, 'class')} more"))
    return figure(
        "Classes along the file", drawing, ("first sample", "last"), words, legend(entries)
    )


def common_classes(shares: NDArray[np.float64], names: Sequence[str]) -> str:
    """Return which class is most common at the start, in the middle and at the end, in words."""
    words = []
    last = len(shares) - 1
    for place, where in ((0, "at the start"), (last // 2, "in the middle"), (last, "at the end")):
        row = shares[place]
        if np.isfinite(row).all():
            # Other classes only where there is nothing else.
            best = int(row[:-1].argmax()) if row[:-1].any() else len(row) - 1
            words.append(f"{where} {format_share(float(row[best]))} are {names[best]}")
    return "; ".join(words)


def values_figure(summary: Summary) -> str:
    """Return a histogram; nothing where there is none."""
    histogram = summary.histogram
    if histogram is None:
        return ""
    low, high = histogram_edges(summary)
    outside = histogram.num_below + histogram.num_above
    total = max(int(histogram.counts.sum()) + outside, 1)
    note = f"{format_share(outside / total)} are outside of what is drawn." if outside else ""
    what = {
        "magnitudes": "Magnitudes",
        "times": "Times",
        "text": "Lengths",
    }.get(summary.kind, "Values")
    drawing = svg.bars(histogram.counts, f"Histogram of the {what.lower()} from {low} to {high}")
    return figure(f"{what}", drawing, (low, high), note)


def histogram_edges(summary: Summary) -> tuple[str, str]:
    """Return the outer edges of a histogram as text."""
    histogram = summary.histogram
    if histogram is None or summary.kind == "times":
        return format_number(summary.minimum), format_number(summary.maximum)
    return format_number(_plain(histogram.low)), format_number(_plain(histogram.high))


def _plain(value: float) -> int | float:
    return int(value) if value.is_integer() and abs(value) < 1e15 else value


def ratios_figure(compression: Compression) -> str:
    """Return how well the chunks are compressed along the file."""
    if len(compression.mean) == 1:
        return figure(
            "Ratio of each chunk", "", ("", ""), f"One chunk: {ratio_words(compression)}."
        )
    label = f"Ratio of the chunks along the file: {ratio_words(compression)}"
    drawing = svg.band(compression.low, compression.mean, compression.high, label)
    note = f"Decoded bytes for each stored one: {ratio_words(compression)}."
    if compression.num_stored < compression.num_chunks:
        note += (
            f" {compression.num_stored:,} of {compression.num_chunks:,} chunks are stored; the "
            "others hold the fill value."
        )
    return figure("Ratio of the chunks along the file", drawing, ("first chunk", "last"), note)


def ratio_words(compression: Compression) -> str:
    """Return the ratios of the chunks in words."""
    return (
        f"least {format_ratio(compression.minimum)}, median {format_ratio(compression.median)}, "
        f"most {format_ratio(compression.maximum)}"
    )


def scatter_figure(scatter: Scatter, labels: Sequence[str] | None, order: Sequence[str]) -> str:
    """Return samples as points of a plane.

    Parameters
    ----------
    scatter
        The points.
    labels
        The class of each; None where there are no classes.
    order
        Classes that have a colour, as they have it elsewhere.
    """
    colours = ["ink"] * len(scatter.points)
    below = ""
    if labels is not None:
        colour_of = {label: svg.colour_class(number) for number, label in enumerate(order)}
        other = svg.colour_class(0, is_other=True)
        colours = [colour_of.get(label, other) for label in labels]
        there = set(labels)
        entries = [(colour_of[label], isolated(label, 40)) for label in order if label in there]
        if rest := there - set(order):
            entries.append((other, f"{plural(len(rest), 'class')} more"))
        below = legend(entries)
    first, second = (format_share(share) for share in scatter.explained)
    note = (
        f"{plural(len(scatter.points), 'sample')}; across {first} of the variance, upwards "
        f"{second}."
    )
    if scatter.num_used < scatter.num_columns:
        note += f" {scatter.num_used:,} of {scatter.num_columns:,} elements of a sample were taken."
    if scatter.num_left_out:
        note += f" {plural(scatter.num_left_out, 'sample')} with NaN or infinite values left out."
    drawing = svg.scatter(
        scatter.points, colours, f"Samples in the plane of their principal components. {note}"
    )
    return figure("Principal components", drawing, ("", ""), note, below)
