"""How do the values of a file look on a terminal?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from chunkstore.cli.printing import format_table
from chunkstore.viewing.text import called, cut, format_number, format_ratio, format_share, visible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chunkstore.viewing.summary import Summary
    from chunkstore.viewing.surveying import ArraySurvey, Survey

_MOST_CLASSES: Final = 20
_HEADING: Final = (
    "array",
    "read",
    "smallest",
    "largest",
    "mean",
    "std",
    "NaN",
    "+inf",
    "-inf",
    "chunk ratio least",
    "median",
    "most",
)


def print_survey(found: Survey) -> None:
    """Print what the arrays hold: a table, then the classes of labels, then what is damaged."""
    rows = [row for name, about in found.arrays.items() for row in _rows(name or "(root)", about)]
    for line in format_table(_HEADING, rows):
        click.echo(line)
    for name, about in found.arrays.items():
        if about.summary.classes is not None:
            click.echo(f"\n{visible(name) or '(root)'}: {_classes(about)}")
    for note in found.notes:
        click.echo(note, err=True)
    for damage in found.damage:
        click.echo(f"damaged: {damage.message}", err=True)


def _rows(name: str, about: ArraySurvey) -> Iterator[tuple[str, ...]]:
    summary, chunks = about.summary, about.compression
    ratios = (chunks.minimum, chunks.median, chunks.maximum)
    yield (
        cut(visible(name), 40),
        _how_much(summary),
        *_numbers(summary),
        *(format_ratio(ratio) for ratio in ratios),
    )
    for field_name, inner in summary.fields.items():
        yield (f"  {cut(visible(field_name), 38)}", "", *_numbers(inner), "", "", "")


def _numbers(summary: Summary) -> tuple[str, ...]:
    if summary.kind in ("structure", "bytes"):
        return ("",) * 7
    of = {"text": " long", "magnitudes": " abs"}.get(summary.kind, "")
    missing = "NaT " if summary.kind == "times" and summary.num_nan else ""
    return (
        f"{format_number(summary.minimum)}{of}",
        f"{format_number(summary.maximum)}{of}",
        format_number(summary.mean),
        format_number(summary.std),
        f"{missing}{summary.num_nan:,}",
        f"{summary.num_positive_infinity:,}",
        f"{summary.num_negative_infinity:,}",
    )


def _how_much(summary: Summary) -> str:
    if not summary.num_samples:
        return "empty"
    if summary.is_exact:
        return "all"
    return format_share(summary.num_read_samples / summary.num_samples)


def _classes(about: ArraySurvey) -> str:
    classes = about.summary.classes or ()
    shown = classes
    if len(classes) > _MOST_CLASSES:
        shown = tuple(sorted(classes, key=lambda entry: -entry[1])[:_MOST_CLASSES])
    words = ", ".join(
        f"{cut(visible(called(value, about.names)), 40)} {count:,}" for value, count in shown
    )
    more = len(classes) - len(shown)
    count = f"{len(classes):,} class{'' if len(classes) == 1 else 'es'}"
    return f"{count}: {words}" + (f", {more:,} more" if more else "")
