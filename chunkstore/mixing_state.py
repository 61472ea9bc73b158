"""Is a state, perhaps through JSON, a position in this mixture?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

POSITION_FIELDS = ("epoch", "step")


def without_position(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a state says of the order, without where in it."""
    return {key: value for key, value in state.items() if key not in POSITION_FIELDS}


def read_position(
    state: Any, mine: Mapping[str, Any], *, largest: Mapping[str, int]
) -> dict[str, int]:
    """Return the epoch and step of a state.

    Parameters
    ----------
    state
        What was given.
    mine
        The state of this mixture.
    largest
        The last epoch and step that there are.

    Raises
    ------
    TypeError, ValueError
        If it is no state, or one of another mixture: the message names the field.
    """
    if not isinstance(state, Mapping):
        raise TypeError(f"a state is a dict, got {type(state).__name__}")
    for field, value in mine.items():
        if field not in state:
            raise ValueError(f"the state has no field {field!r}")
        if field not in POSITION_FIELDS and not _is_same(state[field], value):
            raise ValueError(
                f"the state has {field}={state[field]!r}, this mixture {field}={value!r}: "
                "the order is another one"
            )
    for field in POSITION_FIELDS:
        value = state[field]
        # A truth value is an integer to Python, but no count.
        if type(value) is not int or not 0 <= value <= largest[field]:
            raise ValueError(
                f"the state's {field} must be an integer in [0, {largest[field]}], got {value!r}"
            )
    return {field: state[field] for field in POSITION_FIELDS}


def _is_same(given: Any, mine: Any) -> bool:
    """Return whether a value of a state, perhaps through JSON, is one of this mixture.

    True is equal to 1 in Python, and an array to nothing and everything: types are compared too.
    """
    if isinstance(mine, dict):
        return (
            isinstance(given, Mapping)
            and given.keys() == mine.keys()
            and all(_is_same(given[key], value) for key, value in mine.items())
        )
    if isinstance(mine, list):
        return (
            isinstance(given, list | tuple)
            and len(given) == len(mine)
            and all(_is_same(a, b) for a, b in zip(given, mine, strict=True))
        )
    # Not every writer of JSON keeps the point of a whole number.
    is_number = isinstance(mine, float) and type(given) in (int, float)
    return (is_number or type(given) is type(mine)) and bool(given == mine)
