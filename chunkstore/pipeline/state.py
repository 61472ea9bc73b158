"""Where does an iteration stand, as JSON?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from chunkstore.plan.epoch import Last

STATE_VERSION: Final = 1
# The name of the order that `chunkstore.plan` defines. Another order needs another name.
ORDER_VERSION: Final = "window-v1"


@dataclass(frozen=True)
class OrderIdentity:
    """Everything but the position that a sample order depends on.

    Attributes
    ----------
    layout
        Fingerprint of the data.
    subset
        Digest of the samples that are eligible and of their weights; None for all, each once.
    seed, batch, shuffle, lanes, window, run, last
        The loader's arguments; ``window`` as it was resolved, and like ``run`` None without
        shuffle.
    """

    # The first difference is the one that is named: causes stand before what follows from them.
    layout: str
    subset: str | None
    seed: int
    batch: int
    shuffle: bool
    lanes: int
    window: int | None
    run: int | None
    last: Last

    def state(self, *, epoch: int, step: int) -> dict[str, Any]:
        """Return the JSON position behind ``step`` delivered batches of an epoch."""
        versions = {"v": STATE_VERSION, "order": ORDER_VERSION}
        return versions | asdict(self) | {"epoch": epoch, "step": step}

    def position(
        self, state: Mapping[str, Any], *, num_batches: int, strict: bool
    ) -> tuple[int, int]:
        """Return the epoch and step of a state.

        Parameters
        ----------
        state
            What `state` returned, perhaps through JSON.
        num_batches
            Batches of an epoch.
        strict
            False restarts the state's epoch where the order is another one.

        Raises
        ------
        TypeError
            If the state is not a mapping.
        ValueError
            If it is not a state, or (with ``strict``) of another order: the message names the
            field.
        """
        if not isinstance(state, Mapping):
            raise TypeError(f"a state is a dict, got {type(state).__name__}")
        epoch = _read_count(state, "epoch", 2**64 - 1)
        difference = self._difference(state)
        if difference is None:
            return epoch, _read_count(state, "step", num_batches)
        if strict:
            raise ValueError(difference)
        return epoch, 0

    def _difference(self, state: Mapping[str, Any]) -> str | None:
        for field, value in self.state(epoch=0, step=0).items():
            if field in ("epoch", "step"):
                continue
            if field not in state:
                return f"the state has no field {field!r}"
            # True is equal to 1, and an array to nothing and everything.
            if type(state[field]) is not type(value) or state[field] != value:
                return (
                    f"the state has {field}={state[field]!r}, this loader {field}={value!r}: "
                    f"the order is another one; strict=False restarts the epoch"
                )
        return None


def _read_count(state: Mapping[str, Any], field: str, largest: int) -> int:
    value = state.get(field)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= largest:
        raise ValueError(f"the state's {field} must be an integer in [0, {largest}], got {value!r}")
    return value
