"""How does anything that Python can iterate over become one file?"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from chunkstore.errors import ChunkStoreError, CorruptionError
from chunkstore.importers.arrays.options import options_of
from chunkstore.importing.digest import add_samples
from chunkstore.importing.position import PROVENANCE, Position, import_attribute, open_import
from chunkstore.importing.run import ImportReport, read_report
from chunkstore.importing.source import Block
from chunkstore.progress import progress_bar
from chunkstore.store.samples import as_array
from chunkstore.store.spec import ArraySpec, storage_options
from chunkstore.store.store import PARTIAL_SUFFIX, open_store

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator
    from typing import Unpack

    from numpy.typing import NDArray

    from chunkstore.importers.arrays.options import StorageArguments
    from chunkstore.importing.run import ImportOptions

# What tuples of samples are called where nobody says: inputs, targets, weights.
_USUAL_NAMES: Final = ("x", "y", "w")
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
        ``codec``, ``level``, ``chunk_nbytes``, ``chunk_length``, ``attributes``, ``verify``,
        ``resume``, ``overwrite``, ``progress``; see `chunkstore.importing.run.ImportOptions`. The
        order is that of the iterable, and there is one file: nothing is shuffled or split.

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
    blocks = _blocks(samples, names, batched=batched, arrays=arrays)
    run = _Writing(out, checked, {"samples": type(samples).__qualname__, "batched": batched})
    run.write(blocks)
    return read_report(out, seconds=time.perf_counter() - started, is_verified=checked.verify)


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


class _Stack:
    """Samples that wait to be a block."""

    def __init__(self, specs: Mapping[str, ArraySpec], *, batched: bool) -> None:
        self.specs = specs
        self._batched = batched
        self._waiting: dict[str, list[NDArray[Any]]] = {name: [] for name in specs}
        self.num_samples = 0

    def add(self, item: dict[str, NDArray[Any]], where: str) -> None:
        if set(item) != set(self.specs):
            raise ValueError(
                f"{where} has the arrays {sorted(item)}, expected {sorted(self.specs)}"
            )
        lengths = set()
        for name, spec in self.specs.items():
            values = item[name] if self._batched else item[name][None]
            shape = values.shape[1:]
            native = values.dtype.newbyteorder("=")
            is_same = native == spec.dtype or (
                native.kind == spec.dtype.kind
                and native.kind in "US"
                and native.itemsize <= spec.dtype.itemsize
            )
            if not values.ndim or shape != spec.sample_shape or not is_same:
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


def _blocks(
    samples: Any,
    names: Sequence[str] | None,
    *,
    batched: bool,
    arrays: Mapping[str, ArraySpec] | None,
) -> Iterator[_Stack]:
    """Yield the samples that wait after each item; always the same stack."""
    stack: _Stack | None = None if arrays is None else _Stack(arrays, batched=batched)
    for number, item in enumerate(_items(samples)):
        where = f"item {number}"
        found = named_arrays(item, names, where)
        if stack is None:
            stack = _Stack(
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


class _Writing:
    """A file that is written from blocks, and gone on with."""

    def __init__(
        self, out: str | os.PathLike[str], options: ImportOptions, about: Mapping[str, Any]
    ) -> None:
        storage = storage_options(options.codec, options.level, None, options.chunk_nbytes)
        self._options = options
        self._provenance = {
            "kind": "iter",
            "source": about["samples"],
            **about,
            "storage": {
                "codec": storage.codec,
                "level": storage.level,
                "chunk_nbytes": storage.chunk_nbytes,
                "chunk_length": options.chunk_length,
            },
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
            chunk_nbytes=storage.chunk_nbytes,
        )
        # Of what the iterable gave in this run.
        self._position = Position()

    def write(self, stacks: Iterator[_Stack]) -> None:
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

    def _copy(self, stacks: Iterator[_Stack]) -> None:
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
            widest = max(specs, key=lambda name: specs[name].sample_nbytes)
            length = self._options.chunk_length
            self._writer.declare(
                {
                    name: replace(spec, chunk_length=length) if length and name == widest else spec
                    for name, spec in specs.items()
                }
            )
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
        path = self._writer.path + PARTIAL_SUFFIX
        with open_store(path) as store:
            for name, expected in self._position.digests.items():
                found = 0
                for chunk in store[name].iter_chunks():
                    found = add_samples(found, chunk)
                if found != expected:
                    raise CorruptionError(
                        f"array {name!r}: the new file does not hold what was given: digest "
                        f"0x{found:08x}, expected 0x{expected:08x}",
                        path,
                    )
