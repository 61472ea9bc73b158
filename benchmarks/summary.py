"""How do the loaders compare, in a table that a page can hold?

``python -m benchmarks.summary REPORT...`` prints the speeds of ``load`` from the JSON of one run or
more as Markdown: a table for each state, a row for each loader, a column for each data set.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

# Of the bare loop only the one that is the limit is shown, under this name.
_LIMIT = "a bare loop: the limit"
_OURS = "chunkstore"
_STATES = {
    "warm": "In the page cache, 1/4 of the data as memory to shuffle in",
    "capped": "With memory for 1/5 of the file",
}


def speeds(reports: list[dict[str, Any]], state: str) -> dict[str, dict[str, str]]:
    """Return MB/s by loader and data set, or why there is none."""
    found: dict[str, dict[str, str]] = {}
    for report in reports:
        for result in report["results"]:
            sides = result["details"].get("sides")
            data_set, _, rest = result["name"].partition(", ")
            if not sides or not rest.startswith(f"{state}:"):
                continue
            limit = rest.partition("/ ")[2]
            for side in sides:
                name = side["loader"]
                if name == limit:
                    name = _LIMIT
                elif name.startswith(("bare loop", f"{_OURS},")):
                    continue
                found.setdefault(name, {})[data_set] = _speed(side)
    return found


def _speed(side: dict[str, Any]) -> str:
    speed = side.get("MB/s")
    if speed is None:
        return str(side.get("shuffle") or "-")
    return f"{speed:.0f}" if speed >= 10 else f"{speed:.1f}"


def markdown(reports: list[dict[str, Any]]) -> str:
    """Return the tables, and a line about the machine."""
    lines: list[str] = []
    for state, words in _STATES.items():
        rows = speeds(reports, state)
        data_sets = list(dict.fromkeys(name for row in rows.values() for name in row))
        lines += [f"{words}, MB/s decoded:", ""]
        lines += [f"| | {' | '.join(data_sets)} |", "| --- |" + " ---: |" * len(data_sets)]
        order = sorted(rows, key=lambda name: (name != _LIMIT, name != _OURS))
        for name in order:
            cells = " | ".join(rows[name].get(data_set, "") for data_set in data_sets)
            lines.append(f"| {f'**{name}**' if name == _OURS else name} | {cells} |")
        lines.append("")
    environment = reports[0]["environment"]
    lines.append(
        f"{environment['cpu']}, {environment['cores']} cores, {environment['system']}, Python "
        f"{environment['python']}, commit {environment['commit']}"
    )
    return "\n".join(lines)


def main(paths: list[str]) -> None:
    """Print the tables of the reports at some paths."""
    print(markdown([json.loads(Path(path).read_text(encoding="utf-8")) for path in paths]))


if __name__ == "__main__":
    main(sys.argv[1:])
