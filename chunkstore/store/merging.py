"""How do several files become one without encoding their chunks again?

A chunk that begins at a chunk's end in the new file is copied as it is stored, checked on the way.
Where a part ends inside a chunk, the chunks behind that place begin elsewhere in the new file: they
are decoded and encoded again, and the report counts them.
"""

from __future__ import annotations

import errno
import os
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chunkstore.container.writer import hold
from chunkstore.errors import ExistingFileError, UnsupportedError
from chunkstore.progress import progress_bar
from chunkstore.store.array_reader import logical_form
from chunkstore.store.creating import create
from chunkstore.store.moving import PartMover
from chunkstore.store.node import OWN_ATTRIBUTES
from chunkstore.store.open_file import OpenFile
from chunkstore.store.report import MergeReport
from chunkstore.store.spec import ArraySpec
from chunkstore.store.store import PARTIAL_SUFFIX, Store, check_is_file, path_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from chunkstore.format.metadata import ArrayMetadata


def merge(
    parts: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    attributes: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    progress: bool | None = None,
) -> MergeReport:
    """Join files of equal arrays, one behind the other, into a new file.

    Stored chunks are copied as they are, as long as every part but the last holds whole chunks; of
    other parts, what follows is encoded again.

    Parameters
    ----------
    parts
        Files of ours with the same aligned arrays: names, data types and sample shapes. The chunk
        lengths and codecs of the first part are those of the new file.
    out
        The new file; it appears when it is complete.
    attributes
        Of the new file; by default those that all parts have with equal values.
    overwrite
        True replaces an existing file, and drops what a killed merge left.
    progress
        Show a bar on stderr; None shows it on a terminal when the work takes over a second.

    Returns
    -------
    report
        How many chunks were copied, and how many encoded again.

    Raises
    ------
    ValueError
        The parts do not have the same arrays; says which part differs and in what.
    CorruptionError
        A chunk of a part is damaged; names it.
    ChunkStoreError
        See `chunkstore.create` and `chunkstore.open`.

    Notes
    -----
    Arrays that are not aligned, such as a mean image, must be equal in all parts, however they are
    encoded.

    Examples
    --------
    >>> import numpy as np, tempfile, os, chunkstore as cs
    >>> folder = tempfile.mkdtemp()
    >>> names = [os.path.join(folder, f"{i}.zarr.zip") for i in range(2)]
    >>> for i, name in enumerate(names):
    ...     cs.save(name, {"y": np.arange(i * 4096, (i + 1) * 4096)}, chunk_nbytes=1 << 15)
    >>> report = cs.merge(names, os.path.join(folder, "all.zarr.zip"))
    >>> report.num_samples, report.copied_chunks, report.encoded_chunks
    (8192, 2, 0)
    """
    if isinstance(parts, str | os.PathLike):
        raise TypeError(f"merge takes a list of files, got one: {os.fspath(parts)!r}")
    paths = [path_of(part) for part in parts]
    if not paths:
        raise ValueError("merge needs at least one file, got none")
    first, *others = [_read_part(path) for path in paths]
    for other in others:
        _check_alike(first, other)
    common = {
        key: value
        for key, value in first.attributes.items()
        if all(key in other.attributes and other.attributes[key] == value for other in others)
    }
    copied = encoded = 0
    _check_partial(path_of(out), overwrite=overwrite)
    writer = create(
        out,
        arrays=first.specs,
        attributes=common if attributes is None else attributes,
        overwrite=overwrite,
    )
    with (
        writer,
        progress_bar(
            sum(part.encoded_nbytes for part in (first, *others)), what="merging", show=progress
        ) as advance,
    ):
        # The parts are still there: an unfinished file would only stand in the way.
        writer.keeps_unfinished = False
        for name in first.specs:
            writer.use_codecs(name, first.metadata[name].codecs)
        for path in paths:
            file = OpenFile(path)
            try:
                with writer.arrays_apart() as (array_writers, pipeline):
                    mover = PartMover(file, array_writers, pipeline, advance)
                    mover.move()
                copied += mover.num_copied
                encoded += mover.num_encoded
                if path == paths[0]:
                    for name, array in _unaligned(file).items():
                        writer.put(name, array, aligned=False, attributes=dict(array.attributes))
            finally:
                file.close()
        num_samples = writer.num_samples
    return MergeReport(path_of(out), tuple(paths), num_samples, copied, encoded)


def _check_partial(out: str, *, overwrite: bool) -> None:
    """Raise ExistingFileError for what a killed writer left, which no merge goes on with."""
    partial = out + PARTIAL_SUFFIX
    if overwrite or os.path.lexists(out) or not os.path.exists(partial):
        return
    with hold(partial):
        raise ExistingFileError(
            f"a merge or another writer of this file was killed and left {partial}; a merge "
            "begins anew: overwrite=True (--overwrite) drops what was left, once you are sure that "
            "nothing in it is wanted",
            out,
            errno=errno.EEXIST,
        )


@dataclass(frozen=True)
class _Part:
    """What must be alike in all parts."""

    path: str
    specs: dict[str, ArraySpec]
    metadata: dict[str, ArrayMetadata]
    unaligned: dict[str, str]
    attributes: dict[str, Any]
    encoded_nbytes: int


def _read_part(path: str) -> _Part:
    check_is_file(path)
    file = OpenFile(path)
    try:
        own = file.nodes.own
        if own is None:
            raise UnsupportedError(
                "only files written by chunkstore are merged; bring this one over with "
                "chunkstore.save(path, chunkstore.open(...))",
                path,
            )
        nodes = {name: file.nodes.arrays[name] for name in own["arrays"]}
        metadata = {name: nodes[name].metadata for name in own["aligned"]}
        store = Store(file)
        return _Part(
            path,
            {name: _spec_of(value) for name, value in metadata.items()},
            metadata,
            {name: array.fingerprint for name, array in _unaligned(file).items()},
            store.attributes,
            sum(node.table.encoded_nbytes for node in nodes.values()),
        )
    finally:
        file.close()


def _unaligned(file: OpenFile) -> dict[str, Any]:
    own: dict[str, Any] = file.nodes.own or {}
    store = Store(file)
    return {name: store[name] for name in own["arrays"] if name not in own["aligned"]}


def _spec_of(metadata: ArrayMetadata) -> ArraySpec:
    dtype, trailing = logical_form(metadata)
    return ArraySpec(
        dtype,
        metadata.shape[1 : len(metadata.shape) - len(trailing)],
        chunk_length=metadata.chunk_shape[0],
        attributes={k: v for k, v in metadata.attributes.items() if k != OWN_ATTRIBUTES},
    )


def _check_alike(first: _Part, other: _Part) -> None:
    where = f"{other.path} cannot follow {first.path}: "
    if set(other.specs) != set(first.specs):
        raise ValueError(
            f"{where}it has the arrays {', '.join(sorted(other.specs))}; "
            f"expected {', '.join(sorted(first.specs))}"
        )
    for name, spec in first.specs.items():
        found = other.specs[name]
        if (found.dtype, found.sample_shape) != (spec.dtype, spec.sample_shape):
            raise ValueError(
                f"{where}array {name!r} has samples of {found.dtype} {found.sample_shape}; "
                f"expected {spec.dtype} {spec.sample_shape}"
            )
    names = sorted(
        name
        for name in {*first.unaligned, *other.unaligned}
        if first.unaligned.get(name) != other.unaligned.get(name)
        # Equal ones that are encoded differently have other fingerprints.
        and not (
            name in first.unaligned
            and name in other.unaligned
            and _are_equal(first.path, other.path, name)
        )
    )
    if names:
        raise ValueError(
            f"{where}arrays that are not aligned must be equal in all parts; "
            f"{', '.join(names)} differ"
        )


def _are_equal(first: str, other: str, name: str) -> bool:
    """Return whether two files have arrays of one name with equal type, attributes and bytes."""
    with closing(OpenFile(first)) as first_file, closing(OpenFile(other)) as other_file:
        one, two = Store(first_file)[name], Store(other_file)[name]
        if (one.dtype, one.shape, dict(one.attributes)) != (
            two.dtype,
            two.shape,
            dict(two.attributes),
        ):
            return False
        step = max(one.chunk_length, two.chunk_length)
        return all(
            one[start : start + step].tobytes() == two[start : start + step].tobytes()
            for start in range(0, one.shape[0], step)
        )
