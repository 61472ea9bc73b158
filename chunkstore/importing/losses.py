"""What of a source does the new file not hold, as one list that is whole, short and in order?"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# Entries that are kept: the list stands in the file's attributes, at each checkpoint anew.
MAX_LISTED: Final = 1000
_MAX_REASON_LENGTH: Final = 500
_MAX_SHOWN: Final = 20


@dataclass(frozen=True)
class Lost:
    """Samples of one array that could not be read.

    Attributes
    ----------
    array
        Its name in the new file, or the one that it would have there.
    samples
        Half-open range of samples; None where the whole array is lost, which is not in the file.
    reason
        What is wrong, and where.
    num_places
        Places of damage that touch each other and stand in this entry; the reason is the first's.
    """

    array: str
    samples: tuple[int, int] | None
    reason: str
    num_places: int = 1

    def __str__(self) -> str:
        what = f"array {self.array!r}"
        if self.samples is None:
            what += ", all of it"
        else:
            what += f", samples [{self.samples[0]}, {self.samples[1]})"
        rest = self.num_places - 1
        more = f" (and {rest} more beside it)" if rest else ""
        return f"{what}: {self.reason}{more}"


@dataclass
class Losses:
    """All that is lost: whole arrays first, then samples by array.

    Attributes
    ----------
    entries
        At most `MAX_LISTED`; places that touch are one entry.
    num_more
        Entries that are left out.
    """

    entries: list[Lost] = field(default_factory=list)
    num_more: int = 0

    def add(self, found: Iterable[Lost]) -> None:
        """Take more in.

        Parameters
        ----------
        found
            In any order; may touch or overlap what is there.
        """
        cut = [replace(lost, reason=_shortened(lost.reason)) for lost in found]
        if not cut:
            return
        entries: list[Lost] = []
        for lost in sorted([*self.entries, *cut], key=_place):
            both = _joined(entries[-1], lost) if entries else None
            if both is None:
                entries.append(lost)
            else:
                entries[-1] = both
        self.num_more += len(entries[MAX_LISTED:])
        self.entries = entries[:MAX_LISTED]

    def to_json(self) -> dict[str, Any]:
        """Return the list as JSON values."""
        return {
            "entries": [
                {
                    "array": lost.array,
                    "samples": None if lost.samples is None else list(lost.samples),
                    "reason": lost.reason,
                    "num_places": lost.num_places,
                }
                for lost in self.entries
            ],
            "num_more": self.num_more,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Losses:
        """Return what `to_json` returned."""
        entries = [
            Lost(
                entry["array"],
                None if entry["samples"] is None else tuple(entry["samples"]),
                entry["reason"],
                entry["num_places"],
            )
            for entry in value["entries"]
        ]
        return cls(entries, value["num_more"])


def listed(lost: Iterable[object], *, num_more: int = 0, most: int = _MAX_SHOWN) -> list[str]:
    """Return lines for a person: the first entries, and how many more there are.

    Examples
    --------
    >>> listed(["a", "b", "c"], num_more=5, most=2)
    ['a', 'b', 'and 6 more']
    """
    lines = [str(entry) for entry in lost]
    rest = max(0, len(lines) - most) + num_more
    return [*lines[:most], f"and {rest} more"] if rest else lines


def _place(lost: Lost) -> tuple[bool, str, tuple[int, int]]:
    return lost.samples is not None, lost.array, lost.samples or (0, 0)


def _joined(first: Lost, second: Lost) -> Lost | None:
    """Return two entries as one if they touch; the first does not begin behind the second."""
    if first.array != second.array or first.samples is None or second.samples is None:
        return None
    (start, stop), (second_start, second_stop) = first.samples, second.samples
    if second_start > stop:
        return None
    return replace(
        first,
        samples=(start, max(stop, second_stop)),
        num_places=first.num_places + second.num_places,
    )


def _shortened(text: str) -> str:
    if len(text) <= _MAX_REASON_LENGTH:
        return text
    return f"{text[:_MAX_REASON_LENGTH]}... ({len(text)} characters)"
