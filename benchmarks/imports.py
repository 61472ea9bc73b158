"""How long does an import take beside the slower of its two halves alone?"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from benchmarks.probe import run_apart
from benchmarks.result import measure_in_turns, ratio

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.result import Result, Settings


def beside_its_halves(
    settings: Settings,
    what: str,
    *,
    importing: Callable[..., float],
    reading: Callable[..., float],
    writing: Callable[..., float],
    arguments: dict[str, Any],
    direction: Literal["at least", "at most"],
    limit: float,
    **about: Any,
) -> list[Result]:
    """Return the ratio of an import, and of one that is compared at its end.

    Parameters
    ----------
    settings
        How much and how often.
    what
        Is imported, in words.
    importing, reading, writing
        Functions that return seconds, each called in a process of its own; ``importing`` takes
        ``verify`` besides.
    arguments
        Of all three; ``target`` among them is removed behind each.
    direction, limit
        What is promised of an import without the comparison, see `benchmarks.result.ratio`.
    **about
        Further fields of the results.
    """

    def side(function: Callable[..., float], **options: Any) -> Callable[[], float]:
        def timed() -> float:
            try:
                return run_apart(function, **arguments, **options)
            finally:
                Path(arguments["target"]).unlink(missing_ok=True)
                # What one side leaves to write back must not meet the next one.
                os.sync()

        return timed

    measured = measure_in_turns(
        [
            side(importing, verify=False),
            side(importing, verify=True),
            side(reading),
            side(writing),
        ],
        rounds=settings.rounds,
        has_warm_up=settings.has_warm_up,
    )
    # The slower half of each round.
    halves = [(*times, max(times[2], times[3])) for times in measured]
    details = {
        "reading_seconds": [times[2] for times in measured],
        "writing_seconds": [times[3] for times in measured],
    }
    return [
        ratio(
            halves,
            ours=ours,
            peer=4,
            direction=direction,
            limit=promised,
            name=f"{name} of {what} / the slower of reading and writing alone",
            details=details,
            **about,
        )
        for ours, name, promised in ((0, "import", limit), (1, "import and comparison", None))
    ]
