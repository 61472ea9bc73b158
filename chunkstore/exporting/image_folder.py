"""How do stored pictures become a folder of PNG files?"""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from chunkstore import system
from chunkstore.errors import ChunkStoreWarning, UnsupportedError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from chunkstore.exporting.contents import Contents

_SUFFIX: Final = ".png"
_CLASS_NAMES: Final = "class_names"
_MODES: Final = (None, "L", "LA", "RGB", "RGBA")
_JUNK_FOLDERS: Final = frozenset({"__MACOSX"})
_HIDDEN: Final = "and what is called so counts as hidden: import_images would leave it out"
_MOST_CLASSES: Final = 1 << 20


def write_images(contents: Contents, out: Path) -> None:
    """Write each sample as a PNG file, which loses nothing.

    Parameters
    ----------
    contents
        One array of pictures: bytes of shape ``(height, width)`` or ``(height, width, channels)``
        with 1 to 4 channels, or 16-bit gray. Of the same source, an array ``y`` of class numbers
        gives a folder for each class, called as the attribute ``class_names`` says; an array
        ``name`` of text gives the names of the files. Folders in such a name are made, but for
        pictures of classes: these lie in the folder of their class, and below it in further folders
        where their name begins with that one.
    out
        The new folder.

    Raises
    ------
    ValueError
        Not one array of pictures, two samples of one name, or a name that is hidden.
    UnsupportedError
        A type that PNG has not.

    Warns
    -----
    ChunkStoreWarning
        There is an array ``y`` or ``name`` that says no classes or names.
    """
    try:
        import PIL.Image  # noqa: F401 - said before the first file
    except ImportError as error:
        raise ImportError("images need pillow: pip install 'chunkstore[images]'") from error
    name = _choose_array(contents)
    array = contents.arrays[name]
    _check_pictures(name, array)
    labels = _labels(contents, len(array))
    known = _known_classes(contents)
    class_names = {} if labels is None else _class_names(labels, known)
    given = _names(contents, len(array))
    if all_names := _all_names(class_names, known):
        contents.told["class_names"] = all_names
    width = len(str(max(len(array) - 1, 0)))
    out.mkdir(parents=True)
    made: set[PurePosixPath] = set()
    threads = system.calls.available_cores()
    seen: set[str] = set()
    start = 0
    with ThreadPoolExecutor(threads) as pool:
        for block in contents.iter_blocks(name):
            stop = start + len(block)
            texts = None if given is None else given[start:stop].tolist()
            targets = []
            for i in range(start, stop):
                folder = "" if labels is None else class_names[int(labels[i])]
                path = (
                    PurePosixPath(folder, f"{i:0{width}d}{_SUFFIX}")
                    if texts is None
                    else _path(texts[i - start], i, folder)
                )
                # Some systems take upper and lower case for the same.
                if str(path).casefold() in seen:
                    raise ValueError(
                        f"sample {i} has the name of another one: {str(path)!r}; call it otherwise "
                        "in the array 'name', or export the pictures without that array"
                    )
                seen.add(str(path).casefold())
                if path.parent not in made:
                    (out / path.parent).mkdir(parents=True, exist_ok=True)
                    made.add(path.parent)
                targets.append(out / path)
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
    if labels is None:
        return None
    if labels.dtype.kind not in "iu" or labels.shape != (num_pictures,):
        _warn("y", labels, "says no classes: these are whole numbers, one for each picture")
        return None
    return np.asarray(labels[:]).astype(np.int64)


def _names(contents: Contents, num_pictures: int) -> Any:
    names = contents.source.get("name")
    if names is None:
        return None
    if names.dtype.kind != "U" or names.shape != (num_pictures,):
        _warn("name", names, "says no names of files: these are texts, one for each picture")
        return None
    return names


def _warn(name: str, array: Any, what: str) -> None:
    warnings.warn(
        f"array {name!r} of type {array.dtype} and shape {tuple(array.shape)} {what}",
        ChunkStoreWarning,
        stacklevel=2,
    )


def _known_classes(contents: Contents) -> list[str]:
    """Return the names of classes by number, as far as attributes say them."""
    known = contents.array_attributes("y").get(_CLASS_NAMES)
    # The file's are those of its only labels.
    if known is None and not any(
        _CLASS_NAMES in contents.array_attributes(name) for name in contents.source
    ):
        known = contents.attributes.get(_CLASS_NAMES)
    return [str(name) for name in known] if isinstance(known, list) else []


def _class_names(labels: NDArray[np.int64], known: list[str]) -> dict[int, str]:
    """Return the folder of each class that there is."""
    names = {}
    for label in np.unique(labels).tolist():
        name = known[label] if 0 <= label < len(known) else str(label)
        if not name or name in (".", "..") or set(name) & set('/\\\0:*?"<>|'):
            raise ValueError(f"class {label} has the name {name!r}, which no folder can have")
        if _is_hidden(name):
            raise ValueError(f"class {label} has the name {name!r}, {_HIDDEN}")
        names[label] = name
    if len({name.casefold() for name in names.values()}) < len(names):
        raise ValueError(f"two classes have one name: {sorted(names.values())}")
    return names


def _all_names(class_names: dict[int, str], known: list[str]) -> list[str] | None:
    """Return the names of classes in the order of their numbers, for a reader of the folder.

    Numbers that have none are their own names. None where a list cannot say it.
    """
    if not class_names or min(class_names) < 0 or max(class_names) >= _MOST_CLASSES:
        return None
    names = [*known, *map(str, range(len(known), max(class_names) + 1))]
    return names if len(set(names)) == len(names) else None


def _path(text: str, number: int, folder: str) -> PurePosixPath:
    """Return where in the new folder a sample of a name lies.

    Parameters
    ----------
    text
        Its name, with folders and a suffix.
    number
        Of the sample, for errors.
    folder
        Of its class; empty where there are no classes.
    """
    *above, last = text.replace("\\", "/").split("/")
    stem = PurePosixPath(last).stem
    if not stem or last in (".", "..") or "\0" in text:
        raise ValueError(f"sample {number} has the name {text!r}, which no file can have")
    # What leads up or to the top says nothing below a folder of ours.
    above = [part for part in above if part not in ("", ".", "..")]
    if folder:
        above = above if above[:1] == [folder] else [folder]
    if any(map(_is_hidden, (*above, last))):
        raise ValueError(f"sample {number} has the name {text!r}, {_HIDDEN}")
    return PurePosixPath(*above, stem + _SUFFIX)


def _is_hidden(part: str) -> bool:
    return part.startswith(".") or part in _JUNK_FOLDERS


def _write_picture(picture: NDArray[Any], target: Path) -> None:
    import PIL.Image

    values = picture[..., 0] if picture.ndim == 3 and picture.shape[2] == 1 else picture
    PIL.Image.fromarray(np.ascontiguousarray(values)).save(target, compress_level=1)
