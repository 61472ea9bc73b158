"""Which arrays do the outputs of a batch become: names, shapes, types?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import DTypeLike, NDArray


def named_outputs(value: Any, names: Sequence[str] | None) -> dict[str, Any]:
    """Return the outputs of a batch by name.

    Parameters
    ----------
    value
        What a model returned: an array, a tuple or list, or a dict.
    names
        Those that are wanted of a dict; names for the others. None: all, with names of ours.
    """
    if isinstance(value, Mapping):
        if names is None:
            return _flat(dict(value))
        if missing := [name for name in names if name not in value]:
            raise ValueError(
                f"the model has no output {', '.join(missing)}; there are {', '.join(value)}"
            )
        return _flat({name: value[name] for name in names})
    parts = list(value) if isinstance(value, tuple | list) else [value]
    if names is None:
        given = ["output"] if len(parts) == 1 else [f"output_{i}" for i in range(len(parts))]
    else:
        given = list(names)
    if len(given) != len(parts) or len(set(given)) != len(given):
        raise ValueError(
            f"the model returns {len(parts)} outputs, but outputs names {len(set(given))} "
            f"different ones: {', '.join(given)}"
        )
    return _flat(dict(zip(given, parts, strict=True)))


def _flat(outputs: dict[str, Any]) -> dict[str, Any]:
    """Return outputs by name, which are arrays and not structures of arrays."""
    if not outputs:
        raise ValueError("the model returned no output: an empty dict, tuple or list")
    for name, value in outputs.items():
        is_list = isinstance(value, list)
        has_arrays = is_list and any(np.ndim(part) > 0 for part in value[:1])
        if isinstance(value, tuple | Mapping) or has_arrays:
            raise ValueError(
                f"output {name!r} is a {type(value).__name__} of arrays; a model returns an array, "
                "or one tuple, list or dict of arrays"
            )
    return outputs


def copied(value: Any) -> Any:
    """Return outputs in memory of their own, in their structure."""
    if isinstance(value, Mapping):
        return {name: copied(part) for name, part in value.items()}
    if isinstance(value, tuple | list):
        return [copied(part) for part in value]
    return np.array(_from_torch(value))


def _from_torch(value: Any) -> Any:
    """Return a torch tensor as an array, bfloat16 as float32; anything else as it is."""
    if not (hasattr(value, "detach") and hasattr(value, "cpu")):
        return value
    value = value.detach().cpu()
    return (value.float() if str(value.dtype) == "torch.bfloat16" else value).numpy()


def as_output(name: str, value: Any, count: int, dtype: DTypeLike | None) -> NDArray[Any]:
    """Return an output as an array in memory, checked and cast."""
    array = np.asarray(_from_torch(value))
    if array.dtype.name == "bfloat16":
        # NumPy itself does not know it; each of its values is one of float32.
        array = array.astype(np.float32)
    if array.ndim == 0 or len(array) != count:
        raise ValueError(
            f"output {name!r} has shape {array.shape} for a batch of {count} samples; it must have "
            "one entry a sample"
        )
    if dtype is None or array.dtype == np.dtype(dtype):
        return array
    return _cast(name, array, np.dtype(dtype))


def _cast(name: str, array: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return an output in another type, refusing values that it cannot hold."""
    if array.dtype.kind == "c" and dtype.kind != "c":
        raise ValueError(
            f"output {name!r}: {dtype} holds no complex numbers, such as {array.dtype}"
        )
    if dtype.kind == "b" and array.dtype.kind != "b":
        raise ValueError(f"output {name!r}: {dtype} holds no numbers, such as {array.dtype}")
    if dtype.kind in "iu" and array.dtype.kind in "iuf" and array.size:
        bounds = np.iinfo(dtype)
        # Python numbers compare exactly. Written so that NaN fails as well; fractions are cut off.
        smallest, largest = array.min().item(), array.max().item()
        if not (smallest > bounds.min - 1 and largest < bounds.max + 1):
            raise ValueError(
                f"output {name!r}: {dtype} holds {bounds.min} to {bounds.max}, the values go from "
                f"{smallest} to {largest}"
            )
    with np.errstate(over="raise"):
        try:
            return array.astype(dtype)
        except FloatingPointError:
            largest = np.abs(array[np.isfinite(array)]).max()
            raise ValueError(
                f"output {name!r}: {dtype} holds magnitudes up to {np.finfo(dtype).max}, the "
                f"largest value has {largest}"
            ) from None


def count_nan(array: NDArray[Any]) -> int:
    """Return how many samples have a NaN."""
    if array.dtype.kind not in "fc":
        return 0
    is_nan = np.isnan(array)
    # Nearly always there is none, and then the look at the samples is spared.
    return int(is_nan.reshape(len(array), -1).any(axis=1).sum()) if is_nan.any() else 0
