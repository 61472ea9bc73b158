"""How do a model's outputs reach a file as they are computed?

Batches are read in file order and the model runs on each. A thread checks the outputs and hands
them to the writer, which encodes and writes in threads of its own, while the next batch is
computed. Memory stays at a loader's budget, a few batches of outputs and a few chunks.
"""

from __future__ import annotations

import json
import os
import warnings
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from chunkstore import settings
from chunkstore.errors import ChunkStoreWarning
from chunkstore.pipeline.loader import Loader
from chunkstore.predicting.behind import Behind
from chunkstore.predicting.identity import function_digest
from chunkstore.predicting.model import open_model
from chunkstore.predicting.outputs import as_output, copied, count_nan, named_outputs
from chunkstore.predicting.resuming import (
    declare_outputs,
    is_checkpoint,
    open_writer,
    source_digest,
)
from chunkstore.progress import progress_bar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import DTypeLike, NDArray

    from chunkstore.predicting.model import Predictor
    from chunkstore.store.store import Store
    from chunkstore.store.writer import Writer

_DEFAULT_BATCH_SIZE = 256
# Of float features, zstd's smaller files cost three times the processor time.
_CODEC = "lz4"
_LEVEL = 5


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
    resume: bool = True,
    tag: str | None = None,
    progress: bool | None = None,
) -> None:
    """Run a model over stored samples and write its outputs into a new file, sample by sample.

    Parameters
    ----------
    model
        A Keras model (its ``predict_on_batch`` is called); a torch module (evaluated without
        gradients on its device; a tuple of inputs becomes positional, a dict named arguments); or a
        function. It makes of the inputs of a batch an array, a tuple or list of arrays, or a dict
        of arrays, each with one entry a sample.
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
        ``"output_0"``, ``"output_1"`` and so on. If all are names of layers of a Keras model, the
        outputs of these layers are stored.
    dtype
        Type of the stored outputs, default as computed.
    keep
        Names of the source's arrays that are copied along, for example labels.
    codec, level
        See `chunkstore.create`. Default: lz4 of level 5, which takes the least from a model that
        computes on the same processors; ``codec="zstd", level=1`` makes smaller files.
    attributes, overwrite
        See `chunkstore.create`.
    resume
        Go on with ``out + ".partial"`` where a run with the same model, source and arguments was
        killed. The result equals that of a run that nothing interrupted, byte for byte.
    tag
        Your name for what the model computes, in place of a digest of its structure, code and
        weights. A function that depends on what a digest cannot see, such as an open file or a
        module without a version, needs one to go on; so does a transform of the loader.
    progress
        Show a bar on stderr; None shows it on a terminal when the work takes over a second.

    Raises
    ------
    ValueError
        An output with another number of samples than the batch, or that changes its shape or type;
        a name that is missing or taken twice; a value that ``dtype`` cannot hold.
    ExistingFileError
        The file exists, or an unfinished one that was begun by another run, and ``overwrite`` is
        False.
    ChunkStoreError
        Reading or writing failed.

    Warns
    -----
    ChunkStoreWarning
        An output has NaN; it is stored as it is.

    Notes
    -----
    After an error there is no ``out``; what was computed stays in ``out + ".partial"``, see
    `Writer`. A run that can be resumed makes its outputs durable about twenty times on its way, and
    goes back to the last time. Arrays in memory are read once more for the digest of the source.
    What a resumable run depends on stays in the file's attribute ``predict``.

    From a source without samples the model gets one batch of none, so that the shapes of
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
    if codec is None and level is None and settings.current() == settings.Settings():
        codec, level = _CODEC, _LEVEL
    kept = (keep,) if isinstance(keep, str) else tuple(keep)
    names = (outputs,) if isinstance(outputs, str) else None if outputs is None else tuple(outputs)
    with (
        _file_order_loader(source, arrays, batch_size, kept) as loader,
        open_model(model, names or (), tag=tag, with_digest=resume) as predictor,
    ):
        state = None
        if resume and predictor.digest is not None:
            state = _state_of(predictor.digest, loader, names, dtype, tag)
        with open_writer(
            out,
            state,
            num_samples=loader.num_samples,
            attributes=attributes or {},
            overwrite=overwrite,
            codec=codec,
            level=level,
        ) as writer:
            first = writer.num_samples
            with progress_bar(
                loader.num_samples, what="predicting", unit="samples", show=progress
            ) as move:
                move(first)
                nan_counts = _predict_into(
                    writer,
                    loader,
                    predictor,
                    names,
                    dtype,
                    has_checkpoints=state is not None,
                    move=move,
                )
    for name, nan_count in nan_counts.items():
        warnings.warn(
            f"{os.fspath(out)}: output {name!r} has NaN in {nan_count} of "
            f"{loader.num_samples - first} samples",
            ChunkStoreWarning,
            stacklevel=2,
        )


def _state_of(
    digest: str,
    loader: Loader,
    names: Sequence[str] | None,
    dtype: DTypeLike | None,
    tag: str | None,
) -> dict[str, Any] | None:
    """Return what the outputs follow from, as it comes back from JSON; None if that is unknown."""
    transforms = {name: function_digest(step) for name, step in loader.transform.items()}
    if None in transforms.values() and tag is None:
        return None
    inputs, kept = loader.names  # type: ignore[misc]  # made by _file_order_loader
    used = dict(zip(leaves(loader.names), leaves(loader.empty_batch), strict=True))
    state = {
        "model": digest,
        "source": source_digest(loader.arrays, used),
        "arrays": inputs,
        "types": {name: array.dtype.str for name, array in used.items()},
        "batch_size": loader.batch_size,
        "outputs": names,
        "dtype": None if dtype is None else np.dtype(dtype).str,
        "keep": list(kept),
        "transform": transforms,
    }
    return json.loads(json.dumps(state))  # type: ignore[no-any-return]


def _predict_into(
    writer: Writer,
    loader: Loader,
    predictor: Predictor,
    names: Sequence[str] | None,
    dtype: DTypeLike | None,
    *,
    has_checkpoints: bool,
    move: Callable[[int], None],
) -> Counter[str]:
    """Compute and write what is missing; return the samples with NaN of each output with some."""
    work = _Writing(writer, loader, names, dtype, has_checkpoints=has_checkpoints)
    try:
        with Behind(work) as behind:
            has_batches = len(loader) > 0
            first = writer.num_samples // loader.batch_size
            batches = loader.iter_epoch(0, first) if has_batches else [loader.empty_batch]
            for inputs, kept in batches:
                count = len(next(leaves(inputs)))
                outputs = predictor.call(inputs)
                if not predictor.is_fresh:
                    # The function may fill the same memory again for the next batch.
                    outputs = copied(outputs)
                behind.put((count, outputs, kept))
                move(count)
    except BaseException:
        if has_checkpoints and work.can_go_on:
            # Back to the last checkpoint: what is behind it would end elsewhere in another run.
            writer.abort()
        raise
    return +work.nan_counts


class _Writing:
    """Checks and writes the outputs of one batch after the other."""

    def __init__(
        self,
        writer: Writer,
        loader: Loader,
        names: Sequence[str] | None,
        dtype: DTypeLike | None,
        *,
        has_checkpoints: bool,
    ) -> None:
        self._writer = writer
        self._sizes = {"num_samples": loader.num_samples, "batch_size": loader.batch_size}
        self._names, self._dtype = names, dtype
        self._has_checkpoints = has_checkpoints
        self.can_go_on = writer.num_samples > 0
        self.nan_counts: Counter[str] = Counter()

    def __call__(self, batch: tuple[int, Any, dict[str, NDArray[Any]]]) -> None:
        count, outputs, kept = batch
        writer = self._writer
        computed = {
            name: as_output(name, value, count, self._dtype)
            for name, value in named_outputs(outputs, self._names).items()
        }
        if twice := sorted(set(computed) & set(kept)):
            raise ValueError(f"{', '.join(twice)}: name of an output and of an array to keep")
        if not writer.specs:
            declare_outputs(writer, {**computed, **kept}, **self._sizes)
        writer.append_mapping({**computed, **kept})
        if self._has_checkpoints and is_checkpoint(
            writer.num_samples,
            [spec.chunk_length or 1 for spec in writer.specs.values()],
            **self._sizes,
        ):
            writer.flush()
            self.can_go_on = True
        self.nan_counts.update({name: count_nan(array) for name, array in computed.items()})


def _file_order_loader(
    source: Any, arrays: Any, batch_size: int | None, keep: tuple[str, ...]
) -> Loader:
    """Return a loader of ``(inputs, kept arrays)`` in file order."""
    options: dict[str, Any] = {}
    types: dict[str, Any] = {}
    if isinstance(source, Loader):
        form = source.names
        if form is None:
            form = {name: name for name in getattr(source.arrays, "sample_arrays", source.arrays)}
        delivered = zip(leaves(form), leaves(source.empty_batch), strict=True)
        types = {name: array.dtype for name, array in delivered if name in source.arrays}
        if arrays is None:
            arrays = form[0] if isinstance(form, tuple | list) else form
        batch_size = batch_size or source.batch_size
        options["memory"] = source.memory
        # The model was trained on what the loader delivers.
        taken = set(leaves(arrays))
        options["transform"] = {name: f for name, f in source.transform.items() if name in taken}
        source = source.arrays
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
        batch_size=_DEFAULT_BATCH_SIZE if batch_size is None else batch_size,
        dtype={name: types[name] for name in leaves(arrays) if name in types},
        shuffle=False,
        last="keep",
        rank=0,
        world_size=1,
        **options,
    )


def leaves(form: Any) -> Iterator[Any]:
    """Yield what stands in the tuples, lists and dicts of a structure."""
    if isinstance(form, Mapping):
        form = list(form.values())
    if isinstance(form, tuple | list):
        for part in form:
            yield from leaves(part)
    else:
        yield form
