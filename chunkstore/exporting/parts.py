"""How do the parts of a file become files of their own?"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING

from chunkstore.errors import ExistingFileError
from chunkstore.splitting import split
from chunkstore.store.part_file import part_path
from chunkstore.store.saving import save_like

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chunkstore.store.store import Store


def write_parts(
    store: Store,
    folder: str | os.PathLike[str],
    fractions: Mapping[str, float],
    *,
    seed: int = 0,
    stratify: str | None = None,
    groups: str | None = None,
    overwrite: bool = False,
    progress: bool | None = None,
) -> dict[str, tuple[Path, int]]:
    """Divide the samples of a store between files of the same chunks, codecs and attributes.

    Parameters
    ----------
    store
        What is divided.
    folder
        Of the files ``NAME.zarr.zip``; it is made if it does not exist.
    fractions, seed, stratify
        See `chunkstore.split`.
    groups
        Name of the array of groups: the samples of one stay together.
    overwrite
        Replace existing files, each once the new one is complete.
    progress
        Show a bar on stderr; None shows it on a terminal when the work takes over a second.

    Returns
    -------
    written
        By part: the file and its samples. Its attribute ``part`` says which part of what it is.

    Raises
    ------
    ExistingFileError
        One of the files exists; none is written then.
    ValueError
        A name that no file can have; and see `chunkstore.split`.
    """
    target = Path(os.fspath(folder))
    paths = {}
    for name in fractions:
        paths[name] = part_path(target, name)
        if os.path.lexists(paths[name]) and not overwrite:
            raise ExistingFileError(
                "the file exists already; overwrite=True replaces it",
                str(paths[name]),
                errno=errno.EEXIST,
            )
    parts = split(
        store,
        fractions,
        by="sample" if groups is None else "group",
        groups=groups,
        stratify=stratify,
        seed=seed,
    )
    target.mkdir(parents=True, exist_ok=True)
    how = {"fractions": dict(fractions), "seed": seed, "stratify": stratify, "groups": groups}
    return {
        name: (
            paths[name],
            save_like(
                paths[name],
                store,
                part,
                attributes={"part": {"name": name, "of": store.path, **how}},
                overwrite=overwrite,
                progress=progress,
            ),
        )
        for name, part in parts.items()
    }
