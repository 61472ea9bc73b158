"""How is the file of an import stored, so that a writer of very many arrays stays small?"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from chunkstore.format.codecs import WITHOUT_SHUFFLE
from chunkstore.settings import LEAST_CHUNK_NBYTES
from chunkstore.store.spec import choose_chunk_lengths, storage_options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chunkstore.importing.options import ImportOptions
    from chunkstore.store.spec import ArraySpec

# Decoded bytes of one chunk of every array: the writer holds them until they are full.
_BEGUN_NBYTES: Final = 64 << 20


def storage_of(specs: Mapping[str, ArraySpec], options: ImportOptions) -> dict[str, Any]:
    """Return how the new file is stored, with the settings in force in place of None.

    Parameters
    ----------
    specs
        Of its arrays, as far as they are known.
    options
        What was asked for.
    """
    storage = storage_options(
        options.codec, options.level, None, options.chunk_nbytes, options.typesize
    )
    chunk_nbytes = storage.chunk_nbytes
    if specs and options.chunk_nbytes is None and options.chunk_length is None:
        while (
            chunk_nbytes > LEAST_CHUNK_NBYTES and _begun_nbytes(specs, chunk_nbytes) > _BEGUN_NBYTES
        ):
            chunk_nbytes //= 2
    chosen = {
        "codec": storage.codec,
        "level": storage.level,
        "chunk_nbytes": chunk_nbytes,
        "chunk_length": options.chunk_length,
    }
    if storage.typesize is not None:
        chosen["typesize"] = storage.typesize
    return chosen


def _begun_nbytes(specs: Mapping[str, ArraySpec], chunk_nbytes: int) -> int:
    """Return the decoded bytes of one chunk of each array."""
    lengths = choose_chunk_lengths(dict(specs), target_nbytes=chunk_nbytes)
    return sum(length * specs[name].sample_nbytes for name, length in lengths.items())


def typesize_notes(specs: Mapping[str, ArraySpec], options: ImportOptions) -> list[str]:
    """Return what is said of a typesize that no array gets."""
    storage = storage_options(options.codec, options.level, None, None, options.typesize)
    if storage.typesize is None:
        return []
    if storage.codec in WITHOUT_SHUFFLE:
        return [f"typesize={storage.typesize} has no effect with codec={storage.codec!r}"]
    if any(storage.typesize_of(spec) for spec in specs.values()):
        return []
    return [unfitting(storage.typesize)]


def unfitting(typesize: int) -> str:
    """Return what is said of a typesize that fits no array."""
    return (
        f"typesize={typesize} has no effect: no array has samples of whole elements of so many "
        "bytes"
    )


def with_chunk_length(
    specs: Mapping[str, ArraySpec], chunk_length: int | None
) -> Mapping[str, ArraySpec]:
    """Return specs of which the widest array has a chunk length."""
    if chunk_length is None or not specs:
        return specs
    widest = max(
        specs, key=lambda name: math.prod(specs[name].sample_shape) * specs[name].dtype.itemsize
    )
    return {**specs, widest: replace(specs[widest], chunk_length=chunk_length)}
