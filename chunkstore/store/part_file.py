"""Which file of a folder holds a part of a data set?"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

PART_SUFFIX: Final = ".zarr.zip"


def part_path(folder: str | os.PathLike[str], name: str) -> Path:
    """Return the file of a part.

    Parameters
    ----------
    folder
        Of all parts.
    name
        Of the part, such as ``"train"``.

    Raises
    ------
    ValueError
        No file can be called so, or it would be hidden or lie elsewhere.

    Examples
    --------
    >>> part_path("data", "train").as_posix()
    'data/train.zarr.zip'
    """
    if not name or name != Path(name).name or name.startswith("."):
        raise ValueError(f"a part of a split names a file, got {name!r}")
    return Path(os.fspath(folder)) / (name + PART_SUFFIX)
