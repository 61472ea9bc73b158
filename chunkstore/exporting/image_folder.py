"""How do stored pictures become a folder of PNG files?"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from chunkstore import system
from chunkstore.errors import UnsupportedError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from chunkstore.exporting.contents import Contents

_SUFFIX: Final = ".png"
_CLASS_NAMES: Final = "class_names"
_MODES: Final = (None, "L", "LA", "RGB", "RGBA")


def write_images(contents: Contents, out: Path) -> None:
    """Write each sample as a PNG file, which loses nothing.

    Parameters
    ----------
    contents
        One array of pictures: bytes of shape ``(height, width)`` or ``(height, width, channels)``
        with 1 to 4 channels, or 16-bit gray. Of the same source, an array ``y`` of class numbers
        gives a folder for each class, called as the attribute ``class_names`` says; an array
        ``name`` of text gives the names of the files, their own folders left out.
    out
        The new folder.

    Raises
    ------
    ValueError
        Not one array of pictures, or two samples of one name.
    UnsupportedError
        A type that PNG has not.
    """
    try:
        import PIL.Image  # noqa: F401 - said before the first file
    except ImportError as error:
        raise ImportError("images need pillow: pip install 'chunkstore[images]'") from error
    name = _choose_array(contents)
    array = contents.arrays[name]
    _check_pictures(name, array)
    labels = _labels(contents, len(array))
    class_names = _class_names(contents, labels)
    given = contents.source.get("name")
    if given is not None and (given.dtype.kind != "U" or given.shape != array.shape[:1]):
        given = None
    width = len(str(max(len(array) - 1, 0)))
    out.mkdir(parents=True)
    for folder in class_names.values():
        (out / folder).mkdir(exist_ok=True)
    threads = system.calls.available_cores()
    seen: set[str] = set()
    start = 0
    with ThreadPoolExecutor(threads) as pool:
        for block in contents.iter_blocks(name):
            stop = start + len(block)
            stems = (
                [f"{i:0{width}d}" for i in range(start, stop)]
                if given is None
                else [_stem(str(text), i) for i, text in enumerate(given[start:stop], start)]
            )
            folders = (
                [""] * len(block)
                if labels is None
                else [class_names[int(label)] for label in labels[start:stop]]
            )
            paths = [
                PurePosixPath(folder, stem + _SUFFIX)
                for folder, stem in zip(folders, stems, strict=True)
            ]
            for i, path in enumerate(paths, start=start):
                # Some systems take upper and lower case for the same.
                if str(path).casefold() in seen:
                    raise ValueError(f"sample {i} has the name of another one: {str(path)!r}")
                seen.add(str(path).casefold())
            targets = [out / path for path in paths]
            list(pool.map(_write_picture, block, targets))
            start = stop


def _choose_array(contents: Contents) -> str:
    pictures = [name for name in contents.arrays if name not in ("y", "name")]
    candidates = [name for name in pictures if contents.arrays[name].ndim in (3, 4)]
    if len(candidates) != 1:
        found = ", ".join(map(repr, candidates)) or "none"
        raise ValueError(
            f"images are exported from one array of pictures, and there are {found}: name one with "
            "arrays="
        )
    return candidates[0]


def _check_pictures(name: str, array: Any) -> None:
    channels = 1 if array.ndim == 3 else array.shape[3]
    is_gray16 = array.dtype == np.uint16 and channels == 1
    if not (array.dtype == np.uint8 and 1 <= channels < len(_MODES)) and not is_gray16:
        raise UnsupportedError(
            f"array {name!r} of type {array.dtype} and sample shape {array.shape[1:]} is no "
            "picture: PNG holds bytes of 1 to 4 channels, which stand last, or 16-bit gray; scale "
            "and convert it first"
        )


def _labels(contents: Contents, num_pictures: int) -> NDArray[np.int64] | None:
    labels = contents.source.get("y")
    if labels is None or labels.dtype.kind not in "iu" or labels.shape != (num_pictures,):
        return None
    return np.asarray(labels[:]).astype(np.int64)


def _class_names(contents: Contents, labels: NDArray[np.int64] | None) -> dict[int, str]:
    """Return the folder of each class."""
    if labels is None:
        return {}
    known = contents.array_attributes("y").get(_CLASS_NAMES)
    # The file's are those of its only labels.
    if known is None and not any(
        _CLASS_NAMES in contents.array_attributes(name) for name in contents.source
    ):
        known = contents.attributes.get(_CLASS_NAMES)
    names = {}
    for label in np.unique(labels).tolist():
        name = str(label)
        if isinstance(known, list) and 0 <= label < len(known):
            name = str(known[label])
        if not name or name in (".", "..") or set(name) & set('/\\\0:*?"<>|'):
            raise ValueError(f"class {label} has the name {name!r}, which no folder can have")
        names[label] = name
    if len({name.casefold() for name in names.values()}) < len(names):
        raise ValueError(f"two classes have one name: {sorted(names.values())}")
    return names


def _stem(text: str, number: int) -> str:
    """Return the name of a file without folders and suffix."""
    stem = PurePosixPath(text.replace("\\", "/")).stem
    if not stem or stem in (".", "..") or "\0" in stem:
        raise ValueError(f"sample {number} has the name {text!r}, which no file can have")
    return stem


def _write_picture(picture: NDArray[Any], target: Path) -> None:
    import PIL.Image

    values = picture[..., 0] if picture.ndim == 3 and picture.shape[2] == 1 else picture
    PIL.Image.fromarray(np.ascontiguousarray(values)).save(target, compress_level=1)
