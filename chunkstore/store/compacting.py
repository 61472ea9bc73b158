"""How does a file lose the bytes that nothing uses any more?"""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from chunkstore.container.checksum import crc32
from chunkstore.container.reader import EntryReader
from chunkstore.container.writer import ContainerWriter
from chunkstore.errors import (
    ChunkStoreWarning,
    CorruptionError,
    ExistingFileError,
    IncompleteError,
    UnsupportedError,
)
from chunkstore.progress import progress_bar
from chunkstore.store.documents import (
    chunk_records,
    encode_document,
    metadata_documents,
    metadata_records,
)
from chunkstore.store.node import OWN_ATTRIBUTES, chunk_key
from chunkstore.store.open_file import OpenFile
from chunkstore.store.report import CompactReport
from chunkstore.store.store import PARTIAL_SUFFIX, check_is_file, check_is_replaceable, path_of
from chunkstore.store.verifying import verify as verify_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_COMPACT_SUFFIX = ".compact" + PARTIAL_SUFFIX


def compact(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    overwrite: bool = False,
    verify: bool = True,
    progress: bool | None = None,
) -> CompactReport:
    """Copy a file without the bytes that appends and replaced arrays left behind.

    Encoded chunks are copied as they are, each checked on the way.

    Parameters
    ----------
    path
        A file of ours.
    out
        The new file; None replaces the old one once the copy is complete and on the device.
    overwrite
        True replaces an existing ``out``.
    verify
        Read the new file before it gets its name: each chunk has the checksum that it had, and can
        be decoded.
    progress
        Show a bar on stderr; None shows it on a terminal when the work takes over a second.

    Raises
    ------
    LockedError
        A writer has the file, which would be replaced; with ``out`` what it flushed is copied.
    IncompleteError
        The file would be replaced, and bytes behind its last checkpoint may be all that is left of
        samples. With ``out`` they are left out with a warning: the old file keeps them.
    CorruptionError
        A chunk is damaged, or was not written as it was read: nothing is replaced; see
        `chunkstore.repair`.

    Examples
    --------
    >>> import numpy as np, tempfile, os, chunkstore as cs
    >>> path = os.path.join(tempfile.mkdtemp(), "a.zarr.zip")
    >>> cs.save(path, {"x": np.arange(6)})
    >>> with cs.append(path) as w:
    ...     w.put("x", np.arange(6)[::-1])
    >>> report = cs.compact(path)
    >>> report.nbytes_after < report.nbytes_before
    True
    """
    path = path_of(path)
    check_is_file(path)
    # Of a link, the file that it names is replaced.
    target = os.path.realpath(path) if out is None else path_of(out)
    if out is not None:
        check_is_replaceable(target)
    if out is not None and os.path.lexists(target) and not overwrite:
        raise ExistingFileError(
            "the file exists already; overwrite=True replaces it", target, errno=17
        )
    # The lock of the original: an append during the copy would be lost with it.
    original = ContainerWriter(path, create=False) if out is None else None
    try:
        file = OpenFile(path)
        try:
            if file.nodes.own is None:
                raise UnsupportedError(
                    "only files written by chunkstore are compacted; bring this one over with "
                    "chunkstore.save(path, chunkstore.open(...))",
                    path,
                )
            _check_tail(file, is_replaced=out is None)
            before = file.container.file.size()
            after = _copy(
                file,
                target,
                replace=overwrite or out is None,
                original=original,
                verify=verify,
                progress=progress,
            )
        finally:
            file.close()
    finally:
        if original is not None:
            original.close()
    return CompactReport(path, path if out is None else target, before, after)


def _check_tail(file: OpenFile, *, is_replaced: bool) -> None:
    torn = file.container.checkpoint.torn_nbytes
    if not torn:
        return
    found = (
        f"{torn} bytes behind the last checkpoint belong to an append that was interrupted or is "
        "still running"
    )
    if is_replaced:
        raise IncompleteError(
            f"{found}; compact would drop them. `chunkstore.repair` saves what is whole of them; "
            "out=... leaves them out of a new file and keeps this one",
            file.path,
        )
    warnings.warn(
        f"{file.path}: {found}; they are left out of the new file",
        ChunkStoreWarning,
        stacklevel=3,
    )


def _copy(
    file: OpenFile,
    target: str,
    *,
    replace: bool,
    original: ContainerWriter | None,
    verify: bool,
    progress: bool | None,
) -> int:
    temporary = target + _COMPACT_SUFFIX
    if os.path.exists(temporary):
        # Left by a compact that was killed; its lock tells if it is still at work.
        container = ContainerWriter(temporary, create=False)
        container.start_at(0)
    else:
        container = ContainerWriter(temporary, create=True)
    try:
        total = sum(node.table.encoded_nbytes for node in file.nodes.arrays.values())
        with progress_bar(total, what="compacting", show=progress) as advance:
            _copy_entries(file, container, advance)
        if verify:
            _check_copy(temporary, file.path, progress=progress)
        container.rename(target, overwrite=replace, replaces=original)
    except BaseException:
        container.close()
        os.unlink(temporary)
        raise
    container.close()
    return container.durable


def _check_copy(copy: str, path: str, *, progress: bool | None) -> None:
    """Raise CorruptionError unless all that was copied can be read; the checksums are the old."""
    problems = verify_file(copy, progress=progress).problems
    if problems:
        first = problems[0]
        raise CorruptionError(
            f"its copy cannot be read: {first.message} (the first of {len(problems)} defects); "
            "nothing is replaced, and `chunkstore verify` tells whether the file itself is damaged",
            path,
            first.key,
        )


def _copy_entries(
    file: OpenFile, container: ContainerWriter, advance: Callable[[int], None]
) -> None:
    nodes = file.nodes
    own: dict[str, Any] = nodes.own or {}
    documents = metadata_documents(
        {name: nodes.arrays[name].metadata for name in own["arrays"]},
        aligned=own["aligned"],
        num_samples=own["num_samples"],
        attributes={k: v for k, v in nodes.root.items() if k != OWN_ATTRIBUTES},
    )
    entries = {}
    for name, document in documents.items():
        raw = encode_document(document)
        crc = crc32(raw)
        entries[name] = (container.append_entry(name.encode(), raw, crc), len(raw), crc)
    stored = {name: nodes.arrays[name].table.stored() for name in own["arrays"]}
    copied = {name: np.zeros(len(columns[0]), np.int64) for name, columns in stored.items()}
    # In the order of the old file: it is read once from front to back, and samples that were
    # appended together stay together.
    names = list(stored)
    which = np.concatenate(
        [np.full(len(stored[name][0]), i, np.int64) for i, name in enumerate(names)]
        or [np.zeros(0, np.int64)]
    )
    rows = np.concatenate(
        [np.arange(len(stored[name][0]), dtype=np.int64) for name in names]
        or [np.zeros(0, np.int64)]
    )
    offsets = np.concatenate([stored[name][1].offset for name in names] or [np.zeros(0, np.int64)])
    reader = EntryReader(file.container)
    for position in np.argsort(offsets, kind="stable").tolist():
        name, row = names[which[position]], int(rows[position])
        index, places = stored[name]
        nbytes, crc = int(places.encoded_nbytes[row]), int(places.crc[row])
        key = chunk_key(nodes.arrays[name], int(index[row])).encode()
        data = reader.fetch(
            key, offset=int(places.offset[row]), encoded_nbytes=nbytes, nbytes=nbytes, crc=crc
        )
        copied[name][row] = container.append_entry(key, data, crc)
        advance(len(data))
    reader.close()

    def pieces() -> Iterator[bytes]:
        yield from metadata_records(entries)
        for name in names:
            sample_ndim = len(nodes.arrays[name].metadata.shape) - 1
            places = stored[name][1]._replace(offset=copied[name])
            yield from chunk_records(name, sample_ndim, places)

    container.checkpoint(pieces(), len(entries) + len(offsets))
