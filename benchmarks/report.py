"""How are results shown and kept?"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.result import Result


def table(results: Sequence[Result], *, judged: bool = True) -> str:
    """Return the results as a table of text, with a mark at what is missed.

    Parameters
    ----------
    results
        In the order shown.
    judged
        False leaves the marks out: toy sizes keep no promise.
    """
    header = ("", "what", "median", "low", "high", "promised", "ours", "GB/s", "peer", "GB/s")
    return _aligned([header] + [_row(result, judged=judged) for result in results], num_texts=2)


def side_tables(results: Sequence[Result]) -> str:
    """Return a table for each result that compares several loaders, with its conditions."""
    tables = []
    for result in results:
        sides = result.details.get("sides")
        if sides:
            rows = [tuple(sides[0]), *(tuple(map(_cell, side.values())) for side in sides)]
            tables.append(f"{result.name}: {result.conditions}\n{_aligned(rows, num_texts=1)}\n")
    return "\n".join(tables)


def _aligned(rows: Sequence[Sequence[str]], *, num_texts: int) -> str:
    """Return rows under each other: the first columns to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    last = len(widths) - 1
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column < num_texts or column == last else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.2f}" if abs(value) < 100 else f"{value:.0f}"
    return str(value)


def _row(result: Result, *, judged: bool) -> tuple[str, ...]:
    mark = "" if result.limit is None else "ok" if result.is_held else "MISSED"
    return (
        mark if judged else "",
        result.name + (f" [{result.unit}]" if result.unit else ""),
        f"{result.median:.3f}",
        f"{min(result.values):.3f}",
        f"{max(result.values):.3f}",
        _promised(result),
        *_side(result.ours_seconds, result.decoded_nbytes),
        *_side(result.peer_seconds, result.decoded_nbytes),
    )


def _promised(result: Result) -> str:
    if result.limit is None:
        return ""
    return f"{'>=' if result.direction == 'at least' else '<='} {result.limit:g}"


def _side(seconds: float | None, nbytes: int) -> tuple[str, str]:
    if seconds is None:
        return "", ""
    return f"{seconds * 1e3:.1f} ms", f"{nbytes / seconds / 1e9:.2f}" if nbytes else ""


def write(folder: Path, results: Sequence[Result], about: dict[str, Any]) -> list[Path]:
    """Write results as JSON, and as a picture where matplotlib is installed.

    Parameters
    ----------
    folder
        Made if it is not there; it tells git to ignore what is in it.
    results
        At least one.
    about
        Machine, versions, command.

    Returns
    -------
    The files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".gitignore").write_text("*\n", encoding="utf-8")
    path = folder / "store.json"
    content = {**about, "results": [result.to_json() for result in results]}
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError:
        return [path]
    pictures = []
    promised = [result for result in results if result.limit]
    if promised:
        pictures.append(folder / "store.png")
        _draw_promises(pictures[-1], promised)
    compared = [result for result in results if result.details.get("sides")]
    if compared:
        pictures.append(folder / "load.png")
        _draw_sides(pictures[-1], compared)
    return [path, *pictures]


def _draw_promises(path: Path, results: Sequence[Result]) -> None:
    """Draw each median over its promise, with the spread."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 1.2 + 0.3 * len(results)), layout="constrained")
    axes = figure.subplots()
    # Above 1 is better than promised, whichever way the promise points.
    for place, result in enumerate(reversed(results)):
        upwards = result.direction == "at least"
        scaled = [v / result.limit if upwards else result.limit / v for v in result.values if v > 0]
        if not scaled:
            continue
        middle = sorted(scaled)[len(scaled) // 2]
        color = "tab:green" if result.is_held else "tab:red"
        axes.plot([min(scaled), max(scaled)], [place, place], color=color, linewidth=2)
        axes.plot(middle, place, "o", color=color)
    axes.axvline(1.0, color="black", linewidth=1)
    axes.set_xscale("log")
    axes.set_yticks(range(len(results)), [result.name for result in reversed(results)], fontsize=7)
    axes.set_xlabel("times better than promised (median and range)")
    figure.savefig(path, dpi=120)


def _draw_sides(path: Path, results: Sequence[Result]) -> None:
    """Draw the speed of each loader, a panel for each comparison."""
    from matplotlib.figure import Figure

    most = max(len(result.details["sides"]) for result in results)
    columns = min(3, len(results))
    rows = -(-len(results) // columns)
    figure = Figure(figsize=(5.5 * columns, (0.8 + 0.2 * most) * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels[len(results) :]:
        axes.set_visible(False)
    for axes, result in zip(panels, results, strict=False):
        sides = [side for side in result.details["sides"] if side["MB/s"] is not None][::-1]
        colors = [
            "tab:green"
            if s["loader"].startswith("chunkstore")
            else "tab:gray"
            if s["loader"].startswith("bare loop")
            else "tab:blue"
            for s in sides
        ]
        axes.barh(range(len(sides)), [side["MB/s"] for side in sides], color=colors)
        axes.set_yticks(range(len(sides)), [side["loader"] for side in sides], fontsize=7)
        axes.set_title(result.name, fontsize=8)
        axes.set_xlabel("decoded MB/s (median)", fontsize=7)
    figure.savefig(path, dpi=120)
