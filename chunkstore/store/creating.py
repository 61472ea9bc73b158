"""How does a writer get its file: a new one, a finished one, or one that was never finished?"""

from __future__ import annotations

import errno
import os
import warnings
from typing import TYPE_CHECKING, Any

from chunkstore.container.checksum import crc32
from chunkstore.container.layout import LOCAL_SIGNATURE
from chunkstore.container.scan import walk
from chunkstore.container.writer import ContainerWriter, hold
from chunkstore.errors import (
    ChunkStoreWarning,
    CorruptionError,
    ExistingFileError,
    FormatError,
    IncompleteError,
    UnsupportedError,
)
from chunkstore.format.metadata import ArrayMetadata, parse_node
from chunkstore.format.stored_dtype import to_stored
from chunkstore.store.array_reader import logical_form
from chunkstore.store.node import OWN_ATTRIBUTES
from chunkstore.store.open_file import OpenFile
from chunkstore.store.replay import Entry, iter_events
from chunkstore.store.samples import check_specs
from chunkstore.store.spec import (
    ArraySpec,
    Storage,
    check_attributes,
    choose_chunk_lengths,
    storage_options,
)
from chunkstore.store.store import (
    PARTIAL_SUFFIX,
    Store,
    check_is_file,
    check_is_replaceable,
    path_of,
)
from chunkstore.store.writer import Writer
from chunkstore.system import ReadFile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chunkstore.store.array_writer import ArrayWriter


def create(
    path: str | os.PathLike[str],
    *,
    codec: str | None = None,
    level: int | None = None,
    shuffle: str | None = None,
    typesize: int | None = None,
    chunk_nbytes: int | None = None,
    arrays: Mapping[str, ArraySpec] | None = None,
    attributes: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Writer:
    """Create a file and return its writer.

    Parameters
    ----------
    path
        The file; by convention its name ends in ``.zarr.zip``. Until the writer is closed the
        samples are in ``path + ".partial"``.
    codec
        ``"zstd"`` (default), ``"lz4"``, ``"lz4hc"``, ``"blosclz"``, ``"zlib"`` inside Blosc,
        ``"gzip"``, or ``"raw"`` for data that is compressed already. ``"auto"`` chooses codec,
        level, shuffle and typesize of each array by what its first samples become, see
        `chunkstore.tune` for a choice by measuring.
    level
        0 to 9, default 1: higher is smaller and slower to write. Not with ``codec="auto"``.
    shuffle
        ``"none"``, ``"byte"``, ``"bit"``, or ``"auto"`` (default): the smallest on the first
        chunk of each array.
    typesize
        Bytes that shuffling takes for one element, in arrays whose samples hold whole ones; by
        default those of the array's type. 3 brings the colours of interleaved 8-bit RGB apart.
    chunk_nbytes
        Decoded bytes that a chunk of the widest array aims at, default 1 MiB.
    arrays
        Specs by name, when data types and shapes are to be fixed before the first `append`.
    attributes
        JSON values kept in the file, ``store.attributes``.
    overwrite
        True replaces an existing file once the new one is complete, and drops a partial one.

    Raises
    ------
    ExistingFileError
        The file, or an unfinished one of that name, exists and ``overwrite`` is False.
    LockedError
        Another writer is creating it, or has the file that it would replace.
    ValueError
        A codec, level or shuffle that does not exist.

    Examples
    --------
    >>> import numpy as np, tempfile, os, chunkstore as cs
    >>> path = os.path.join(tempfile.mkdtemp(), "train.zarr.zip")
    >>> with cs.create(path, codec="lz4", level=5, attributes={"classes": ["a", "b"]}) as w:
    ...     for _ in range(3):
    ...         w.append(x=np.zeros((10, 4, 4), "u1"), y=np.zeros(10, "i8"))
    >>> cs.open(path).num_samples
    30
    """
    path = path_of(path)
    storage = storage_options(codec, level, shuffle, chunk_nbytes, typesize)
    check_is_replaceable(path)
    if os.path.lexists(path) and not overwrite:
        raise ExistingFileError(
            "the file exists already; overwrite=True replaces it, chunkstore.append continues it",
            path,
            errno=errno.EEXIST,
        )
    with hold(path):  # what would be refused at the end is refused now
        pass
    check_attributes(dict(attributes or {}))
    specs = check_specs(arrays or {})
    choose_chunk_lengths(specs, target_nbytes=storage.chunk_nbytes)
    partial = path + PARTIAL_SUFFIX
    if os.path.exists(partial):
        # Last of all: from here on an unfinished file of that name is gone.
        _drop_partial(partial, path, overwrite=overwrite)
    container = ContainerWriter(partial, create=True)
    try:
        writer = Writer(
            container,
            path,
            storage=storage,
            is_new=True,
            overwrite=overwrite,
            attributes=attributes,
        )
        writer.declare(specs)
    except BaseException:
        container.discard()
        raise
    return writer


def _drop_partial(partial: str, path: str, *, overwrite: bool) -> None:
    """Remove a partial file that no writer has any more, if that is allowed.

    Its name is taken away, its bytes are left alone: after a crash between the two steps of a
    rename, the finished file is the same one.
    """
    container = ContainerWriter(partial, create=False)
    if not overwrite:
        container.close()
        raise ExistingFileError(
            f"a writer of this file never finished and left {partial}. "
            "chunkstore.append(path, resume=True) goes on behind its last flush, `chunkstore "
            "repair` saves every complete sample, overwrite=True drops it",
            path,
            errno=errno.EEXIST,
        )
    container.discard()


def append(
    path: str | os.PathLike[str],
    *,
    resume: bool = False,
    overwrite: bool = False,
    codec: str | None = None,
    level: int | None = None,
    shuffle: str | None = None,
    typesize: int | None = None,
    chunk_nbytes: int | None = None,
) -> Writer:
    """Continue a file and return its writer.

    Parameters
    ----------
    path
        A file of ours.
    resume
        True continues a file whose `create`, or whose last append, never finished, from its last
        flush; look at the writer's ``num_samples`` to see where that was. What was never flushed is
        dropped, with a warning; `chunkstore.repair` would save the complete chunks of it. If
        nothing was interrupted, the finished file is continued.
    overwrite
        True lets a file that is resumed replace a finished one of its name when it is closed.
    codec, level, shuffle, typesize, chunk_nbytes
        For arrays that are added by ``put``; the arrays of the file keep theirs.

    Raises
    ------
    IncompleteError
        There is only an unfinished file, or whole chunks behind the last checkpoint of the file: an
        append was interrupted, or the file was cut; and ``resume`` is False.
    ExistingFileError
        There are a finished and an unfinished file, and ``overwrite`` is False.
    LockedError
        Another writer has the file.
    UnsupportedError
        The file was not written by chunkstore.

    Examples
    --------
    >>> import numpy as np, tempfile, os, chunkstore as cs
    >>> path = os.path.join(tempfile.mkdtemp(), "train.zarr.zip")
    >>> cs.save(path, {"y": np.arange(5)})
    >>> with cs.append(path) as w:
    ...     w.append(y=np.arange(5, 8))
    >>> cs.open(path)["y"][...].tolist()
    [0, 1, 2, 3, 4, 5, 6, 7]
    """
    path = path_of(path)
    storage = storage_options(codec, level, shuffle, chunk_nbytes, typesize)
    partial = path + PARTIAL_SUFFIX
    if resume and os.path.exists(partial):
        if os.path.exists(path) and os.path.samefile(partial, path):
            # A crash between the two steps of a rename: the file is finished.
            os.unlink(partial)
        elif os.path.exists(path) and not overwrite:
            raise ExistingFileError(
                f"there is a finished file, and {partial} of a writer that was to replace it and "
                "never finished. To continue that one, overwrite=True; to keep the finished file, "
                "remove the partial one",
                path,
                errno=errno.EEXIST,
            )
        else:
            return _continue(partial, path, storage, is_new=True, resume=True)
    check_is_file(path)
    return _continue(path, path, storage, is_new=False, resume=resume)


def _continue(file_path: str, path: str, storage: Storage, *, is_new: bool, resume: bool) -> Writer:
    container = ContainerWriter(file_path, create=False)
    try:
        writer = Writer(container, path, storage=storage, is_new=is_new, overwrite=is_new)
        try:
            file = OpenFile(file_path)
        except (IncompleteError, FormatError) as error:
            if not is_new or (isinstance(error, FormatError) and not _is_begun(file_path)):
                raise
            _continue_unflushed(writer, container, file_path)
            return writer
        try:
            _check_tail(file, resume=resume)
            _continue_checkpoint(writer, container, file)
        finally:
            file.close()
    except BaseException:
        container.close()
        raise
    return writer


def _is_begun(path: str) -> bool:
    """Tell whether a file that is no zip could be the first bytes of one of ours."""
    with open(path, "rb") as file:
        head = file.read(len(LOCAL_SIGNATURE))
    return len(head) < len(LOCAL_SIGNATURE) and LOCAL_SIGNATURE.startswith(head)


def _check_tail(file: OpenFile, *, resume: bool) -> None:
    """Raise, or warn, where bytes behind the last checkpoint would be dropped."""
    checkpoint = file.container.checkpoint
    if not checkpoint.torn_nbytes:
        return
    has_chunk = any(
        isinstance(event, Entry) and not event.name.endswith(b"zarr.json")
        for event in iter_events(file.container.file, checkpoint.stop, [])
    )
    found = (
        f"{checkpoint.torn_nbytes} bytes behind the last checkpoint hold "
        f"{'whole chunks' if has_chunk else 'no whole chunk'}, of a writer that was interrupted, "
        "or because the file was cut"
    )
    if has_chunk and not resume:
        raise IncompleteError(
            f"{found}; appending would drop them. `chunkstore repair` saves every complete sample; "
            "append(path, resume=True) drops them and goes on behind the last flush",
            file.path,
        )
    warnings.warn(f"{file.path}: {found}; they are dropped", ChunkStoreWarning, stacklevel=4)


def _continue_checkpoint(writer: Writer, container: ContainerWriter, file: OpenFile) -> None:
    """Bring a writer to the state of a file's last checkpoint."""
    nodes = file.nodes
    if nodes.own is None:
        raise UnsupportedError(
            "only files written by chunkstore can be appended to; bring this one over with "
            "chunkstore.save(path, chunkstore.open(...))",
            file.path,
        )
    store = Store(file)
    arrays: dict[str, ArrayWriter] = {}
    for name in nodes.own["arrays"]:
        node = nodes.arrays[name]
        array_writer = _array_writer(
            writer, name, node.metadata, aligned=name in nodes.own.get("aligned", [])
        )
        count = node.metadata.shape[0]
        rest = count % array_writer.chunk_length
        edge = None
        if rest and not array_writer.is_empty:
            samples = store[name][count - rest :]
            edge = to_stored(samples) if samples.dtype != node.metadata.dtype else samples
        _, places = node.table.stored()
        array_writer.restore(places, count, edge)
        arrays[name] = array_writer
    writer.adopt(arrays, attributes=store.attributes, is_clean=True)
    container.start_at(file.container.checkpoint.stop)


def _continue_unflushed(writer: Writer, container: ContainerWriter, path: str) -> None:
    """Continue a partial file that was never flushed: its arrays are known, samples are not.

    The metadata reserve stands at the front; nothing behind it was acknowledged.
    """
    documents: dict[str, tuple[int, bytes]] = {}
    stop = 0
    file = ReadFile(path)
    try:
        for piece in walk(file, 0, file.size()):
            header = piece.header
            if header is None or not header.name.endswith(b"zarr.json"):
                break
            raw = file.read(header.encoded_nbytes, piece.start + header.data_start)
            if crc32(raw) != header.crc:
                break
            documents[header.name.decode()] = (piece.start, raw)
            stop = piece.stop
    finally:
        file.close()
    root = documents.get("zarr.json")
    attributes = {} if root is None else parse_node(root[1]).attributes
    own = attributes.get(OWN_ATTRIBUTES, {})
    names = own.get("arrays", [])
    if root is None or any(f"{name}/zarr.json" not in documents for name in names):
        # Killed before its first append was through: nothing is known yet.
        _drop_unflushed(container, path, stop=0, scanned=stop)
        return
    arrays: dict[str, ArrayWriter] = {}
    for name in names:
        node = parse_node(documents[f"{name}/zarr.json"][1])
        if not isinstance(node, ArrayMetadata):
            raise CorruptionError("it describes no array", path, f"{name}/zarr.json")
        arrays[name] = _array_writer(writer, name, node, aligned=name in own["aligned"])
    writer.adopt(
        arrays,
        attributes={k: v for k, v in attributes.items() if k != OWN_ATTRIBUTES},
        reserve={name: (start, len(raw)) for name, (start, raw) in documents.items()},
        is_clean=False,
    )
    _drop_unflushed(container, path, stop=stop, scanned=stop)


def _drop_unflushed(container: ContainerWriter, path: str, *, stop: int, scanned: int) -> None:
    """Cut off what no flush acknowledged, and say so if whole chunks are among it."""
    file = ReadFile(path)
    try:
        size = file.size()
        rest = next(walk(file, scanned, size), None)
    finally:
        file.close()
    if rest is not None and rest.kind != "cut":
        warnings.warn(
            f"{path}: {size - stop} bytes of samples that were never flushed are dropped; its "
            "writer stopped before the first flush",
            ChunkStoreWarning,
            stacklevel=5,
        )
    container.start_at(stop)
    container.durable = 0


def _array_writer(
    writer: Writer, name: str, metadata: ArrayMetadata, *, aligned: bool
) -> ArrayWriter:
    """Return a writer that continues an array of this metadata."""
    dtype, trailing = logical_form(metadata)
    shape = metadata.shape[1 : len(metadata.shape) - len(trailing)]
    if metadata.chunk_shape[1:] != tuple(max(1, n) for n in metadata.shape[1:]):
        raise CorruptionError(
            f"array {name!r} of a chunkstore file must be chunked along axis 0 only, its chunk "
            f"shape is {metadata.chunk_shape}"
        )
    spec = ArraySpec(
        dtype,
        shape,
        chunk_length=metadata.chunk_shape[0],
        attributes={k: v for k, v in metadata.attributes.items() if k != OWN_ATTRIBUTES},
    )
    array_writer = writer.array_writer(name, spec, metadata.chunk_shape[0], aligned=aligned)
    array_writer.codecs = metadata.codecs
    return array_writer
