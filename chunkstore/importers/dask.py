"""How do dask arrays become one file, on one machine or on a cluster?

On one machine the blocks are computed one after the other and appended. On a cluster each task
writes the samples of its blocks to a part file of its own, and the parts are merged by copying
their chunks: no sample goes through the client, and a part whose worker died is written again.
"""

from __future__ import annotations

import math
import shutil
import sys
import tempfile
import uuid
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from chunkstore.errors import ExistingFileError
from chunkstore.format.choosing import choose_codec
from chunkstore.format.codecs import WITHOUT_SHUFFLE, smallest_shuffle
from chunkstore.format.stored_dtype import to_stored
from chunkstore.progress import progress_bar
from chunkstore.settings import DEFAULT_CODEC, DEFAULT_LEVEL
from chunkstore.store.creating import create
from chunkstore.store.merging import merge
from chunkstore.store.saving import save
from chunkstore.store.spec import AUTO, ArraySpec, choose_chunk_lengths, storage_options

try:
    import dask
    import dask.array
except ImportError as error:
    raise ImportError("dask arrays need dask: pip install 'chunkstore[dask]'") from error

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from chunkstore.store.spec import Storage

# Decoded bytes of a part where dask's own blocks are smaller.
_PART_NBYTES: Final = 64 << 20


def from_dask(
    path: str | os.PathLike[str],
    arrays: Mapping[str, Any],
    *,
    client: Any = None,
    codec: str | None = None,
    level: int | None = None,
    shuffle: str | None = None,
    typesize: int | None = None,
    chunk_nbytes: int | None = None,
    attributes: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    progress: bool | None = None,
) -> None:
    """Write dask arrays of equal length into one file.

    Parameters
    ----------
    path
        The file.
    arrays
        By name: dask arrays, or what dask makes arrays of, all of one known length along axis 0.
    client
        A ``distributed.Client``; None takes the one in force, if there is one. Without any, the
        blocks are computed here, see `chunkstore.save`.
    codec, level, shuffle, typesize, chunk_nbytes, attributes, overwrite
        See `chunkstore.create`.
    progress
        Show a bar on stderr; None shows it on a terminal when the work takes over a second.

    Raises
    ------
    ValueError, TypeError
        Unequal or unknown lengths, or something that cannot be stored.
    ChunkStoreError
        See `chunkstore.create`.
    Exception
        What computing a block raises.

    Notes
    -----
    With a client, each task writes a part into a folder beside ``path``, which every worker must
    reach under that name; a part whose worker died is written again by another. The folder goes
    in the end, whatever the end is. A task holds its part in memory, some 64 MiB or one of dask's
    blocks; let dask's blocks be whole along all axes but the first, or it computes several for one.

    Examples
    --------
    >>> import dask.array as da, numpy as np, tempfile, os, chunkstore as cs
    >>> path = os.path.join(tempfile.mkdtemp(), "a.zarr.zip")
    >>> cs.from_dask(path, {"x": da.ones((100, 4), chunks=(30, 4)), "y": da.arange(100)})
    >>> cs.load(path)["y"].sum()
    np.int64(4950)
    """
    storage: dict[str, Any] = {
        "codec": codec,
        "level": level,
        "shuffle": shuffle,
        "typesize": typesize,
        "chunk_nbytes": chunk_nbytes,
    }
    client = _current_client() if client is None else client
    if client is None:
        save(
            path,
            arrays,
            attributes=attributes,
            overwrite=overwrite,
            progress=progress,
            **storage,
        )
        return
    target = Path(path)
    if target.exists() and not overwrite:
        raise ExistingFileError(
            "the file exists already; overwrite=True replaces it", str(target), errno=17
        )
    blocks = {name: _as_dask(name, array) for name, array in arrays.items()}
    num_samples = _common_length(blocks)
    specs = _decided_specs(blocks, storage_options(**storage))
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.parts-", dir=target.absolute().parent))
    try:
        parts = _write_parts(client, blocks, specs, num_samples, folder, progress=progress)
        merge(
            parts, path, attributes=dict(attributes or {}), overwrite=overwrite, progress=progress
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _current_client() -> Any:
    """Return the client in force, if the program has one."""
    distributed = sys.modules.get("distributed")
    if distributed is None:
        return None
    try:
        return distributed.default_client()
    except ValueError:
        return None


def _as_dask(name: str, array: Any) -> Any:
    if not isinstance(array, dask.array.Array):
        array = dask.array.from_array(array)
    if not array.ndim:
        raise ValueError(f"array {name!r}: samples have an axis 0 that counts them, got a scalar")
    if any(math.isnan(size) for size in array.shape):
        raise ValueError(
            f"array {name!r}: its shape {array.shape} is not known before it is computed; call "
            "compute_chunk_sizes() first"
        )
    return array


def _common_length(arrays: Mapping[str, Any]) -> int:
    if not arrays:
        raise ValueError("from_dask needs at least one array, got none")
    lengths = {name: int(array.shape[0]) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(
            "all arrays must have the same number of samples along axis 0, got "
            + ", ".join(f"{name}: {length}" for name, length in lengths.items())
        )
    return next(iter(lengths.values()))


def _decided_specs(arrays: Mapping[str, Any], storage: Storage) -> dict[str, ArraySpec]:
    """Return specs that leave nothing to the parts: chunk lengths, codecs and shuffles."""
    is_auto = storage.codec == AUTO
    given: dict[str, Any] = {} if is_auto else {"codec": storage.codec, "level": storage.level}
    specs = {
        name: ArraySpec(array.dtype, array.shape[1:], **given) for name, array in arrays.items()
    }
    lengths = choose_chunk_lengths(specs, target_nbytes=storage.chunk_nbytes)
    specs = {
        name: replace(spec, chunk_length=lengths[name], typesize=storage.typesize_of(spec))
        for name, spec in specs.items()
    }
    if not is_auto and (storage.shuffle != "auto" or storage.codec in WITHOUT_SHUFFLE):
        return {name: replace(spec, shuffle=storage.shuffle) for name, spec in specs.items()}
    firsts = dask.compute({name: array[: lengths[name]] for name, array in arrays.items()})[0]
    return {
        name: replace(
            spec,
            **_decided(to_stored(np.ascontiguousarray(firsts[name])), storage, spec.typesize),
        )
        for name, spec in specs.items()
    }


def _decided(first: NDArray[Any], storage: Storage, typesize: int | None) -> dict[str, Any]:
    """Return what the first chunk of an array decides, as a writer would."""
    is_auto = storage.codec == AUTO
    if not first.size:
        default = {"codec": DEFAULT_CODEC, "level": DEFAULT_LEVEL} if is_auto else {}
        return {**default, "shuffle": "none"}
    if is_auto:
        return choose_codec(first, shuffle=storage.shuffle, typesize=typesize).options
    return {
        "shuffle": smallest_shuffle(
            first, codec=storage.codec, level=storage.level, typesize=typesize
        )
    }


def _write_parts(
    client: Any,
    arrays: Mapping[str, Any],
    specs: Mapping[str, ArraySpec],
    num_samples: int,
    folder: Path,
    *,
    progress: bool | None,
) -> list[str]:
    """Let the workers write the parts; return their names in order."""
    from distributed import as_completed

    length = _part_length(arrays, specs)
    starts = range(0, max(num_samples, 1), length)
    sizes = tuple(min(length, num_samples - start) for start in starts)
    rows = {
        name: array.rechunk((sizes, *((size,) for size in array.shape[1:])))
        .to_delayed()
        .reshape(-1)
        for name, array in arrays.items()
    }
    tasks = [
        dask.delayed(_write_part, pure=False)(
            {name: rows[name][i] for name in arrays}, dict(specs), str(folder), i
        )
        for i in range(len(sizes))
    ]
    futures = client.compute(tasks)
    numbers = {future.key: i for i, future in enumerate(futures)}
    names = [""] * len(futures)
    try:
        with progress_bar(num_samples, what="writing", unit="samples", show=progress) as advance:
            for future in as_completed(futures):
                i = numbers[future.key]
                names[i] = future.result()
                advance(sizes[i])
    except BaseException:
        client.cancel(futures)
        raise
    return names


def _part_length(arrays: Mapping[str, Any], specs: Mapping[str, ArraySpec]) -> int:
    """Return the samples of a part: whole chunks of the widest array, at least a block of it."""
    widest = max(specs, key=lambda name: specs[name].sample_nbytes)
    unit = specs[widest].chunk_length or 1
    total = max(1, sum(spec.sample_nbytes for spec in specs.values()))
    wanted = max(max(arrays[widest].chunks[0], default=1), _PART_NBYTES // total)
    return -(-wanted // unit) * unit


def _write_part(
    samples: Mapping[str, NDArray[Any]], specs: Mapping[str, ArraySpec], folder: str, number: int
) -> str:
    """Write one part, on a worker; return its name."""
    # Two workers may be at the same part, if one was believed dead.
    path = Path(folder) / f"{number:06d}-{uuid.uuid4().hex}.zarr.zip"
    with create(path, arrays=specs) as writer:
        writer.append_mapping(samples, owned=True)
    return str(path)
