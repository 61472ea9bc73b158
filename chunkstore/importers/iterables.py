"""How does anything that Python can iterate over become one file?"""

from __future__ import annotations

import math
import time
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from chunkstore.errors import ChunkStoreError, CorruptionError
from chunkstore.importers.arrays.options import options_of
from chunkstore.importers.iterables_items import iter_stacks
from chunkstore.importing.comparing import compare
from chunkstore.importing.position import PROVENANCE, Position, import_attribute, open_import
from chunkstore.importing.run import ImportReport, read_report
from chunkstore.importing.source import Block
from chunkstore.importing.storage import storage_of, with_chunk_length
from chunkstore.progress import progress_bar
from chunkstore.store.store import PARTIAL_SUFFIX

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Unpack

    from numpy.typing import NDArray

    from chunkstore.importers.arrays.options import StorageArguments
    from chunkstore.importers.iterables_items import Stack
    from chunkstore.importing.run import ImportOptions
    from chunkstore.store.spec import ArraySpec

_BLOCK_NBYTES: Final = 8 << 20
_CHECKPOINT_NBYTES: Final = 64 << 20


def from_iter(
    samples: Iterable[Any],
    out: str | os.PathLike[str],
    *,
    names: Sequence[str] | None = None,
    batched: bool = False,
    arrays: Mapping[str, ArraySpec] | None = None,
    **options: Unpack[StorageArguments],
) -> ImportReport:
    """Write the samples that an iterable gives into one file, in their order.

    Parameters
    ----------
    samples
        Gives dicts of arrays by name, tuples or lists of arrays, or arrays: whatever
        ``numpy.asarray`` takes, so also tensors of torch and TensorFlow. A generator, a
        ``tf.data.Dataset``, a torch ``DataLoader`` with ``batched=True``; what has a length and
        items but cannot be iterated, as some torch datasets, is asked for its items by number.
    out
        The new file.
    names
        Of the arrays of tuples, or of the only array; by default ``x``, ``y`` and ``w``.
    batched
        Each item holds many samples along axis 0.
    arrays
        Types and sample shapes by name, where the first item does not tell them: text that may
        become longer than the first needs ``chunkstore.ArraySpec("U40")``.
    options
        ``codec``, ``level``, ``typesize``, ``chunk_nbytes``, ``chunk_length``, ``attributes``,
        ``verify``, ``resume``, ``overwrite``, ``progress``; see
        `chunkstore.importing.run.ImportOptions`. The order is that of the iterable, and there is
        one file: nothing is shuffled or split.

    Returns
    -------
    report
        What was done.

    Raises
    ------
    ValueError, TypeError
        An item with other names, shapes or types than the first; says which.
    CorruptionError
        The new file does not hold what was given.
    ChunkStoreError
        See `chunkstore.create`; or a run that was killed is gone on with and the iterable gives
        other samples than before.

    Notes
    -----
    A run that was killed is gone on with by the same call: the samples that were done are taken
    from the iterable once more and compared, then the rest is written. Memory is some 16 MiB
    beside what the iterable takes, or two batches.

    Examples
    --------
    >>> import numpy as np, chunkstore as cs
    >>> report = cs.from_iter(((np.full(3, i), i % 2) for i in range(10)), "a.zarr.zip")
    >>> report.num_samples, cs.load("a.zarr.zip")["x"].shape
    (10, (10, 3))
    """
    started = time.perf_counter()
    checked = options_of(options, own=frozenset())
    if checked.on_error != "fail":
        raise ValueError("on_error='skip' needs files to leave out; an iterable has none")
    blocks = iter_stacks(samples, names, batched=batched, arrays=arrays)
    run = _Writing(out, checked, {"samples": type(samples).__qualname__, "batched": batched})
    run.write(blocks)
    return read_report(out, seconds=time.perf_counter() - started, is_verified=checked.verify)


class _Writing:
    """A file that is written from blocks, and gone on with."""

    def __init__(
        self, out: str | os.PathLike[str], options: ImportOptions, about: Mapping[str, Any]
    ) -> None:
        self._options = options
        # The arrays are not known yet: very many of them get chunks of the usual size.
        storage = storage_of({}, options)
        self._provenance = {
            "kind": "iter",
            "source": about["samples"],
            **about,
            "storage": storage,
            "tool": f"chunkstore {version('chunkstore')}",
        }
        self._writer, self._done = open_import(
            out,
            self._provenance,
            attributes=dict(options.attributes),
            start=Position(),
            overwrite=options.overwrite,
            resume=options.resume,
            codec=options.codec,
            level=options.level,
            typesize=options.typesize,
            chunk_nbytes=storage["chunk_nbytes"],
        )
        # Of what the iterable gave in this run.
        self._position = Position()

    def write(self, stacks: Iterator[Stack]) -> None:
        """Write everything, verify, and give the file its name."""
        with self._writer as writer:
            try:
                self._copy(stacks)
                self._checkpoint()
                if self._options.verify:
                    self._verify()
            except BaseException:
                writer.abort()
                raise

    def _copy(self, stacks: Iterator[Stack]) -> None:
        length = stride = 0
        # How many there are is not known.
        with progress_bar(0, what="importing", unit="samples", show=self._options.progress) as move:
            stack = None
            for stack in stacks:
                if not length:
                    length, stride = self._declared(stack.specs)
                while stack.num_samples >= (count := self._next_length(length)):
                    self._append(stack.take(count), stride)
                    move(count)
            if stack is not None and stack.num_samples:
                move(stack.num_samples)
                self._append(stack.take(stack.num_samples), stride)
            if self._position.num_done < self._done.num_done:
                raise ChunkStoreError(
                    f"the iterable gave {self._position.num_done} samples, {self._done.num_done} "
                    "were done before the run was killed; resume=False begins anew",
                    self._writer.path,
                )

    def _next_length(self, length: int) -> int:
        """Return the samples up to the end of a block, or of what was done if that is before."""
        position, done = self._position.num_done, self._done.num_done
        count = length - position % length
        return done - position if position < done < position + count else count

    def _declared(self, specs: Mapping[str, ArraySpec]) -> tuple[int, int]:
        """Return the samples of a block, and those between checkpoints: whole blocks."""
        if not self._writer.specs:
            self._writer.declare(with_chunk_length(specs, self._options.chunk_length))
            # From now on a run that is killed leaves what says whose it is.
            self._checkpoint()
        sample_nbytes = max(1, sum(spec.sample_nbytes for spec in specs.values()))
        unit = self._writer.chunk_length
        block = max(unit, _BLOCK_NBYTES // sample_nbytes // unit * unit)
        return block, math.ceil(_CHECKPOINT_NBYTES / (block * sample_nbytes)) * block

    def _append(self, arrays: dict[str, NDArray[Any]], stride: int) -> None:
        position = self._position
        stop = position.num_done + len(next(iter(arrays.values())))
        is_done = stop <= self._done.num_done
        if not is_done:
            self._writer.append_mapping(arrays, owned=True)
        position.add(Block(arrays), stop=stop)
        if stop == self._done.num_done and position.digests != self._done.digests:
            raise ChunkStoreError(
                f"the first {stop} samples are not those that were written before the run was "
                "killed; resume=False begins anew",
                self._writer.path,
            )
        if not is_done and stop % stride == 0:
            self._checkpoint()

    def _checkpoint(self) -> None:
        self._writer.attributes[PROVENANCE] = import_attribute(self._provenance, self._position)
        self._writer.flush()

    def _verify(self) -> None:
        path, source = self._writer.path + PARTIAL_SUFFIX, self._provenance["source"]
        try:
            compare(path, self._position.digests, source, show=self._options.progress)
        except CorruptionError:
            # What is there is not to be trusted: nothing of it counts as done.
            self._position = Position()
            self._checkpoint()
            raise
