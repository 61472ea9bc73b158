"""How does a file come into being and grow?

Samples are checked, then go to array writers, which cut them into chunks; chunks go through the
pipeline to the container. What else the file needs is the draft's.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from chunkstore import system
from chunkstore.errors import ChunkStoreError
from chunkstore.store.array_writer import ArrayWriter
from chunkstore.store.draft import Draft
from chunkstore.store.encoding import ChunkPipeline
from chunkstore.store.samples import (
    as_samples,
    as_source,
    check_array_name,
    iter_blocks,
    spec_of,
)
from chunkstore.store.spec import (
    AUTO,
    ArraySpec,
    check_attributes,
    check_level_is_open,
    choose_chunk_lengths,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from chunkstore.container.writer import ContainerWriter
    from chunkstore.format.codecs import CodecChain
    from chunkstore.store.spec import Storage

_MAX_ENCODE_THREADS = 32


class Writer:
    """Writes samples to a file; made by `chunkstore.create` and `chunkstore.append`.

    Use it in a ``with`` block: leaving the block completes the file. If an exception leaves it, a
    file being created stays as ``NAME.partial`` with what was appended so far, and a file being
    appended to goes back to its last flush.

    Attributes
    ----------
    attributes
        The user's attributes of the file, JSON values; change them until the file is closed.
    keeps_unfinished
        False removes a new file that an error ends before its first flush.

    Notes
    -----
    Threads: for one thread at a time; chunks are encoded in threads of its own, at most three for
    each of them in memory. Not for a forked child, and never pickled.
    """

    def __init__(
        self,
        container: ContainerWriter,
        path: str,
        *,
        storage: Storage,
        is_new: bool,
        overwrite: bool = False,
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        self.path = path
        # The working directory may change before the file gets its name.
        self._target = os.path.abspath(path)
        self.attributes: dict[str, Any] = dict(attributes or {})
        self.keeps_unfinished = True
        self._container = container
        self._storage = storage
        self._is_new = is_new
        self._overwrite = overwrite
        self._is_uneven = False
        self._is_closed = False
        self._pid = os.getpid()
        threads = min(system.calls.available_cores(), _MAX_ENCODE_THREADS)
        self._pipeline = ChunkPipeline(container, threads=threads)
        self._draft = Draft(container, self._pipeline, is_new=is_new)
        self._token = uuid.uuid4().hex

    # ------------------------------------------------------------------ description

    @property
    def num_samples(self) -> int:
        """Samples appended so far, those of earlier writers included."""
        return self._draft.num_samples

    @property
    def specs(self) -> dict[str, ArraySpec]:
        """Data type, sample shape and chunk length of the arrays so far, by name."""
        return {
            name: replace(writer.spec, chunk_length=writer.chunk_length)
            for name, writer in self._draft.arrays.items()
        }

    @property
    def chunk_length(self) -> int:
        """Samples in the shortest chunk of the aligned arrays, 1 before the first append."""
        return min((w.chunk_length for w in self._draft.aligned.values()), default=1)

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else "open"
        return f"<chunkstore.Writer {self.path!r} {state} num_samples={self.num_samples}>"

    # ------------------------------------------------------------------ writing

    def append(self, **arrays: Any) -> None:
        """Append samples to all aligned arrays at once.

        Parameters
        ----------
        **arrays
            By name, anything that ``numpy.asarray`` takes, shape ``(n, *sample_shape)`` with the
            same ``n``. The first call decides which arrays there are, their data types and sample
            shapes; later calls give the same ones. The memory is copied: it may change as soon as
            the call returns.

        Raises
        ------
        ValueError, TypeError
            Missing or unknown names, unequal lengths, another sample shape or dtype; says what
            was expected. Nothing of the call is written then.
        SystemCallError
            The system refused to write, also for an earlier call.
        """
        self._append(arrays, owned=False)

    def append_mapping(self, arrays: Mapping[str, Any], *, owned: bool = False) -> None:
        """Append like `append`, with names that need not be Python identifiers.

        Parameters
        ----------
        arrays
            Samples by name.
        owned
            True promises that the memory does not change until `flush` or `close`: whole chunks
            are then encoded from where they lie.
        """
        self._append(dict(arrays), owned=owned)

    def _append(self, arrays: dict[str, Any], *, owned: bool) -> None:
        self._check_usable()
        if not arrays:
            raise ValueError("append needs at least one array, got none")
        aligned = self._draft.aligned
        if aligned:
            _check_names(set(arrays), set(aligned))
            specs = {name: writer.spec for name, writer in aligned.items()}
        else:
            specs = {name: spec_of(name, value) for name, value in arrays.items()}
        samples = {name: as_samples(name, arrays[name], specs[name]) for name in arrays}
        lengths = {name: len(block) for name, block in samples.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(
                "all arrays of one append must have the same number of samples, got "
                + ", ".join(f"{name}: {length}" for name, length in lengths.items())
            )
        if not aligned:
            self._start_arrays(specs)
            aligned = self._draft.aligned
        count = next(iter(lengths.values()))
        if count:
            self._draft.is_dirty = True
        position = 0
        while position < count:
            # Up to the nearest chunk end of any array: the order of chunks in the file depends on
            # the samples alone, not on how they were cut into calls.
            rooms = [writer.room for writer in aligned.values()]
            step = min(count - position, *rooms)
            self._pipeline.reserve(rooms.count(step))
            # An interrupt between two arrays would leave them at different lengths.
            self._is_uneven = True
            for name, writer in aligned.items():
                writer.append(
                    samples[name][position : position + step], self._pipeline, owned=owned
                )
            self._is_uneven = False
            position += step

    def put(
        self,
        name: str,
        array: Any,
        *,
        aligned: bool = True,
        codec: str | None = None,
        level: int | None = None,
        shuffle: str | None = None,
        typesize: int | None = None,
        chunk_length: int | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        """Add a whole array, or replace one.

        Parameters
        ----------
        name
            Of the array.
        array
            Anything with ``shape``, ``dtype`` and slices: NumPy, HDF5, zarr, dask; or what
            ``numpy.asarray`` takes. Read block by block.
        aligned
            True: one entry a sample, so its length must be `num_samples`. False: any length, for
            example a mean image or class names.
        codec, level, shuffle, typesize, chunk_length, attributes
            See `chunkstore.create` and `chunkstore.ArraySpec`.

        Raises
        ------
        ValueError
            An aligned array of another length.

        Notes
        -----
        The old array stays in force until the next `flush` or `close` has put the new one on the
        device; its bytes stay in the file, unused, until `chunkstore.compact`.
        """
        self._check_usable()
        check_array_name(name, self._draft.arrays)
        source = as_source(name, array)
        others = {other: writer for other, writer in self._draft.aligned.items() if other != name}
        if aligned and others and source.shape[0] != self.num_samples:
            raise ValueError(
                f"array {name!r} has {source.shape[0]} samples, but the file holds "
                f"{self.num_samples}; an array of another length is stored with aligned=False"
            )
        spec = ArraySpec(
            source.dtype,
            tuple(source.shape[1:]),
            codec=codec,
            level=level,
            shuffle=shuffle,
            chunk_length=chunk_length,
            attributes=dict(attributes or {}),
            typesize=typesize,
        )
        base = min((writer.chunk_length for writer in others.values()), default=None)
        lengths = choose_chunk_lengths(
            {name: spec},
            target_nbytes=self._storage.chunk_nbytes,
            base=base if aligned and chunk_length is None else None,
        )
        writer = self.array_writer(name, spec, lengths[name], aligned=aligned)
        self._pipeline.drain()
        start = self._container.position
        try:
            if name in self._draft.arrays:
                self._draft.mark_replaced(name, writer)
            for block in iter_blocks(source, writer.chunk_length):
                samples = as_samples(name, block, spec)
                position = 0
                while position < len(samples):
                    step = min(len(samples) - position, writer.room)
                    writer.append(samples[position : position + step], self._pipeline, owned=True)
                    position += step
            # The samples are the caller's until here; a last chunk that is not full is in hand.
            self._pipeline.drain()
        except BaseException:
            self._pipeline.settle()
            if not self._pipeline.has_failed:
                self._container.cut_back(start)
            raise
        self._draft.arrays[name] = writer
        self._draft.is_dirty = True

    def flush(self) -> None:
        """Make everything appended so far durable.

        When it returns, the samples are on the device and survive a crash, a full disk or a pulled
        plug. Each flush leaves a directory of some 60 bytes a chunk and a short edge chunk behind,
        so flush every few hundred MiB, not after each batch.

        Raises
        ------
        SystemCallError
            The system refused; the flush before is still in force.
        """
        self._check_usable()
        if not self._draft.is_current(self.attributes):
            self._draft.flush(self.attributes)

    def close(self) -> None:
        """Complete the file and close it; again is allowed.

        Raises
        ------
        SystemCallError
            The system refused; what was flushed before is still there.
        """
        if self._is_closed:
            return
        try:
            self._check_usable()
            if self._is_new:
                self._draft.finish(self.attributes)
                self._container.rename(self._target, overwrite=self._overwrite)
            else:
                self.flush()
        except BaseException:
            self._give_up()
            raise
        self._release(keep_tail=True)

    def abort(self) -> None:
        """Close without completing: what was not flushed is dropped. Again is allowed."""
        if not self._is_closed:
            self._release(keep_tail=False)

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        if kind is None:
            self.close()
        elif not self._is_closed:
            self._give_up()

    def _give_up(self) -> None:
        """Close after an error: a new file keeps what was appended, an old one its last flush."""
        draft = self._draft
        try:
            is_ours = os.getpid() == self._pid
            is_sound = not (self._is_uneven or draft.has_failed) and self.keeps_unfinished
            if self._is_new and draft.has_samples and is_ours and is_sound:
                # Not a finished file, but nothing is thrown away: resume or repair it.
                if not _is_json(self.attributes):
                    self.attributes = draft.written_attributes
                with contextlib.suppress(ChunkStoreError, ValueError):
                    self.flush()
        finally:
            # What a full disk has left of a new file is for `repair`.
            keep_entries = draft.has_samples and draft.has_failed and self.keeps_unfinished
            self._release(keep_tail=False, keep_entries=keep_entries)

    def __reduce__(self) -> Any:
        raise TypeError(
            "a chunkstore.Writer cannot be pickled or copied: it holds the lock of its file; give "
            "other processes the samples to compute and append them here"
        )

    def __dask_tokenize__(self) -> str:
        return self._token

    # ------------------------------------------------------------------ inside

    def _check_usable(self) -> None:
        if self._is_closed:
            raise ValueError(f"{self.path}: the writer is closed")
        if os.getpid() != self._pid:
            raise ValueError(
                f"{self.path}: the writer belongs to the process that opened it; a forked child "
                "must not write with it"
            )
        self._container.check_sound()
        if self._is_uneven:
            # What the pipeline could not write is the better reason, if there is one.
            self._pipeline.drain()
            raise ChunkStoreError(
                "an append was interrupted between two arrays; what was flushed before is kept. "
                "Close this writer and go on with chunkstore.append(path, resume=True)",
                self.path,
            )

    def array_writer(
        self, name: str, spec: ArraySpec, chunk_length: int, *, aligned: bool
    ) -> ArrayWriter:
        """Return a writer of one array with the file's storage where the spec says nothing."""
        storage = self._storage
        codec = storage.codec if spec.codec is None else spec.codec
        if codec == AUTO:
            check_level_is_open(spec.level)
        return ArrayWriter(
            name,
            spec,
            chunk_length=chunk_length,
            codec=codec,
            level=storage.level if spec.level is None else spec.level,
            shuffle=spec.shuffle or storage.shuffle,
            typesize=storage.typesize_of(spec),
            aligned=aligned,
        )

    def adopt(
        self,
        arrays: dict[str, ArrayWriter],
        *,
        attributes: Mapping[str, Any],
        reserve: Mapping[str, tuple[int, int]] | None = None,
        is_clean: bool,
    ) -> None:
        """Take over arrays of an earlier writer, when a file is continued.

        Parameters
        ----------
        arrays
            In the file's order.
        attributes
            Of the file.
        reserve
            Metadata entries at the front that `close` may fill in: ``(offset, nbytes)`` by name.
        is_clean
            Whether a checkpoint lists all of it.
        """
        self.attributes = dict(attributes)
        self._draft.adopt(arrays, attributes=attributes, reserve=reserve or {}, is_clean=is_clean)

    def _start_arrays(self, specs: dict[str, ArraySpec]) -> None:
        """Fix the aligned arrays, and reserve room for their metadata at the front."""
        for name in specs:
            check_array_name(name, {*self._draft.arrays, *specs} - {name})
        lengths = choose_chunk_lengths(
            specs,
            target_nbytes=self._storage.chunk_nbytes,
        )
        started = {
            name: self.array_writer(name, spec, lengths[name], aligned=True)
            for name, spec in specs.items()
        }
        self._draft.start(started, self.attributes)

    def use_codecs(self, name: str, codecs: CodecChain) -> None:
        """Encode an array with a chain of another file, before its first sample."""
        self._draft.arrays[name].codecs = codecs

    def limit_threads(self, threads: int) -> None:
        """Encode in at most so many threads, which bounds the chunks in memory; before the first.

        Parameters
        ----------
        threads
            1 or more; more than there are processors changes nothing.
        """
        self._pipeline.limit_threads(threads)

    @contextlib.contextmanager
    def arrays_apart(self) -> Iterator[tuple[Mapping[str, ArrayWriter], ChunkPipeline]]:
        """Let the caller of a ``with`` block append to each aligned array by itself.

        Yields the writers of the arrays by name, and the pipeline. If the block is interrupted, or
        leaves the arrays at different lengths, the file is good up to its last flush only.
        """
        self._check_usable()
        self._is_uneven = self._draft.is_dirty = True
        aligned = self._draft.aligned
        yield aligned, self._pipeline
        lengths = {name: writer.num_samples for name, writer in aligned.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"the arrays were left at different lengths: {lengths}")
        self._is_uneven = False

    def declare(self, arrays: Mapping[str, ArraySpec]) -> None:
        """Fix the arrays before the first sample.

        Parameters
        ----------
        arrays
            Specs by name.
        """
        self._check_usable()
        check_attributes(self.attributes)
        if self._draft.aligned:
            raise ValueError("the arrays of the file are fixed already")
        if arrays:
            self._start_arrays(dict(arrays))

    def _release(self, *, keep_tail: bool, keep_entries: bool = False) -> None:
        """Close the file, whole, at its last checkpoint, or with the entries before a first one."""
        self._is_closed = True
        if os.getpid() != self._pid:
            return
        self._draft.release(keep_tail=keep_tail, keep_entries=keep_entries)


def _check_names(given: set[str], expected: set[str]) -> None:
    if given != expected:
        words = []
        if missing := sorted(expected - given):
            words.append(f"missing: {', '.join(missing)}")
        if unknown := sorted(given - expected):
            words.append(f"unknown: {', '.join(unknown)}")
        raise ValueError(
            f"every append gives the same arrays, {', '.join(sorted(expected))}; "
            + "; ".join(words)
            + ". A whole array is added with put(name, array)"
        )


def _is_json(attributes: dict[str, Any]) -> bool:
    try:
        check_attributes(attributes)
    except (TypeError, ValueError):
        return False
    return True
