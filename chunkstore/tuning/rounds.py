"""Which ways to encode are measured how often, and in which order?

The ways take turns: each measures the same chunks before the next chunks are taken, every other
round in the opposite order. What else the machine does then falls on all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from chunkstore.tuning.candidates import default_speed, first_candidates, further_candidates
from chunkstore.tuning.measuring import CodecRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np

    from chunkstore.format.choosing import CodecChoice
    from chunkstore.tuning.crew import Deadline
    from chunkstore.tuning.measuring import CodecMeter
    from chunkstore.tuning.results import CodecSpeed

MOST_ROUNDS: Final = 7
# What takes longer to encode is encoded once, and decoded in every round.
_SLOW_SECONDS: Final = 0.6
# Ways that are measured in every round.
_MOST_FINALISTS: Final = 12


def measure_codecs(
    meter: CodecMeter,
    dtype: np.dtype[Any],
    sample_shape: Sequence[int],
    *,
    deadline: Deadline,
    score: Callable[[CodecSpeed], float],
    advance: Callable[[], None],
) -> tuple[list[CodecSpeed], list[CodecSpeed]]:
    """Measure every sensible way once, and the promising ones again and again.

    Parameters
    ----------
    meter
        Of the data.
    dtype, sample_shape
        In stored form.
    deadline
        Of all rounds.
    score
        How good a way is for training, to keep the best.
    advance
        Called behind each measurement.

    Returns
    -------
    finalists, others
        Decoded in every round, and encoded in every round unless that takes long; and measured
        in the first round only. All ratios are for the chunks of all rounds.
    """
    records: dict[CodecChoice, CodecRecord] = {}
    tried: list[CodecSpeed] = []
    for wave in range(2):
        is_first = wave == 0
        for choice in (
            first_candidates(dtype, sample_shape) if is_first else further_candidates(tried)
        ):
            # The default comes first, and is there whatever the time.
            if deadline.is_over and _has_default(tried):
                break
            records[choice] = CodecRecord(choice)
            meter.measure(records[choice], 0)
            tried.append(records[choice].speed())
            advance()
    chosen = [speed.choice for speed in choose_finalists(tried, score)]
    for number in range(1, MOST_ROUNDS):
        if deadline.is_over:
            break
        for choice in chosen if number % 2 else reversed(chosen):
            record = records[choice]
            if record.encode_seconds > _SLOW_SECONDS:
                meter.decode_again(record)
            else:
                meter.measure(record, number)
            advance()
    base = records[default_speed(tried).choice]
    return (
        [records[choice].speed(base) for choice in chosen],
        [record.speed(base) for choice, record in records.items() if choice not in chosen],
    )


def choose_finalists(
    tried: Sequence[CodecSpeed], score: Callable[[CodecSpeed], float]
) -> list[CodecSpeed]:
    """Return the ways that are worth measuring again, at most twelve.

    The default, and lz4 with the shuffle that makes it smallest; the three best for training, in
    size and in writing; and of the others those that none surpasses in ratio and decoding. One
    measurement may be wrong, so that more are kept than can be the best.
    """
    chosen = [default_speed(tried)]
    usual = [speed for speed in tried if (speed.choice.codec, speed.choice.level) == ("lz4", 5)]
    chosen += sorted(usual, key=lambda speed: speed.ratio, reverse=True)[:1]
    for best in (score, lambda speed: speed.ratio, lambda speed: speed.encode.median):
        chosen += sorted(tried, key=best, reverse=True)[:3]
    chosen += front(tried)
    return list({speed.choice: speed for speed in chosen}.values())[:_MOST_FINALISTS]


def front(speeds: Sequence[CodecSpeed]) -> list[CodecSpeed]:
    """Return those that no other surpasses in ratio and decoding, the smallest files first."""
    found: list[CodecSpeed] = []
    for speed in sorted(speeds, key=lambda s: (s.ratio, s.decode.median), reverse=True):
        if not found or speed.decode.median > found[-1].decode.median:
            found.append(speed)
    return found


def _has_default(tried: Sequence[CodecSpeed]) -> bool:
    """Tell whether all shuffles of the default codec were measured: others follow it."""
    return bool(tried) and tried[-1].choice.codec != tried[0].choice.codec
