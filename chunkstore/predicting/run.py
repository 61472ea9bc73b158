"""How do a model's outputs reach a file as they are computed?

Batches are read in file order and the model runs on each. A thread checks the outputs and hands
them to the writer, which encodes and writes in threads of its own, while the next batch is
computed. Memory stays at a loader's budget, a few batches of outputs and a few chunks.
"""

from __future__ import annotations

import contextlib
import json
import os
import warnings
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from chunkstore import settings
from chunkstore.errors import ChunkStoreWarning
from chunkstore.predicting.behind import Behind
from chunkstore.predicting.identity import function_digest
from chunkstore.predicting.model import open_model
from chunkstore.predicting.outputs import as_output, copied, count_nan, named_outputs
from chunkstore.predicting.resuming import (
    declare_outputs,
    is_checkpoint,
    nan_counts_of,
    note_nan_counts,
    open_writer,
    source_digest,
    storage_state,
)
from chunkstore.predicting.source import file_order_loader, leaves
from chunkstore.progress import progress_bar
from chunkstore.store.store import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import DTypeLike, NDArray

    from chunkstore.pipeline.loader import Loader
    from chunkstore.predicting.model import Predictor
    from chunkstore.store.store import Store
    from chunkstore.store.writer import Writer

# Of float features, zstd's smaller files cost three times the processor time.
_CODEC = "lz4"
_LEVEL = 5


def predict(
    model: Any,
    source: Loader | Store | Mapping[str, Any] | str | os.PathLike[str],
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
        of arrays, each with one entry a sample. bfloat16 is stored as float32.
    source
        A store or its path, or a mapping of arrays; or a loader, of which the data, the structure
        and the batch size are taken. Samples are read in file order, whether the loader shuffles or
        not. If the batches of a loader are tuples, the first part is the model's input.
    out
        The new file; it appears when it is complete.
    arrays
        Which arrays of a store are the model's input, in the structure that it takes; may be left
        out if there is only one.
    batch_size
        Samples the model gets at a time, default 256 or the loader's.
    outputs
        Names of the arrays in the new file. Default: the keys of a dict; else ``"output"``, or
        ``"output_0"``, ``"output_1"`` and so on. Names of layers of a functional or sequential
        Keras model store the outputs of these layers.
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
        Your name for what the model computes, in place of a digest of its structure, code, weights
        and attributes. A model that depends on what a digest cannot see, such as an open file or a
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
        An output has NaN; it is stored as it is. Said also before an error.

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
    with contextlib.ExitStack() as stack:
        if isinstance(source, str | os.PathLike):
            source = stack.enter_context(open_store(source))
        loader = stack.enter_context(file_order_loader(source, arrays, batch_size, kept))
        predictor = stack.enter_context(open_model(model, names or (), tag=tag, with_digest=resume))
        state = None
        if resume and predictor.digest is not None:
            storage = {"codec": codec, "level": level}
            state = _state_of(predictor.digest, loader, names, dtype, tag, storage)
        with open_writer(
            out,
            state,
            num_samples=loader.num_samples,
            attributes=attributes or {},
            overwrite=overwrite,
            is_unseen=resume and state is None,
            codec=codec,
            level=level,
        ) as writer:
            work = _Writing(writer, loader, names, dtype, has_checkpoints=state is not None)
            with progress_bar(
                loader.num_samples, what="predicting", unit="samples", show=progress
            ) as move:
                move(writer.num_samples)
                try:
                    _predict_into(work, loader, predictor, move)
                except BaseException:
                    # The error is the news; a warning that is made an error must not hide it.
                    with contextlib.suppress(ChunkStoreWarning):
                        _report_nan(out, work)
                    raise
    _report_nan(out, work)


def _report_nan(out: str | os.PathLike[str], work: _Writing) -> None:
    for name, count in sorted(work.nan_counts.items()):
        warnings.warn(
            f"{os.fspath(out)}: output {name!r} has NaN in {count} of {work.num_done} samples",
            ChunkStoreWarning,
            stacklevel=3,
        )


def _state_of(
    digest: str,
    loader: Loader,
    names: Sequence[str] | None,
    dtype: DTypeLike | None,
    tag: str | None,
    storage: dict[str, Any],
) -> dict[str, Any] | None:
    """Return what the outputs follow from, as it comes back from JSON; None if that is unknown."""
    transforms = {name: function_digest(step) for name, step in loader.transform.items()}
    if None in transforms.values() and tag is None:
        return None
    inputs, kept = loader.names  # type: ignore[misc]  # made by _file_order_loader
    used = dict(zip(leaves(loader.names), leaves(loader.empty_batch), strict=True))
    state = {
        "model": None if tag is not None else digest,
        "tag": tag,
        "source": source_digest(loader.arrays, used),
        "arrays": inputs,
        "types": {name: array.dtype.str for name, array in used.items()},
        "batch_size": loader.batch_size,
        "outputs": names,
        "dtype": None if dtype is None else np.dtype(dtype).str,
        "keep": list(kept),
        "transform": transforms,
        **storage_state(**storage),
    }
    return json.loads(json.dumps(state))  # type: ignore[no-any-return]


def _predict_into(
    work: _Writing, loader: Loader, predictor: Predictor, move: Callable[[int], None]
) -> None:
    """Compute and write what is missing."""
    inputs_form, kept_form = loader.names  # type: ignore[misc]  # made by file_order_loader
    # The loader delivers an array that is named twice once, and the model may write to its inputs.
    shared = set(leaves(inputs_form)) & set(kept_form)
    try:
        with Behind(work) as behind:
            first = work.num_done // loader.batch_size
            has_batches = len(loader) > 0
            batches = loader.iter_epoch(0, first) if has_batches else [loader.empty_batch]
            for inputs, delivered in batches:
                kept = {
                    name: array.copy() if name in shared else array
                    for name, array in delivered.items()
                }
                count = len(next(leaves(inputs)))
                outputs = predictor.call(inputs)
                if not predictor.is_fresh:
                    # The function may fill the same memory again for the next batch.
                    outputs = copied(outputs)
                behind.put((count, outputs, kept))
                move(count)
    except BaseException:
        work.go_back()
        raise


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
        self._can_go_on = writer.num_samples > 0
        self.num_done = writer.num_samples
        # Of the whole run, also of its part before a kill.
        self.nan_counts = Counter(nan_counts_of(writer))

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
        self.num_done += count
        self.nan_counts.update({name: count_nan(array) for name, array in computed.items()})
        self.nan_counts = +self.nan_counts
        if self._has_checkpoints:
            note_nan_counts(writer, self.nan_counts)
        if self._has_checkpoints and is_checkpoint(
            writer.num_samples,
            [spec.chunk_length or 1 for spec in writer.specs.values()],
            **self._sizes,
        ):
            writer.flush()
            self._can_go_on = True

    def go_back(self) -> None:
        """Drop what is behind the last checkpoint: in another run it would end elsewhere."""
        if self._has_checkpoints and self._can_go_on:
            self._writer.abort()
