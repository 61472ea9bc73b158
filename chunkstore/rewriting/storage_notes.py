"""What is not kept of how arrays are stored, and which options have no effect on them?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from chunkstore.format.blosc import BloscCodec
from chunkstore.format.codecs import WITHOUT_SHUFFLE
from chunkstore.importing.storage import unfitting
from chunkstore.rewriting.contents import fitting_typesize, writable_chain

if TYPE_CHECKING:
    from chunkstore.rewriting.contents import Contents
    from chunkstore.rewriting.options import RewriteOptions
    from chunkstore.store.array import Array


def storage_notes(contents: Contents, options: RewriteOptions) -> tuple[str, ...]:
    """Return sentences about codecs, missing chunks and axes, and options without effect.

    Parameters
    ----------
    contents
        Of the source.
    options
        What was asked for.
    """
    notes: list[str] = []
    arrays = [*contents.samples.values(), *contents.beside.values()]
    for array in arrays:
        if options.codec is None:
            notes += _codec_notes(array, options)
        if not contents.store.is_ours:
            notes += _foreign_notes(array)
    if options.codec in WITHOUT_SHUFFLE:
        given = {"shuffle": options.shuffle, "typesize": options.typesize}
        if options.codec == "raw":
            given["level"] = options.level
        notes += [
            f"{name}={value} has no effect with codec={options.codec!r}"
            for name, value in given.items()
            if value is not None
        ]
    elif options.typesize is not None and not any(
        fitting_typesize(array, options.typesize) for array in arrays
    ):
        notes.append(unfitting(options.typesize))
    return tuple(notes)


def _codec_notes(array: Array, options: RewriteOptions) -> list[str]:
    """Return what is said of an array for which no codec was named."""
    chain = writable_chain(array)
    if chain is None:
        name = array.name
        return [f"array {name!r} is stored with {array.codec}, not written here; now the default"]
    if any(isinstance(codec, BloscCodec) for codec in chain.behind):
        return []
    given = {"shuffle": options.shuffle, "typesize": options.typesize}
    if not chain.behind:
        given["level"] = options.level
    where = f"array {array.name!r}, stored with {array.codec}"
    return [
        f"{name}={value} has no effect on {where}; name a codec"
        for name, value in given.items()
        if value is not None
    ]


def _foreign_notes(array: Array) -> list[str]:
    notes = []
    missing = math.prod(array._node.metadata.grid.counts) - array._node.table.num_stored
    if array.size and missing > 0:
        notes.append(
            f"array {array.name!r}: {missing} chunks that are missing are stored with the fill "
            f"value {array.fill_value}"
        )
    named = [name for name in array.dimension_names or () if name is not None]
    if named:
        notes.append(
            f"array {array.name!r}: the names of its axes, {', '.join(map(repr, named))}, are not "
            "kept"
        )
    return notes
