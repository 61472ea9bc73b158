"""How is a new file written block by block, gone on with after a kill, and checked?

Checkpoints stand at places that follow from the sizes of the samples and chunks alone, so a file
that was continued has the bytes of one that was not.
"""

from __future__ import annotations

import contextlib
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from chunkstore.container.writer import ContainerWriter
from chunkstore.errors import CorruptionError, MissingFileError, SystemCallError
from chunkstore.importing.comparing import compare
from chunkstore.importing.digest import Digested
from chunkstore.importing.position import PROVENANCE, Position, import_attribute, open_import
from chunkstore.importing.source import Block
from chunkstore.progress import progress_bar
from chunkstore.rewriting.beginning import drop_begun
from chunkstore.store.store import PARTIAL_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chunkstore.format.codecs import CodecChain
    from chunkstore.rewriting.contents import Contents
    from chunkstore.rewriting.options import RewriteOptions
    from chunkstore.rewriting.streams import Samples, SampleStream
    from chunkstore.store.spec import ArraySpec
    from chunkstore.store.writer import Writer

# Work that was killed does about a twentieth again, or this much where that is more.
_NUM_CHECKPOINTS: Final = 20
_LEAST_BETWEEN_CHECKPOINTS_NBYTES: Final = 64 << 20
# Decoded bytes that verification reads at a time.
_MOST_VERIFIED_NBYTES: Final = 8 << 20
# What a writer says of a full disk, which holds where unfinished files stay.
_PROMISE: Final = re.compile(r"everything up to the last checkpoint \(\d+ bytes\) is kept")


@dataclass(frozen=True)
class NewFile:
    """What is written, and where.

    Attributes
    ----------
    out
        The file.
    contents
        Of the source; its arrays beside the samples are copied.
    specs, chains
        Of the arrays of samples, and the codecs of those that keep their own.
    provenance
        What the file follows from, JSON values.
    options
        How.
    what
        Words for the bar.
    keeps_unfinished
        Whether an error leaves what was written so far, to be gone on with.
    encoding_threads
        That encode, at most; None for all processors.
    memory
        That is declared, in bytes; None where none is.
    """

    out: str
    contents: Contents
    specs: Mapping[str, ArraySpec]
    chains: Mapping[str, CodecChain]
    provenance: Mapping[str, Any]
    options: RewriteOptions
    what: str
    keeps_unfinished: bool
    encoding_threads: int | None = None
    memory: int | None = None


def write(new: NewFile, stream: SampleStream) -> None:
    """Write a file from a stream of its samples.

    Parameters
    ----------
    new
        What is written.
    stream
        Its samples.

    Raises
    ------
    ExistingFileError
        The file exists, or an unfinished one of other work, and ``overwrite`` is False.
    CorruptionError
        The source is damaged, or the new file does not hold what was read.
    SystemCallError
        The system refused, for example because the disk is full.
    """
    options = new.options
    drop_begun(new.out, new.provenance)
    writer, position = open_import(
        new.out,
        new.provenance,
        attributes=new.contents.attributes,
        start=Position(),
        overwrite=options.overwrite,
        resume=options.resume,
        chunk_nbytes=options.chunk_nbytes,
    )
    run: _Run | None = None
    try:
        with writer:
            try:
                run = _Run(new, writer, position)
                if not options.resume:
                    stream.discard()
                run.copy(stream)
                run.add_beside()
                run.checkpoint()
                # All of it is in the new file, for good.
                stream.discard()
                if options.verify:
                    run.verify()
            except BaseException:
                # Back to the last checkpoint: what is behind it would end elsewhere when continued.
                writer.abort()
                raise
    except BaseException as error:
        if not new.keeps_unfinished or (run is not None and run.is_wrong):
            stream.discard()
            _drop(new.out + PARTIAL_SUFFIX)
            if isinstance(error, SystemCallError):
                raise _without_promise(error) from error
        if isinstance(error, CorruptionError) and error.path == new.contents.store.path:
            raise _with_way_out(error, new.out + PARTIAL_SUFFIX) from error
        raise


class _Run:
    """One file under way."""

    def __init__(self, new: NewFile, writer: Writer, position: Position) -> None:
        self._new = new
        self._writer = writer
        self._position = position
        # Whether the new file does not hold what was read: it is of no use then.
        self.is_wrong = False
        if new.encoding_threads is not None:
            writer.limit_threads(new.encoding_threads)
        if not writer.specs:
            writer.declare(new.specs)
            for name, chain in new.chains.items():
                writer.use_codecs(name, chain)
            # From here on the unfinished file says what it is.
            self.checkpoint()
        self._num_samples = new.contents.num_samples
        self._stride = _stride({name: writer.specs[name] for name in new.specs}, self._num_samples)

    def copy(self, stream: SampleStream) -> None:
        """Append what is not there yet."""
        position, total = self._position, self._num_samples
        if position.num_done == total:
            return
        blocks = stream.iter_blocks(position.num_done)
        with (
            progress_bar(
                total, what=self._new.what, unit="samples", show=self._new.options.progress
            ) as move,
            contextlib.closing(blocks),
        ):
            move(position.num_done)
            for block in blocks:
                self._append(block)
                move(len(next(iter(block.values()))))
                # Gone before the next one is made.
                del block
        if position.num_done != total:
            raise CorruptionError(
                f"{position.num_done} samples were written, expected {total}", self._new.out
            )

    def _append(self, block: Samples) -> None:
        """Append a block, with checkpoints at their places."""
        position, count = self._position, len(next(iter(block.values())))
        done = 0
        while done < count:
            step = min(count - done, self._stride - position.num_done % self._stride)
            part = {name: samples[done : done + step] for name, samples in block.items()}
            self._writer.append_mapping(part, owned=True)
            position.add(Block(part), stop=position.num_done + step)
            done += step
            if position.num_done % self._stride == 0 and position.num_done < self._num_samples:
                self.checkpoint()

    def add_beside(self) -> None:
        """Store the arrays that are no samples, unless an earlier run had."""
        contents, options = self._new.contents, self._new.options
        for name, array in contents.beside.items():
            if name in self._position.digests:
                continue
            spec = contents.spec_of(array, options, keeps_chunks=options.chunk_nbytes is None)
            digested = Digested(array)
            self._writer.put(
                name,
                digested,
                aligned=False,
                codec=spec.codec,
                level=spec.level,
                shuffle=spec.shuffle,
                typesize=spec.typesize,
                chunk_length=spec.chunk_length,
                attributes=spec.attributes,
            )
            self._position.digests[name] = digested.digest

    def checkpoint(self) -> None:
        """Make what is done durable, and say how far it is."""
        self._writer.attributes[PROVENANCE] = import_attribute(self._new.provenance, self._position)
        self._writer.flush()

    def verify(self) -> None:
        """Read the new file and compare it with what was read from the source."""
        path = self._writer.path + PARTIAL_SUFFIX
        memory = self._new.memory
        try:
            compare(
                path,
                self._position.digests,
                self._new.contents.store.path,
                show=self._new.options.progress,
                # Some four of them are there, beside what the writer left.
                block_nbytes=None if memory is None else min(_MOST_VERIFIED_NBYTES, memory // 16),
            )
        except CorruptionError:
            self.is_wrong = True
            raise


def _stride(specs: Mapping[str, ArraySpec], num_samples: int) -> int:
    """Return the samples between two checkpoints: whole chunks of all arrays where that fits."""
    if not specs:
        return 1
    sample_nbytes = max(1, sum(spec.sample_nbytes for spec in specs.values()))
    between = max(
        num_samples * sample_nbytes // _NUM_CHECKPOINTS, _LEAST_BETWEEN_CHECKPOINTS_NBYTES
    )
    lengths = [spec.chunk_length or 1 for spec in specs.values()]
    unit = math.lcm(*lengths)
    if unit * sample_nbytes > 2 * between:
        unit = min(lengths)
    return -(-between // (unit * sample_nbytes)) * unit


def _with_way_out(error: CorruptionError, partial: str) -> CorruptionError:
    """Return the error of a damaged source with what can be done, and what is left."""
    message = f"{error.message}. `chunkstore repair` (chunkstore.repair) saves the rest of it first"
    if Path(partial).exists():
        message += f"; what was written so far stays in {partial}"
    return type(error)(message, error.path, error.key, error.offset)


def _without_promise(error: SystemCallError) -> SystemCallError:
    """Return what the system refused without the words that a checkpoint of it is kept."""
    message = _PROMISE.sub("the unfinished new file and its piles are removed", error.message)
    return type(error)(message, error.path, error.key, error.offset, error.errno)


def _drop(partial: str) -> None:
    """Remove an unfinished file, unless another writer has it by now."""
    if Path(partial).exists():
        with contextlib.suppress(MissingFileError):
            ContainerWriter(partial, create=False).discard()
