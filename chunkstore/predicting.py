"""How do a model's outputs reach a file as they are computed?

Batches are read in file order, the model runs on each, and the writer encodes and writes in its
own threads while the next batch is computed. Memory stays at a loader's budget and a few chunks.
"""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from chunkstore.errors import ChunkStoreWarning
from chunkstore.pipeline.loader import Loader
from chunkstore.progress import progress_bar
from chunkstore.store.creating import create

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

    from chunkstore.store.store import Store

_DEFAULT_BATCH_SIZE = 256


def predict(
    model: Any,
    source: Loader | Store | Mapping[str, Any],
    out: str | os.PathLike[str],
    *,
    arrays: Any = None,
    batch_size: int | None = None,
    outputs: str | Sequence[str] | None = None,
    dtype: DTypeLike | None = None,
    keep: str | Sequence[str] = (),
    codec: str | None = None,
    level: int | None = None,
    attributes: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    progress: bool | None = None,
) -> None:
    """Run a model over stored samples and write its outputs into a new file, sample by sample.

    Parameters
    ----------
    model
        A Keras model (its ``predict_on_batch`` is called), or a function from the inputs of a batch
        to an array, a tuple or list of arrays, or a dict of arrays, each with one entry a sample.
    source
        A store or a mapping of arrays; or a loader, of which the data, the structure and the batch
        size are taken. Samples are read in file order, whether the loader shuffles or not. If the
        batches of a loader are tuples, the first part is the model's input.
    out
        The new file; it appears when it is complete.
    arrays
        Which arrays of a store are the model's input, in the structure that it takes; may be left
        out if there is only one.
    batch_size
        Samples the model gets at a time, default 256 or the loader's.
    outputs
        Names of the arrays in the new file. Default: the keys of a dict; else ``"output"``, or
        ``"output_0"``, ``"output_1"`` and so on.
    dtype
        Type of the stored outputs, default as computed.
    keep
        Names of the source's arrays that are copied along, for example labels.
    codec, level, attributes, overwrite
        See `chunkstore.create`.
    progress
        Show a bar on stderr; None shows it on a terminal when the work takes over a second.

    Raises
    ------
    ValueError
        An output with another number of samples than the batch, or that changes its shape or type;
        a name that is missing or taken twice; a value that ``dtype`` cannot hold.
    ChunkStoreError
        Reading or writing failed.

    Warns
    -----
    ChunkStoreWarning
        An output has NaN; it is stored as it is.

    Notes
    -----
    After an error there is no ``out``; what was computed stays in ``out + ".partial"``, see
    `Writer`. From a source without samples the model gets one batch of none, so that the shapes of
    the outputs are known.

    Examples
    --------
    >>> import numpy as np, tempfile, os, chunkstore as cs
    >>> path = os.path.join(tempfile.mkdtemp(), "squares.zarr.zip")
    >>> cs.predict(lambda x: x**2, {"x": np.arange(5), "y": np.arange(5)}, path,
    ...            arrays="x", keep="y")
    >>> cs.load(path)["output"].tolist()
    [0, 1, 4, 9, 16]
    """
    kept = (keep,) if isinstance(keep, str) else tuple(keep)
    call = _call_of(model)
    nan_counts: Counter[str] = Counter()
    with (
        _file_order_loader(source, arrays, batch_size, kept) as loader,
        create(out, codec=codec, level=level, attributes=attributes, overwrite=overwrite) as writer,
        progress_bar(loader.num_samples, what="predicting", unit="samples", show=progress) as move,
    ):
        for inputs, copied in loader if len(loader) else [loader.empty_batch]:
            count = _num_samples(inputs)
            named = _named_outputs(call(inputs), outputs)
            results = {name: _as_output(name, value, count, dtype) for name, value in named.items()}
            if twice := sorted(set(results) & set(copied)):
                raise ValueError(f"{', '.join(twice)}: name of an output and of an array to keep")
            writer.append_mapping({**results, **copied})
            nan_counts += {name: _count_nan(value) for name, value in results.items()}
            move(count)
    for name, nan_count in nan_counts.items():
        warnings.warn(
            f"{os.fspath(out)}: output {name!r} has NaN in {nan_count} of {loader.num_samples} "
            "samples",
            ChunkStoreWarning,
            stacklevel=2,
        )


def _call_of(model: Any) -> Callable[[Any], Any]:
    """Return what computes the outputs of one batch."""
    on_batch = getattr(model, "predict_on_batch", None)
    if callable(on_batch):
        return on_batch  # type: ignore[no-any-return]  # Keras ships no types
    if callable(model):
        return model  # type: ignore[no-any-return]
    raise TypeError(
        "predict takes a Keras model or a function from a batch's inputs to its outputs, got "
        f"{type(model).__name__}"
    )


def _file_order_loader(
    source: Any, arrays: Any, batch_size: int | None, keep: tuple[str, ...]
) -> Loader:
    """Return a loader of ``(inputs, kept arrays)`` in file order."""
    if isinstance(source, Loader):
        form: Any = source.names if arrays is None else arrays
        if arrays is None and isinstance(form, tuple | list):
            form = form[0]
        return Loader(
            source.arrays,
            (form, {name: name for name in keep}),
            batch_size=batch_size or source.batch_size,
            shuffle=False,
            memory=source.memory,
            last="keep",
            rank=0,
            world_size=1,
        )
    if arrays is None:
        names = list(getattr(source, "sample_arrays", source))
        others = [name for name in names if name not in keep]
        if len(others) != 1:
            raise ValueError(
                f"the source has the arrays {', '.join(names)}; say by arrays= which of them the "
                "model takes"
            )
        arrays = others[0]
    return Loader(
        source,
        (arrays, {name: name for name in keep}),
        batch_size=batch_size or _DEFAULT_BATCH_SIZE,
        shuffle=False,
        last="keep",
        rank=0,
        world_size=1,
    )


def _num_samples(inputs: Any) -> int:
    while not isinstance(inputs, np.ndarray):
        inputs = next(iter(inputs.values() if isinstance(inputs, Mapping) else inputs))
    return len(inputs)


def _named_outputs(value: Any, names: str | Sequence[str] | None) -> dict[str, Any]:
    """Return the outputs of a batch by name."""
    if isinstance(value, Mapping):
        if names is None:
            return dict(value)
        wanted = (names,) if isinstance(names, str) else tuple(names)
        if missing := [name for name in wanted if name not in value]:
            raise ValueError(
                f"the model has no output {', '.join(missing)}; there are {', '.join(value)}"
            )
        return {name: value[name] for name in wanted}
    parts = list(value) if isinstance(value, tuple | list) else [value]
    if names is None:
        given = ["output"] if len(parts) == 1 else [f"output_{i}" for i in range(len(parts))]
    else:
        given = [names] if isinstance(names, str) else list(names)
    if len(given) != len(parts) or len(set(given)) != len(given):
        raise ValueError(
            f"the model returns {len(parts)} outputs, but outputs names {len(set(given))} "
            f"different ones: {', '.join(given)}"
        )
    return dict(zip(given, parts, strict=True))


def _as_output(name: str, value: Any, count: int, dtype: DTypeLike | None) -> NDArray[Any]:
    """Return an output as an array in memory, checked and cast."""
    array = np.asarray(value)
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


def _count_nan(array: NDArray[Any]) -> int:
    """Return how many samples have a NaN."""
    if array.dtype.kind not in "fc":
        return 0
    is_nan = np.isnan(array)
    # Nearly always there is none, and then the look at the samples is spared.
    return int(is_nan.reshape(len(array), -1).any(axis=1).sum()) if is_nan.any() else 0
