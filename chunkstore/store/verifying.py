"""Is everything in a file readable, and what is lost if not?"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

import numpy as np

from chunkstore import system
from chunkstore.container.reader import EntryReader
from chunkstore.errors import ChunkStoreError, SystemCallError
from chunkstore.progress import progress_bar
from chunkstore.store.array import Array
from chunkstore.store.node import is_strange
from chunkstore.store.open_file import OpenFile
from chunkstore.store.report import Problem, VerifyReport
from chunkstore.store.store import check_is_file, path_of
from chunkstore.store.striping import for_each

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from chunkstore.store.array_reader import ArrayReader


def verify(path: str | os.PathLike[str], *, progress: bool | None = None) -> VerifyReport:
    """Check every entry of a file: header, CRC-32, frame, metadata, and that none is missing.

    Parameters
    ----------
    path
        The file.
    progress
        Show a bar on stderr; None shows it on a terminal when the work takes over a second.

    Returns
    -------
    report
        What is wrong, with the samples that are lost; ``report.ok`` if nothing is.

    Raises
    ------
    SystemCallError
        The file is missing or cannot be read.
    IncompleteError
        There is only an unfinished file of that name.

    Examples
    --------
    >>> import numpy as np, tempfile, os, chunkstore as cs
    >>> path = os.path.join(tempfile.mkdtemp(), "a.zarr.zip")
    >>> cs.save(path, {"x": np.arange(6)})
    >>> cs.verify(path).ok
    True
    """
    path = path_of(path)
    check_is_file(path)
    try:
        file = OpenFile(path, lenient=True)
    except SystemCallError:
        raise
    except ChunkStoreError as error:
        return VerifyReport(path, 0, 0, (_problem(error),))
    try:
        return _verify_open(file, progress)
    finally:
        file.close()


def _verify_open(file: OpenFile, progress: bool | None) -> VerifyReport:
    problems = [_problem(error) for error in file.nodes.problems]
    num_entries = len(file.nodes.metadata_records)
    num_bytes = sum(record[2] for record in file.nodes.metadata_records)
    arrays: list[Array] = []
    for node in file.nodes.arrays.values():
        try:
            arrays.append(Array(file, node))
        except ChunkStoreError as error:
            problems.append(_problem(error, array=node.path))
    total = sum(array.encoded_nbytes for array in arrays)
    with progress_bar(total, what="verifying", show=progress) as advance:
        for array in arrays:
            problems += verify_chunks(array, advance)
            num_entries += file.nodes.arrays[array.name].table.num_stored
            num_bytes += array.encoded_nbytes
    if num_entries < file.container.checkpoint.num_records:
        count, nbytes, found = _verify_others(file)
        num_entries, num_bytes, problems = num_entries + count, num_bytes + nbytes, problems + found
    return VerifyReport(
        file.path, num_entries, num_bytes, tuple(problems), file.container.checkpoint.torn_nbytes
    )


def verify_chunks(array: Array, advance: Callable[[int], None]) -> list[Problem]:
    """Read and decode every stored chunk of an array on all cores; return what is wrong."""
    problems: list[Problem] = []
    lock = threading.Lock()
    chunks = array.stored_chunks()
    threads = max(1, min(system.calls.available_cores(), len(chunks)))

    def check(reader: ArrayReader, chunk_index: int) -> None:
        before = reader.read_nbytes
        problem = None
        try:
            reader.read_chunk(chunk_index)
        except SystemCallError:
            raise
        except ChunkStoreError as error:
            start = chunk_index * array.chunk_length
            stop = min(start + array.chunk_length, len(array)) if array.shape else 0
            problem = _problem(
                error,
                array=array.name,
                chunk_index=chunk_index,
                samples=(start, stop) if array.shape else None,
            )
        with lock:
            advance(reader.read_nbytes - before)
            if problem is not None:
                problems.append(problem)

    for_each(
        chunks,
        check,
        open_tool=lambda: contextlib.closing(array.open_reader()),
        threads=threads,
        name="chunkstore-verify",
    )
    return sorted(problems, key=lambda problem: problem.chunk_index or 0)


def _verify_others(file: OpenFile) -> tuple[int, int, list[Problem]]:
    """Check the entries that are neither metadata nor chunks."""
    reader = EntryReader(file.container)
    count = nbytes = 0
    problems: list[Problem] = []
    for records in file.container.iter_records():
        for row in range(len(records)):
            name = records.name(row)
            if not is_strange(name, file.nodes):
                continue
            count, nbytes = count + 1, nbytes + int(records.encoded_nbytes[row])
            try:
                reader.fetch(
                    name,
                    offset=int(records.offset[row]),
                    encoded_nbytes=int(records.encoded_nbytes[row]),
                    nbytes=int(records.nbytes[row]),
                    crc=int(records.crc[row]),
                )
            except SystemCallError:
                raise
            except ChunkStoreError as error:
                problems.append(_problem(error))
    return count, nbytes, problems


def _problem(
    error: ChunkStoreError,
    *,
    array: str | None = None,
    chunk_index: int | None = None,
    samples: tuple[int, int] | None = None,
) -> Problem:
    offset = None if error.offset is None else int(np.int64(error.offset))
    return Problem(array, chunk_index, samples, error.key, offset, error.message)
