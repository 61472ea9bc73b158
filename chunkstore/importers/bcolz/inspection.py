"""What is in a bcolz folder or archive, and what is wrong with it?

This is what opening and importing begin with, whatever the state of the folder.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from chunkstore import system
from chunkstore.errors import (
    ChunkStoreError,
    FormatError,
    MissingFileError,
    SystemCallError,
    UnsupportedError,
    system_call_error,
)
from chunkstore.importers.bcolz.chunks import chunk_samples, samples_text
from chunkstore.importers.bcolz.directory import DirectoryFiles
from chunkstore.importers.bcolz.gzip import open_tar_gz
from chunkstore.importers.bcolz.nodes import Nodes, find_nodes
from chunkstore.importers.bcolz.report import ArraySummary, BcolzReport, problem_of
from chunkstore.importers.bcolz.scan import ChunkScan, scan_chunks
from chunkstore.importers.bcolz.store import BcolzStore
from chunkstore.importers.bcolz.tar import BLOCK_NBYTES, is_tar, open_tar
from chunkstore.importers.bcolz.zip import open_zip
from chunkstore.progress import progress_bar
from chunkstore.store.store import path_of
from chunkstore.store.striping import for_each

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chunkstore.importers.bcolz.carray import BcolzArray
    from chunkstore.importers.bcolz.files import SourceFiles
    from chunkstore.importers.indexed import ScratchReader
    from chunkstore.store.report import Problem

_OTHER_PACKERS = {b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"7z\xbc": "7z"}


@dataclass(frozen=True)
class Inspection:
    """A bcolz folder that was looked at, whatever its state.

    Attributes
    ----------
    store
        Every array whose metadata can be read; reading a damaged chunk raises. To be closed.
    report
        What is wrong.
    """

    store: BcolzStore
    report: BcolzReport


def check_bcolz(
    path: str | os.PathLike[str], *, decode: bool = True, **options: Any
) -> BcolzReport:
    """Return everything that is wrong with a bcolz folder; see `inspect_bcolz`."""
    inspection = inspect_bcolz(path, decode=decode, **options)
    inspection.store.close()
    return inspection.report


def inspect_bcolz(
    path: str | os.PathLike[str],
    *,
    arrays: Sequence[str] | None = None,
    allow_pickle: bool = False,
    recover_unflushed: bool = False,
    decode: bool = False,
    progress: bool | None = None,
) -> Inspection:
    """Look at a bcolz folder in whatever state it is.

    Parameters
    ----------
    path, arrays, allow_pickle, recover_unflushed, progress
        See `chunkstore.importers.bcolz.open.open_bcolz`.
    decode
        Also decode every chunk, on all cores: damage inside the frames is found as well.

    Raises
    ------
    FormatError, SystemCallError, KeyError
        See `chunkstore.importers.bcolz.open.open_bcolz`. Damage is not raised but reported.
    """
    name = path_of(path)
    files = _open_files(name)
    try:
        nodes = _chosen(find_nodes(files), arrays, name)
        scans = _scan_all(files, nodes, recover_unflushed=recover_unflushed, progress=progress)
        refused = [problem for scan in scans.values() for problem in scan.refused]
        readable = {}
        for array_name, scan in scans.items():
            if scan.metadata.is_objects and not allow_pickle:
                refused.append(_object_refusal(array_name))
            else:
                readable[array_name] = scan
        options: dict[str, Any] = {
            "arrays": arrays,
            "allow_pickle": allow_pickle,
            "recover_unflushed": recover_unflushed,
        }
        store = BcolzStore(files, nodes, readable, reopen=(os.path.abspath(name), options))
        problems = nodes.problems + [p for scan in scans.values() for p in scan.problems]
        notes = nodes.notes + [note for scan in scans.values() for note in scan.notes]
        if decode:
            found, more_notes = _decode_all(store, scans, progress=progress)
            problems += found
            notes += more_notes
    except BaseException:
        files.close()
        raise
    report = BcolzReport(
        path=name,
        arrays=tuple(_summary(nodes, array_name, scan) for array_name, scan in scans.items()),
        problems=tuple(problems),
        refused=tuple(refused),
        notes=tuple(notes),
    )
    return Inspection(store, report)


def _open_files(path: str) -> SourceFiles:
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        raise MissingFileError(
            "there is no such folder or archive", path, errno=errno.ENOENT
        ) from None
    except OSError as error:
        raise system_call_error(error, "the folder cannot be reached", path) from error
    if stat.S_ISDIR(mode):
        return DirectoryFiles(path)
    if not stat.S_ISREG(mode):
        raise FormatError("this is a device or a pipe; folders and archives are read", path)
    file = system.ReadFile(path)
    try:
        start = file.read(BLOCK_NBYTES, 0)
    finally:
        file.close()
    if start[:2] == b"PK":
        return open_zip(path)
    if start[:2] == b"\x1f\x8b":
        return open_tar_gz(path)
    if is_tar(start):
        return open_tar(path)
    for magic, packer in _OTHER_PACKERS.items():
        if start.startswith(magic):
            raise UnsupportedError(
                f"this is packed with {packer}; folders, tar, tar.gz and zip are read: unpack it",
                path,
            )
    raise FormatError(f"this is no folder, tar, tar.gz or zip: it begins with {start[:16]!r}", path)


def _chosen(nodes: Nodes, names: Sequence[str] | None, path: str) -> Nodes:
    """Return the nodes of some arrays and tables."""
    if names is None:
        return nodes
    if isinstance(names, str):
        raise TypeError(f"arrays must be a list of names, got the text {names!r}")
    broken = {problem.array for problem in nodes.problems if problem.array is not None}
    wanted: set[str] = set()
    for name in names:
        if name not in nodes.arrays and name not in nodes.tables and name not in broken:
            there = ", ".join(map(repr, nodes.arrays)) or "none"
            raise KeyError(f"{path}: no array {name!r}; there are {there}")
        wanted.update((name, *nodes.tables.get(name, ())))
    return Nodes(
        {name: node for name, node in nodes.arrays.items() if name in wanted},
        {name: columns for name, columns in nodes.tables.items() if wanted.issuperset(columns)},
        nodes.attributes,
        nodes.table_attributes,
        [problem for problem in nodes.problems if problem.array in wanted],
        nodes.notes,
    )


def _scan_all(
    files: SourceFiles, nodes: Nodes, *, recover_unflushed: bool, progress: bool | None
) -> dict[str, ChunkScan]:
    chunk_files = {name: files.chunk_files(node.data) for name, node in nodes.arrays.items()}
    total = sum(len(found.indices) for found in chunk_files.values())
    lock = threading.Lock()
    with progress_bar(total, what="checking", unit="chunks", show=progress) as advance:

        def advance_safely(count: int) -> None:
            with lock:
                advance(count)

        return {
            name: scan_chunks(
                node,
                chunk_files.pop(name),
                recover_unflushed=recover_unflushed,
                advance=advance_safely,
            )
            for name, node in nodes.arrays.items()
        }


def _object_refusal(name: str) -> Problem:
    return problem_of(
        UnsupportedError(
            "it holds Python objects as pickles. allow_pickle=True reads plain values from them "
            "and runs nothing; or name the arrays that you want in arrays="
        ),
        array=name,
    )


def _summary(nodes: Nodes, name: str, scan: ChunkScan) -> ArraySummary:
    metadata = scan.metadata
    dtype = metadata.disk_dtype
    return ArraySummary(
        name=name,
        shape=metadata.shape,
        dtype=str(dtype) if dtype.names else dtype.str,
        chunk_length=metadata.chunk_length,
        num_chunks=metadata.num_chunks,
        encoded_nbytes=scan.encoded_nbytes,
        methods=scan.methods,
        attributes=nodes.arrays[name].attributes,
        storage=metadata.storage,
    )


def _decode_all(
    store: BcolzStore, scans: dict[str, ChunkScan], *, progress: bool | None
) -> tuple[list[Problem], list[str]]:
    """Decode every chunk whose header fits; return what is wrong, and what was repaired."""
    problems: list[Problem] = []
    notes: list[str] = []
    lock = threading.Lock()
    total = sum(array.encoded_nbytes for array in store.values())
    with progress_bar(total, what="decoding", show=progress) as advance:
        for array in store.values():
            found: list[Problem] = []
            _decode_array(array, scans[array.name], found, lock, advance)
            problems += sorted(found, key=lambda problem: problem.chunk_index or 0)
            if array.num_repaired:
                notes.append(
                    f"array {array.name!r}: {array.num_repaired} streams were stored wrongly by "
                    "the c-blosc of bcolz 0.7 to 0.12 and are repaired"
                )
    return problems, notes


def _decode_array(
    array: BcolzArray, scan: ChunkScan, found: list[Problem], lock: Any, advance: Any
) -> None:
    def decode(reader: ScratchReader, chunk_index: int) -> None:
        try:
            reader.read_chunk(chunk_index)
        except SystemCallError:
            raise
        except ChunkStoreError as error:
            problem = problem_of(
                error,
                array=array.name,
                chunk_index=chunk_index,
                samples=chunk_samples(scan.metadata, chunk_index),
            )
            # A line of the report begins with the samples.
            text = problem.message.removesuffix(samples_text(scan.metadata, chunk_index))
            problem = replace(problem, message=text)
            with lock:
                found.append(problem)
        with lock:
            advance(array.encoded_nbytes // max(len(scan.present), 1))

    chunks = scan.present.tolist()
    # What is repaired stands in the report.
    array.warns_of_repairs = False
    for_each(
        chunks,
        decode,
        open_tool=array.lent_reader,
        threads=max(1, min(system.calls.available_cores(), len(chunks))),
        name="chunkstore-check",
    )
    array.warns_of_repairs = True
