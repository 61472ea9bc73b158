"""How does a set of arrays go into a file in one call, and come back?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from chunkstore.progress import progress_bar
from chunkstore.store.creating import create
from chunkstore.store.samples import as_source, block_bounds
from chunkstore.store.spec import ArraySpec
from chunkstore.store.store import open_store

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from chunkstore.store.store import Store


def save(
    path: str | os.PathLike[str],
    arrays: Mapping[str, Any],
    *,
    unaligned: Mapping[str, Any] | None = None,
    codec: str | None = None,
    level: int | None = None,
    shuffle: str | None = None,
    typesize: int | None = None,
    chunk_nbytes: int | None = None,
    attributes: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    progress: bool | None = None,
) -> None:
    """Write arrays of equal length into one file.

    Parameters
    ----------
    path
        The file.
    arrays
        By name: NumPy, dask, zarr, h5py, or anything with ``shape``, ``dtype`` and slices, all of
        one length along axis 0. Read block by block: some 16 MiB of the widest at a time, or
        one of its own chunks where these are larger. Must not change during the call.
    unaligned
        Further arrays of any length, for example a mean image.
    codec, level, shuffle, typesize, chunk_nbytes, attributes, overwrite
        See `chunkstore.create`.
    progress
        Show a bar on stderr; None shows it on a terminal when the work takes over a second.

    Raises
    ------
    ValueError, TypeError
        Unequal lengths, or something that cannot be stored.
    ChunkStoreError
        See `chunkstore.create`.

    Examples
    --------
    >>> import numpy as np, tempfile, os, chunkstore as cs
    >>> path = os.path.join(tempfile.mkdtemp(), "a.zarr.zip")
    >>> cs.save(path, {"x": np.ones((3, 2)), "y": np.arange(3)}, unaligned={"mean": np.ones(2)})
    >>> cs.load(path)["y"].tolist()
    [0, 1, 2]
    """
    if not isinstance(arrays, Mapping):
        raise TypeError(
            f"save takes a mapping from names to arrays, such as {{'x': x}}; got "
            f"{type(arrays).__name__}"
        )
    if not arrays:
        raise ValueError("save needs at least one array, got none")
    sources = {name: as_source(name, value) for name, value in arrays.items()}
    lengths = {name: source.shape[0] for name, source in sources.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(
            "all arrays must have the same number of samples along axis 0, got "
            + ", ".join(f"{name}: {length}" for name, length in lengths.items())
            + "; arrays of other lengths go into unaligned={...}"
        )
    others = {name: as_source(name, value) for name, value in (unaligned or {}).items()}
    if shared := sorted(set(others) & set(sources)):
        raise ValueError(f"{', '.join(shared)}: given as aligned and as unaligned")
    specs = {name: ArraySpec(source.dtype, source.shape[1:]) for name, source in sources.items()}
    total = sum(source.nbytes for source in (*sources.values(), *others.values()))
    with (
        create(
            path,
            codec=codec,
            level=level,
            shuffle=shuffle,
            typesize=typesize,
            chunk_nbytes=chunk_nbytes,
            arrays=specs,
            attributes=attributes,
            overwrite=overwrite,
        ) as writer,
        progress_bar(total, what="writing", show=progress) as advance,
    ):
        # The caller still has the arrays: an unfinished file would only stand in the way.
        writer.keeps_unfinished = False
        widest = max(sources.values(), key=lambda source: source.nbytes)
        for start, stop in block_bounds(widest, writer.chunk_length):
            blocks = {name: source.block(start, stop) for name, source in sources.items()}
            writer.append_mapping(blocks, owned=True)
            advance(sum(block.nbytes for block in blocks.values()))
        for name, source in others.items():
            writer.put(name, source.value, aligned=False)
            advance(source.nbytes)


def save_like(
    path: str | os.PathLike[str],
    model: Store,
    arrays: Mapping[str, Any],
    *,
    attributes: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    progress: bool | None = None,
) -> int:
    """Write samples with the chunks, codecs and attributes of a store, and return how many.

    Parameters
    ----------
    path
        The new file.
    model
        A store; arrays of it that are not values of samples are copied.
    arrays
        For each of its arrays of samples what the new file holds of it: anything of the same type
        and sample shape, see `save`.
    attributes
        Beside those of the store.
    overwrite, progress
        See `save`.
    """
    names = model.sample_arrays
    sources = {name: as_source(name, arrays[name]) for name in names}
    specs = {
        name: ArraySpec(
            model[name].dtype,
            model[name].shape[1:],
            chunk_length=model[name].chunk_length,
            attributes=model[name].attributes,
        )
        for name in names
    }
    with (
        create(
            path,
            arrays=specs,
            attributes={**model.attributes, **(attributes or {})},
            overwrite=overwrite,
        ) as writer,
        progress_bar(
            sum(source.nbytes for source in sources.values()), what="writing", show=progress
        ) as advance,
    ):
        writer.keeps_unfinished = False
        for name in names:
            writer.use_codecs(name, model[name]._node.metadata.codecs)
        widest = max(sources.values(), key=lambda source: source.nbytes)
        for start, stop in block_bounds(widest, writer.chunk_length):
            blocks = {name: source.block(start, stop) for name, source in sources.items()}
            writer.append_mapping(blocks, owned=True)
            advance(sum(block.nbytes for block in blocks.values()))
        for name in model:
            if name not in names:
                array = model[name]
                writer.put(name, array, aligned=False, attributes=dict(array.attributes))
        return writer.num_samples


def load(
    path: str | os.PathLike[str],
    names: Iterable[str] | None = None,
    *,
    progress: bool | None = None,
) -> dict[str, NDArray[Any]]:
    """Read whole arrays into memory.

    Parameters
    ----------
    path
        The file.
    names
        Which arrays; None reads all.
    progress
        Show a bar on stderr; None shows it on a terminal when the work takes over a second.

    Returns
    -------
    arrays
        New arrays by name, owned by the caller.

    Raises
    ------
    KeyError
        An array that is not in the file.
    ChunkStoreError
        See `chunkstore.open`.

    Examples
    --------
    >>> import numpy as np, tempfile, os, chunkstore as cs
    >>> path = os.path.join(tempfile.mkdtemp(), "a.zarr.zip")
    >>> cs.save(path, {"x": np.arange(6).reshape(3, 2)})
    >>> cs.load(path, ["x"])["x"].tolist()
    [[0, 1], [2, 3], [4, 5]]
    """
    if isinstance(names, str):
        raise TypeError(f"names is a list of names, got the string {names!r}; write [{names!r}]")
    with open_store(path) as store:
        arrays = {name: store[name] for name in (store if names is None else names)}
        total = sum(array.nbytes for array in arrays.values())
        with progress_bar(total, what="reading", show=progress) as advance:
            return {
                name: array._read_range(0, len(array), (), advance=advance)
                if array.shape
                else array[...]
                for name, array in arrays.items()
            }
