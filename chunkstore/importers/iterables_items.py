"""How do the items that something gives become blocks of samples?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from chunkstore.importers.arrays.file_samples import holds
from chunkstore.store.samples import as_array
from chunkstore.store.spec import ArraySpec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

# What tuples of samples are called where nobody says: inputs, targets, weights.
_USUAL_NAMES: Final = ("x", "y", "w")


def named_arrays(item: Any, names: Sequence[str] | None, where: str) -> dict[str, NDArray[Any]]:
    """Return the arrays of one item by name.

    Parameters
    ----------
    item
        A dict, a tuple or list, or an array.
    names
        Of a tuple's arrays.
    where
        Which item, for errors.

    Raises
    ------
    ValueError, TypeError
        Too many or too few arrays for the names, or something that is no array.
    """
    if isinstance(item, Mapping):
        parts = {str(name): value for name, value in item.items()}
    else:
        values = list(item) if isinstance(item, tuple | list) else [item]
        known = tuple(names) if names is not None else _USUAL_NAMES[: len(values)]
        if len(known) != len(values):
            raise ValueError(
                f"{where} holds {len(values)} arrays, and names= {len(known)}: {known}"
                if names is not None
                else f"{where} holds {len(values)} arrays; say what they are called by names="
            )
        parts = dict(zip(known, values, strict=True))
    arrays = {}
    for name, value in parts.items():
        array = as_array(name, value)
        if array.dtype.hasobject:
            raise TypeError(f"{where}: {name!r} is a {type(value).__name__}, no array")
        arrays[name] = array
    return arrays


class Stack:
    """Samples that wait to be a block.

    Parameters
    ----------
    specs
        Of their arrays.
    batched
        Whether an item holds many samples.
    """

    def __init__(self, specs: Mapping[str, ArraySpec], *, batched: bool) -> None:
        self.specs = specs
        self._batched = batched
        self._waiting: dict[str, list[NDArray[Any]]] = {name: [] for name in specs}
        self.num_samples = 0

    def add(self, item: dict[str, NDArray[Any]], where: str) -> None:
        """Take the arrays of an item in.

        Raises
        ------
        ValueError
            They are not those of the first one; says which item.
        """
        if set(item) != set(self.specs):
            raise ValueError(
                f"{where} has the arrays {sorted(item)}, expected {sorted(self.specs)}"
            )
        lengths = set()
        for name, spec in self.specs.items():
            values = item[name] if self._batched else item[name][None]
            shape = values.shape[1:]
            is_same = values.ndim and shape == spec.sample_shape and holds(spec.dtype, values.dtype)
            if not is_same:
                native = values.dtype.newbyteorder("=")
                raise ValueError(
                    f"{where}: {name!r} has samples of shape {shape} and dtype {native}, expected "
                    f"shape {spec.sample_shape} and dtype {spec.dtype}"
                )
            # The giver may use its memory again.
            self._waiting[name].append(np.array(values, spec.dtype))
            lengths.add(len(values))
        if len(lengths) > 1:
            raise ValueError(f"{where}: its arrays have different lengths {sorted(lengths)}")
        self.num_samples += lengths.pop()

    def take(self, count: int) -> dict[str, NDArray[Any]]:
        """Return the first samples, and keep the others."""
        block = {}
        for name, values in self._waiting.items():
            joined = np.concatenate(values)
            block[name] = joined[:count]
            self._waiting[name] = [joined[count:].copy()] if count < len(joined) else []
        self.num_samples -= count
        return block


def _items(samples: Any) -> Iterator[Any]:
    if hasattr(samples, "__iter__"):
        yield from samples
    elif hasattr(samples, "__getitem__") and hasattr(samples, "__len__"):
        for number in range(len(samples)):
            yield samples[number]
    else:
        raise TypeError(
            f"samples must be iterable, or have items and a length; got {type(samples).__name__}"
        )


def iter_stacks(
    samples: Any,
    names: Sequence[str] | None,
    *,
    batched: bool,
    arrays: Mapping[str, ArraySpec] | None,
) -> Iterator[Stack]:
    """Yield the samples that wait after each item; always the same stack.

    Parameters
    ----------
    samples, names, batched, arrays
        See `chunkstore.from_iter`.

    Raises
    ------
    ValueError, TypeError
        See `chunkstore.from_iter`.
    """
    stack: Stack | None = None if arrays is None else Stack(arrays, batched=batched)
    for number, item in enumerate(_items(samples)):
        where = f"item {number}"
        found = named_arrays(item, names, where)
        if stack is None:
            stack = Stack(
                {
                    name: ArraySpec(values.dtype, values.shape[1:] if batched else values.shape)
                    for name, values in found.items()
                },
                batched=batched,
            )
        stack.add(found, where)
        yield stack
    if stack is None:
        raise ValueError("the iterable gave nothing; arrays= says what an empty file holds")
    yield stack
