"""Which part of a split does a sample belong to?

A part is decided by a hash of the sample's own id (its number, its chunk, its group), so samples
that are appended later change nothing for those that were there.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from numbers import Real
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from chunkstore.plan.hashing import keyed_words, unit_interval
from chunkstore.plan.random import SPLIT, stream_key

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import ArrayLike, NDArray

# Members of a class are dealt in blocks of so many, each with the wanted fractions. A class is cut
# off inside a block at worst, so it is never far from them.
_BLOCK: Final = 16

# Part of a sample that no part takes, where the fractions sum to less than 1.
NO_PART: Final = -1


def check_fractions(fractions: Mapping[str, Any]) -> None:
    """Raise unless the parts of a split have names and fractions that sum to 1 at most.

    Raises
    ------
    TypeError
        If it is no dict, or a fraction no number.
    ValueError
        If there is no part, or a fraction is negative, or they sum to more.

    Examples
    --------
    >>> check_fractions({"train": 0.8, "val": 0.3})
    Traceback (most recent call last):
    ValueError: fractions must be at least 0 and sum to 1 at most, got {'train': 0.8, 'val': 0.3}
    """
    if not isinstance(fractions, Mapping):
        raise TypeError(
            "fractions must be a dict such as {'train': 0.8, 'val': 0.2}, got "
            f"{type(fractions).__name__}"
        )
    for name, value in fractions.items():
        if isinstance(value, bool) or not isinstance(value, Real):
            raise TypeError(f"the fraction of part {name!r} must be a number, got {value!r:.80}")
    values = list(fractions.values())
    if not values:
        raise ValueError("a split needs at least one part, such as {'train': 0.8, 'val': 0.2}")
    # Written without a comparison that NaN passes.
    if not all(value >= 0 for value in values) or not math.fsum(values) <= 1 + 1e-9:
        raise ValueError(
            f"fractions must be at least 0 and sum to 1 at most, got {dict(fractions)}"
        )


def split_ids(ids: ArrayLike, fractions: Iterable[float], *, seed: int) -> NDArray[np.intp]:
    """Return the part of each id: a pure function of the id, the fractions and the seed.

    Parameters
    ----------
    ids
        Integers of any kind, shape ``(n,)``: sample numbers, chunk numbers, or ids of groups from
        `group_ids`. Equal ids go to the same part.
    fractions
        Of each part; what is missing to 1 is left out.
    seed
        In ``[0, 2**64)``.

    Returns
    -------
    parts
        Shape ``(n,)``: index of the part, or `NO_PART`. With growing fractions a part only gains:
        10 percent of a set are among its 20 percent.

    Examples
    --------
    >>> split_ids(range(10), [0.5, 0.5], seed=0).tolist()
    [0, 1, 0, 0, 0, 1, 0, 0, 1, 1]
    """
    numbers = np.asarray(ids)
    if numbers.dtype.kind not in "iu":
        raise TypeError(f"ids must be integers, got {numbers.dtype}; see group_ids")
    words = keyed_words(stream_key(seed, purpose=SPLIT), numbers.astype(np.uint64))
    return _parts_of(unit_interval(words), fractions)


def split_stratified(
    labels: ArrayLike,
    fractions: Iterable[float],
    *,
    seed: int,
    sources: ArrayLike | None = None,
) -> NDArray[np.intp]:
    """Return the part of each sample, with the wanted fractions inside every class.

    The members of a class are dealt in blocks of sixteen in their order, each block in a random
    order of its own: a class is within a few samples of the wanted fractions, however small it is.

    Parameters
    ----------
    labels
        Class of each sample, shape ``(n,)``: integers, strings, booleans or dates.
    fractions, seed
        As in `split_ids`.
    sources
        Which of several files each sample is from, shape ``(n,)``, integers from 0: the members of
        a class are dealt in each file by itself. None if there is but one.

    Returns
    -------
    parts
        Shape ``(n,)``. Samples that are appended to a source change nothing for those before them,
        nor for those of other sources.

    Raises
    ------
    TypeError
        If labels are something else, such as fractions.

    Examples
    --------
    >>> labels = np.repeat(["cat", "dog"], [32, 16])
    >>> parts = split_stratified(labels, [0.75, 0.25], seed=0)
    >>> [np.bincount(parts[labels == name]).tolist() for name in ("cat", "dog")]
    [[24, 8], [12, 4]]
    """
    values = _one_axis(labels, "labels")
    classes, members = np.unique(values, return_inverse=True)
    class_ids = group_ids(classes, argument="stratify")
    # decks: (source, class) as one number; each is dealt by itself.
    decks = members
    if sources is not None:
        decks = _one_axis(sources, "sources").astype(np.int64) * len(classes) + members
    order = np.argsort(decks, kind="stable")
    found, sizes = np.unique(decks, return_counts=True)
    starts = np.cumsum(sizes) - sizes
    places = np.empty(len(values))
    for deck, start, size in zip(found.tolist(), starts.tolist(), sizes.tolist(), strict=True):
        source, member = divmod(deck, len(classes))
        places[order[start : start + size]] = _dealt_places(
            size, class_id=int(class_ids[member]), source=source, seed=seed
        )
    return _parts_of(places, fractions)


def group_ids(groups: ArrayLike, *, argument: str = "groups") -> NDArray[np.uint64]:
    """Return a 64-bit id for each value: integers as they are, anything else by its bytes.

    Parameters
    ----------
    groups
        Shape ``(n,)``: integers, strings, bytes, dates.
    argument
        What messages call them.

    Raises
    ------
    TypeError
        If they are something else.

    Examples
    --------
    >>> group_ids([3, 3, 5]).tolist()
    [3, 3, 5]
    >>> ids = group_ids(["patient 1", "patient 2", "patient 1"])
    >>> bool(ids[0] == ids[2]), bool(ids[0] == ids[1])
    (True, False)
    """
    values = _one_axis(groups, argument)
    if values.dtype.kind in "iub":
        return values.astype(np.uint64)
    if values.dtype.kind not in "USMmT":
        cut = "; numpy.digitize cuts numbers into classes" if values.dtype.kind == "f" else ""
        raise TypeError(
            f"{argument} must be integers, strings, booleans or dates, got {values.dtype}{cut}"
        )
    distinct, inverse = np.unique(values, return_inverse=True)
    words = [_word_of_text(str(value)) for value in distinct.tolist()]
    return np.array(words, np.uint64)[inverse]


def _dealt_places(count: int, *, class_id: int, source: int, seed: int) -> NDArray[np.float64]:
    """Return places in ``[0, 1)`` for a class, the sixteen of each block evenly spread."""
    num_blocks = -(-count // _BLOCK)
    # A block is dealt whole, so that its members keep their places when the class grows.
    ranks = np.arange(num_blocks * _BLOCK, dtype=np.uint64)
    words = keyed_words(stream_key(seed, purpose=SPLIT, a=1 + source, b=class_id), ranks)
    cells = words.reshape(num_blocks, _BLOCK).argsort(axis=1).argsort(axis=1).ravel()
    # The word's low bits, which hardly decided its rank, place it inside its cell.
    inside = unit_interval(words << np.uint64(32))
    places: NDArray[np.float64] = ((cells + inside) / _BLOCK)[:count]
    return places


def _parts_of(places: NDArray[np.float64], fractions: Iterable[float]) -> NDArray[np.intp]:
    """Return which part's interval each place in ``[0, 1)`` falls into."""
    limits = np.cumsum(np.fromiter(fractions, np.float64))
    # Fractions that sum to 1 in words leave nothing out in floating point either.
    if len(limits) and abs(limits[-1] - 1) < 1e-9:
        limits[-1] = 1.0
    parts = np.searchsorted(limits, places, side="right").astype(np.intp, copy=False)
    parts[parts == len(limits)] = NO_PART
    return parts


def _one_axis(values: ArrayLike, what: str) -> NDArray[Any]:
    array = np.asarray(values)
    if array.ndim != 1:
        raise ValueError(f"{what} must have one axis, got shape {array.shape}")
    return array


def _word_of_text(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
