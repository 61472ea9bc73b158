"""Which elements does the page have: facts, tables, figures, legends, attributes?

Arguments that are markup already are called so; all others are escaped here.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any, Final

from chunkstore.viewing.text import (
    as_json_text,
    escaped,
    format_number,
    isolated,
    plural,
    visible,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from chunkstore.store.array import Array
    from chunkstore.viewing.summary import Summary

_MOST_JSON: Final = 4000


def facts(entries: Iterable[tuple[str, str]]) -> str:
    """Return names and values; the values are markup already."""
    return (
        '<dl class="facts">'
        + "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in entries)
        + "</dl>"
    )


def table(
    caption: str,
    heading: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    numeric: frozenset[int] = frozenset(),
    style: str = "",
) -> str:
    """Return a table whose rows begin with what they are about; cells are markup already."""

    def kind(column: int) -> str:
        return ' class="n"' if column in numeric else ""

    head = "".join(
        f'<th scope="col"{kind(column)}>{cell}</th>' for column, cell in enumerate(heading)
    )
    body = "".join(
        f'<tr><th scope="row">{row[0]}</th>'
        + "".join(f"<td{kind(column)}>{cell}</td>" for column, cell in enumerate(row[1:], 1))
        + "</tr>"
        for row in rows
    )
    # A table may be wider than a phone: then it scrolls by itself, also by the keyboard.
    return (
        f'<div class="scroll" role="group" tabindex="0" aria-label="{escaped(caption)}">'
        f"<table{f' class={chr(34)}{style}{chr(34)}' if style else ''}>"
        f"<caption>{escaped(caption)}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def json_block(title: str, value: Any) -> str:
    """Return JSON values, cut where they are huge; nothing where there are none."""
    if not value:
        return ""
    text, is_cut = as_json_text(value, _MOST_JSON)
    lines = "\n".join(html.escape(visible(line), quote=True) for line in text.split("\n"))
    note = (
        f'<p class="quiet">Cut after {_MOST_JSON:,} characters; '
        "<code>chunkstore info --json</code> prints all of it.</p>"
        if is_cut
        else ""
    )
    return (
        f'<details><summary>{escaped(title)}</summary><pre dir="ltr" tabindex="0" role="group" '
        f'aria-label="{escaped(title)}">{lines}</pre>{note}</details>'
    )


def legend(entries: Iterable[tuple[str, str]]) -> str:
    """Return what each colour stands for; names are markup already."""
    items = "".join(
        f'<li><svg aria-hidden="true" viewBox="0 0 8 8"><rect class="{colour}" width="8" '
        f'height="8" rx="1.5"/></svg>{name}</li>'
        for colour, name in entries
    )
    return f'<ul class="legend">{items}</ul>'


def figure(title: str, drawing: str, ends: tuple[str, str], note: str, below: str = "") -> str:
    """Return a drawing with its title, the words at its two ends, and what is said of it.

    Parameters
    ----------
    title, ends, note
        Text.
    drawing, below
        Markup.
    """
    edge = (
        f'<div class="ends" aria-hidden="true"><span>{escaped(ends[0])}</span>'
        f"<span>{escaped(ends[1])}</span></div>"
        if any(ends)
        else ""
    )
    caption = f"<figcaption>{escaped(note, 400)}</figcaption>" if note else ""
    return f"<figure><h3>{escaped(title)}</h3>{drawing}{edge}{below}{caption}</figure>"


def number_cell(value: Any) -> str:
    """Return a value as markup."""
    return escaped(format_number(value))


def how_much(summary: Summary) -> str:
    """Return from how many samples a summary comes."""
    if summary.is_exact:
        return f'<p class="quiet">From all {plural(summary.num_samples, "sample")}.</p>'
    return (
        f'<p class="quiet">From {summary.num_read_samples:,} of '
        f"{plural(summary.num_samples, 'sample')}, spread over the file.</p>"
    )


def array_title(array: Array) -> str:
    """Return the name of an array as markup."""
    return isolated(array.name) if array.name else "(root)"
