"""Which options does a Loader have, and which values do they take?"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from chunkstore.pipeline.direct import Io
from chunkstore.pipeline.skipping import OnCorrupt
from chunkstore.plan.epoch import Last

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import ArrayLike, DTypeLike


@dataclass(frozen=True, kw_only=True)
class LoaderOptions:
    """The options of a `chunkstore.pipeline.loader.Loader`, as they are given; described there.

    Numbers become Python's own, so that they can stand in JSON.

    Raises
    ------
    TypeError, ValueError
        If one is not of its kind, or outside its range; the message names it.
    """

    batch_size: int
    shuffle: bool
    seed: int
    epoch: int
    memory: int
    last: Last | None
    window: int | None
    run: int
    lanes: int | None
    rank: int | None
    world_size: int | None
    threads: int | None
    io: Io
    dtype: DTypeLike | Mapping[str, DTypeLike] | None
    transform: Mapping[str, Callable[..., Any]] | None
    weights: ArrayLike | str | None
    balance: ArrayLike | str | None
    epoch_samples: int | None
    on_corrupt: OnCorrupt

    def __post_init__(self) -> None:
        self._set("batch_size", whole_number("batch_size", self.batch_size, least=1))
        self._set("run", whole_number("run", self.run, least=1))
        self._set("seed", _whole_key("seed", self.seed))
        self._set("epoch", whole_epoch(self.epoch))
        for name in ("window", "lanes", "world_size", "threads", "epoch_samples"):
            if getattr(self, name) is not None:
                self._set(name, whole_number(name, getattr(self, name), least=1))
        if self.rank is not None:
            self._set("rank", whole_number("rank", self.rank, least=0))
        if not isinstance(self.shuffle, bool | np.bool_):
            raise TypeError(f"shuffle must be True or False, got {self.shuffle!r}")
        self._set("shuffle", bool(self.shuffle))
        _check_choice("io", self.io, get_args(Io))
        _check_choice("on_corrupt", self.on_corrupt, get_args(OnCorrupt))
        if self.last is not None:
            _check_choice("last", self.last, get_args(Last))

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)


def whole_number(name: str, value: Any, *, least: int, largest: int | None = None) -> int:
    """Return an integer of Python's, of any type that is one.

    Parameters
    ----------
    name
        For messages.
    value
        What was given.
    least, largest
        Bounds, both allowed; None for no upper one.

    Raises
    ------
    TypeError
        If it is no integer. A truth value is none.
    ValueError
        If it is outside the bounds.

    Examples
    --------
    >>> whole_number("window", np.int64(3), least=1)
    3
    """
    try:
        if isinstance(value, bool):
            raise TypeError  # noqa: TRY301 - the same sentence as for all that is no integer
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None
    if number < least or (largest is not None and number > largest):
        allowed = f"at least {least}" if largest is None else f"in [{least}, {largest}]"
        raise ValueError(f"{name} must be {allowed}, got {number}")
    return number


def whole_epoch(epoch: Any) -> int:
    """Return the number of an epoch as an integer of Python's; see `whole_number`."""
    return _whole_key("epoch", epoch)


def _whole_key(name: str, value: Any) -> int:
    number = whole_number(name, value, least=0)
    if number >= 2**64:
        raise ValueError(f"{name} must be in [0, 2**64), got {number}")
    return number


def _check_choice(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if not isinstance(value, str) or value not in allowed:
        choices = f"{', '.join(map(repr, allowed[:-1]))} or {allowed[-1]!r}"
        raise ValueError(f"{name} must be {choices}, got {value!r}")
