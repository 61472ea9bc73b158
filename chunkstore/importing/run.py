"""How do foreign samples come into a file: in parallel, checked, and again after a kill?

Threads read blocks of samples ahead, the file gets them in order, so it is the same whatever the
number of threads. Checkpoints stand at places that follow from the sizes alone; an import that was
killed goes on from the last one and ends with the same bytes. Before the file gets its name it is
read once and compared with what the source gave. Memory is bounded whatever the source: so many
bytes are read ahead, and so many are in chunks that are begun.
"""

from __future__ import annotations

import time
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from chunkstore.errors import CorruptionError
from chunkstore.importing.ahead import iter_ahead
from chunkstore.importing.comparing import compare
from chunkstore.importing.digest import Digested
from chunkstore.importing.options import ImportOptions, OnError
from chunkstore.importing.position import (
    PROVENANCE,
    Position,
    find_position,
    import_attribute,
    open_import,
)
from chunkstore.importing.report import ImportReport, read_report
from chunkstore.importing.storage import storage_of, typesize_notes, with_chunk_length
from chunkstore.progress import progress_bar
from chunkstore.store.samples import check_specs
from chunkstore.store.spec import check_attributes, choose_chunk_lengths
from chunkstore.store.store import PARTIAL_SUFFIX

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from chunkstore.importing.losses import Lost
    from chunkstore.importing.source import Block, SampleSource
    from chunkstore.store.writer import Writer

__all__ = [
    "ImportOptions",
    "ImportReport",
    "OnError",
    "check_import",
    "provenance_of",
    "read_report",
    "run_import",
]

# Decoded bytes of a block: many chunks, so that encoding them keeps all cores busy.
_BLOCK_NBYTES: Final = 8 << 20
# Decoded bytes of all blocks that are read or wait.
_AHEAD_NBYTES: Final = 64 << 20
# Decoded bytes of a block at most: one is read while another one is appended.
MOST_BLOCK_NBYTES: Final = _AHEAD_NBYTES // 2
# A killed import loses about a twentieth of the work, or this much where that is more: a second or
# two of work, beside which the device's answers to a checkpoint are short.
_NUM_CHECKPOINTS: Final = 20
_LEAST_BETWEEN_CHECKPOINTS_NBYTES: Final = 256 << 20


def run_import(
    source: SampleSource,
    out: str | os.PathLike[str],
    options: ImportOptions,
    *,
    order: NDArray[np.int64] | None = None,
    ordering: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (),
    lost: Sequence[Lost] = (),
) -> ImportReport:
    """Bring samples of a source into a new file.

    Parameters
    ----------
    source
        What to read.
    out
        The new file; it appears when it is complete.
    options
        How.
    order
        Numbers of the samples to take, in the order of the file; None takes all in their order.
    ordering
        What ``order`` follows from, JSON values for the file's attributes.
    notes, lost
        What is known of the source before its samples are read, for the report.

    Raises
    ------
    ExistingFileError
        The file exists, or an unfinished one of another import, and ``overwrite`` is False.
    CorruptionError
        The new file does not hold what was read; it has no final name then.
    ChunkStoreError
        Reading or writing failed. What was done stays in ``out + ".partial"``; the same call goes
        on with it.
    """
    started = time.perf_counter()
    num_samples = source.num_samples if order is None else len(order)
    provenance = provenance_of(source, options, ordering)
    start = Position()
    start.add_notes([*notes, *typesize_notes(source.specs, options)])
    start.lost.add(lost)
    writer, position = open_import(
        out,
        provenance,
        attributes={**source.attributes, **options.attributes},
        start=start,
        overwrite=options.overwrite,
        resume=options.resume,
        codec=options.codec,
        level=options.level,
        typesize=options.typesize,
        chunk_nbytes=provenance["storage"]["chunk_nbytes"],
    )
    with writer:
        run = _Run(source, writer, options, order, num_samples, provenance, position)
        try:
            run.copy()
            run.add_unaligned()
            run.checkpoint()
            if options.verify:
                run.verify()
        except BaseException:
            # Back to the last checkpoint: what is behind it would end elsewhere when continued.
            writer.abort()
            raise
    return read_report(out, seconds=time.perf_counter() - started, is_verified=options.verify)


def check_import(
    source: SampleSource,
    out: str | os.PathLike[str],
    options: ImportOptions,
    *,
    ordering: Mapping[str, Any] | None = None,
    makes_folder: bool = False,
) -> None:
    """Raise what `run_import` would raise before it reads a sample; nothing is changed.

    Parameters
    ----------
    source, out, options, ordering
        See `run_import`.
    makes_folder
        Whether the folder of ``out`` would be made where it is not there.

    Raises
    ------
    ValueError, TypeError, ChunkStoreError
        See `run_import`.
    """
    provenance = provenance_of(source, options, ordering)
    attributes = {**source.attributes, **options.attributes}
    check_attributes(attributes)
    specs = check_specs(dict(with_chunk_length(source.specs, options.chunk_length)))
    choose_chunk_lengths(specs, target_nbytes=provenance["storage"]["chunk_nbytes"])
    if makes_folder and not Path(out).absolute().parent.exists():
        return
    find_position(
        out,
        provenance,
        attributes=attributes,
        overwrite=options.overwrite,
        resume=options.resume,
    )


def provenance_of(
    source: SampleSource, options: ImportOptions, ordering: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return what an import's file follows from, JSON values for its attributes."""
    return {
        "kind": source.kind,
        "source": source.name,
        **source.provenance,
        "order": dict(ordering or {"shuffled": False}),
        "storage": storage_of(source.specs, options),
        "on_error": options.on_error,
        "fingerprint": source.fingerprint,
        "tool": f"chunkstore {version('chunkstore')}",
    }


class _Run:
    """One import under way."""

    def __init__(
        self,
        source: SampleSource,
        writer: Writer,
        options: ImportOptions,
        order: NDArray[np.int64] | None,
        num_samples: int,
        provenance: Mapping[str, Any],
        position: Position,
    ) -> None:
        self._source = source
        self._writer = writer
        self._options = options
        self._order = order
        self._num_samples = num_samples
        self._provenance = provenance
        self._position = position
        if not writer.specs:
            writer.declare(with_chunk_length(source.specs, options.chunk_length))
            # From here on the unfinished file says what it is.
            self.checkpoint()
        sample_nbytes = max(1, sum(spec.sample_nbytes for spec in source.specs.values()))
        unit = source.block_length or writer.chunk_length
        whole = max(unit, _BLOCK_NBYTES // sample_nbytes // unit * unit)
        # What is cheap to read together may be too much: then it is read in equal parts.
        num_parts = -(-whole * sample_nbytes // MOST_BLOCK_NBYTES) if whole == unit else 1
        self._whole = whole
        self._block_length = max(1, -(-whole // num_parts))
        between_nbytes = max(
            num_samples * sample_nbytes // _NUM_CHECKPOINTS, _LEAST_BETWEEN_CHECKPOINTS_NBYTES
        )
        # Samples of the source between two checkpoints: whole blocks.
        self._stride = -(-between_nbytes // (whole * sample_nbytes)) * whole
        block_nbytes = self._block_length * sample_nbytes
        most = 2 * options.num_threads
        self._depth = max(1, min(most, _AHEAD_NBYTES // block_nbytes))

    def copy(self) -> None:
        """Read and append what is not there yet."""
        position, options = self._position, self._options
        start = position.num_done
        blocks = iter_ahead(
            self._read,
            self._starts(start),
            threads=min(options.num_threads, self._depth),
            depth=self._depth,
        )
        # The threads end with the blocks, also when appending one fails.
        with (
            progress_bar(
                self._num_samples, what="importing", unit="samples", show=options.progress
            ) as move,
            closing(blocks),
        ):
            move(start)
            for block in blocks:
                stop = self._stop(start)
                self._writer.append_mapping(block.arrays, owned=True)
                position.add(block, stop=stop)
                # Gone before the next one is waited for.
                del block
                if stop % self._stride == 0 and stop < self._num_samples:
                    self.checkpoint()
                move(stop - start)
                start = stop

    def _starts(self, start: int) -> Iterator[int]:
        """Yield where the blocks from a sample on begin."""
        while start < self._num_samples:
            yield start
            start = self._stop(start)

    def _stop(self, start: int) -> int:
        """Return where a block ends: one does not reach over the end of a whole one."""
        end_of_whole = (start // self._whole + 1) * self._whole
        return min(start + self._block_length, end_of_whole, self._num_samples)

    def add_unaligned(self) -> None:
        """Store the arrays that are no samples."""
        for name, values in self._source.unaligned.items():
            digested = Digested(values)
            attributes = dict(getattr(values, "attributes", {}))
            self._writer.put(name, digested, aligned=False, attributes=attributes)
            self._position.digests[name] = digested.digest

    def checkpoint(self) -> None:
        """Make what is done durable, and say how far it is."""
        self._writer.attributes[PROVENANCE] = import_attribute(self._provenance, self._position)
        self._writer.flush()

    def verify(self) -> None:
        """Read the new file and compare it with what the source gave.

        Raises
        ------
        CorruptionError
            An array is not what was read.
        """
        path = self._writer.path + PARTIAL_SUFFIX
        try:
            compare(path, self._position.digests, self._source.name, show=self._options.progress)
        except CorruptionError:
            # What is there is not to be trusted: nothing of it counts as done.
            self._position = Position()
            self.checkpoint()
            raise

    def _read(self, start: int) -> Block:
        stop = self._stop(start)
        order = self._order
        numbers = np.arange(start, stop) if order is None else order[start:stop]
        return self._source.read(numbers, skips=self._options.on_error == "skip")
