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
    rows = [header] + [_row(result, judged=judged) for result in results]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _row(result: Result, *, judged: bool) -> tuple[str, ...]:
    mark = "ok" if result.is_held else "MISSED"
    return (
        mark if judged else "",
        result.name + (f" [{result.unit}]" if result.unit else ""),
        f"{result.median:.3f}",
        f"{min(result.values):.3f}",
        f"{max(result.values):.3f}",
        f"{'>=' if result.direction == 'at least' else '<='} {result.limit:g}",
        *_side(result.ours_seconds, result.decoded_nbytes),
        *_side(result.peer_seconds, result.decoded_nbytes),
    )


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
    picture = folder / "store.png"
    return [path, picture] if _draw(picture, results) else [path]


def _draw(path: Path, results: Sequence[Result]) -> bool:
    """Draw each median over its promise, with the spread, and return whether that was possible."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        return False
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
    return True
