"""How do the archives of CIFAR-10 and CIFAR-100 become files of images and labels?"""

from __future__ import annotations

import gzip
import os
import tarfile
import zlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import numpy as np

from chunkstore.errors import ChunkStoreError, CorruptionError, FormatError, MissingFileError
from chunkstore.importers.arrays.column import MappedColumn, MemoryColumn
from chunkstore.importers.arrays.files import file_identity
from chunkstore.importers.arrays.options import import_arrays, plan_arrays
from chunkstore.importers.arrays.samples import ArraySamples
from chunkstore.importers.pickles_arrays import load_arrays

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Unpack

    from numpy.typing import NDArray

    from chunkstore.importers.arrays.options import ArrayPlan, ImportArguments, Imported
    from chunkstore.importing.run import ImportReport

Part = Literal["train", "test"]
Layout = Literal["hwc", "chw"]
Pad = Literal["channel-mean", "line-mean", "zero", "reflect"]
_SIDE: Final = 32
_ROW_NBYTES: Final = 3 * _SIDE * _SIDE
# No member of the archives is nearly as large.
_MAX_MEMBER_NBYTES: Final = 512 << 20


@dataclass(frozen=True)
class _Kind:
    """One of the two data sets: its members, and the keys of its labels by the arrays' names."""

    parts: dict[str, tuple[str, ...]]
    meta: str
    labels: dict[str, str]
    class_names: dict[str, str]


_CIFAR_10: Final = _Kind(
    {"train": tuple(f"data_batch_{i}" for i in range(1, 6)), "test": ("test_batch",)},
    "batches.meta",
    {"y": "labels"},
    {"y": "label_names"},
)
_CIFAR_100: Final = _Kind(
    {"train": ("train",), "test": ("test",)},
    "meta",
    {"y": "fine_labels", "coarse": "coarse_labels"},
    {"y": "fine_label_names", "coarse": "coarse_label_names"},
)


def import_cifar(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    part: Part | None = None,
    layout: Layout = "hwc",
    size: int | None = None,
    pad: Pad = "channel-mean",
    **options: Unpack[ImportArguments],
) -> Imported:
    """Bring CIFAR-10 or CIFAR-100 into files, from the Python version of the archive.

    Parameters
    ----------
    source
        ``cifar-10-python.tar.gz``, ``cifar-100-python.tar.gz``, or the folder that one was unpacked
        to.
    out
        Folder of the new files ``train.zarr.zip`` and ``test.zarr.zip``, which is made if it does
        not exist; with ``part`` the new file.
    part
        Only this one.
    layout
        ``"hwc"`` for images of shape (height, width, 3), ``"chw"`` for (3, height, width).
    size
        Height and width that smaller images are padded to, from 32; where that is odd, the pixel
        more is below and on the right.
    pad
        What with: the mean of each channel of the image, rounded; the mean of the row or column
        that a border pixel continues, as neon did; zeros; or the image mirrored.
    options
        How the files are stored and the import done, see `chunkstore.import_pickle`. ``split``
        divides the training images, and the test images stay a file of their own;
        ``stratify="y"`` divides each class.

    Returns
    -------
    reports
        By part; with ``part`` and no ``split`` one report.

    Raises
    ------
    FormatError
        Members that are not what CIFAR has, labels that are no class; says where.
    MissingFileError
        A member is not there.
    UnsupportedError, CorruptionError
        A pickle asks for anything but arrays, or is damaged. Nothing of it is run.
    ChunkStoreError
        See `chunkstore.create`.

    Notes
    -----
    Arrays: ``x`` uint8, ``y`` int64, of CIFAR-100 also ``coarse``; ``name`` with the names of the
    files, where the archive has them. The names of the classes are the attribute ``class_names``,
    of CIFAR-100 also ``coarse_names``.
    """
    if part is not None:
        with open_cifar(source, part, layout=layout, size=size, pad=pad) as samples:
            return import_arrays(samples, out, options)
    _check_parts(options)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    reports: dict[str, ImportReport] = {}
    split = options.get("split")
    for name in get_args(Part):
        given: Any = dict(options)
        target = folder / f"{name}.zarr.zip"
        if name == "test":
            given.pop("split", None)
            given.pop("stratify", None)
        with open_cifar(source, name, layout=layout, size=size, pad=pad) as samples:
            done = import_arrays(
                samples, folder if name == "train" and split is not None else target, given
            )
        reports |= done if isinstance(done, dict) else {name: done}
    return reports


def plan_cifar(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    part: Part | None = None,
    layout: Layout = "hwc",
    size: int | None = None,
    pad: Pad = "channel-mean",
    **options: Unpack[ImportArguments],
) -> ArrayPlan:
    """Return what `import_cifar` would do with the training images; nothing is written."""
    with open_cifar(source, part or "train", layout=layout, size=size, pad=pad) as samples:
        target = out
        if part is None and options.get("split") is None:
            target = Path(out) / "train.zarr.zip"
        return plan_arrays(samples, target, options, makes_folder=part is None)


def open_cifar(
    source: str | os.PathLike[str],
    part: Part,
    *,
    layout: Layout = "hwc",
    size: int | None = None,
    pad: Pad = "channel-mean",
) -> ArraySamples:
    """Return one part as samples; see `import_cifar`."""
    for name, value, allowed in (
        ("part", part, get_args(Part)),
        ("layout", layout, get_args(Layout)),
        ("pad", pad, get_args(Pad)),
    ):
        if value not in allowed:
            raise ValueError(f"{name} must be one of {', '.join(allowed)}; got {value!r}")
    side = _SIDE if size is None else size
    if side < _SIDE:
        raise ValueError(f"size must be at least {_SIDE}, to which images are padded, got {size}")
    if pad == "reflect" and side > 3 * _SIDE - 2:
        raise ValueError(f"pad='reflect' goes to size {3 * _SIDE - 2} at most, got {size}")
    place = os.fspath(source)
    identity = _identity(place)
    kind, members = _members(place, part)
    class_names = {
        name: _names(members[kind.meta], key, f"{place}: {kind.meta}")
        for name, key in kind.class_names.items()
    }
    images: list[NDArray[Any]] = []
    labels: dict[str, list[NDArray[Any]]] = {name: [] for name in kind.labels}
    files: list[str] = []
    for member in kind.parts[part]:
        where = f"{place}: {member}"
        batch = members[member]
        images.append(_images(batch, where))
        for name, key in kind.labels.items():
            labels[name].append(_labels(batch, key, where, len(images[-1]), len(class_names[name])))
        files += [_as_text(name) for name in batch.get("filenames", [])]
    flat = np.concatenate(images)
    pixels = MemoryColumn(f"{place}: {part} images", flat)
    shape = (side, side, 3) if layout == "hwc" else (3, side, side)
    columns: dict[str, Any] = {
        "x": MappedColumn(
            pixels, _change(layout, side, pad), sample_shape=shape, dtype=np.dtype(np.uint8)
        ),
        **{
            name: MemoryColumn(f"{place}: {part} {kind.labels[name]}", np.concatenate(values))
            for name, values in labels.items()
        },
    }
    if len(files) == len(flat):
        columns["name"] = MemoryColumn(f"{place}: {part} file names", np.array(files))
    attributes: dict[str, Any] = {"class_names": class_names["y"]}
    if "coarse" in class_names:
        attributes["coarse_names"] = class_names["coarse"]
    return ArraySamples(
        "cifar",
        place,
        columns,
        attributes=attributes,
        provenance={"part": part, "layout": layout, "size": side, "pad": pad},
        identity=identity,
    )


def _check_parts(options: Any) -> None:
    split = options.get("split")
    if split is not None and "test" in split:
        raise ValueError("the test images are a part of their own; call yours other than 'test'")


def _identity(place: str) -> str:
    path = Path(place)
    if path.is_dir():
        return " ".join(file_identity(entry) for entry in sorted(path.iterdir()) if entry.is_file())
    return file_identity(place)


def _members(place: str, part: str) -> tuple[_Kind, dict[str, dict[str, Any]]]:
    """Return which data set it is, and the values of the members that a part needs."""
    raw = _raw_folder(place) if os.path.isdir(place) else _raw_archive(place)
    kind = next((k for k in (_CIFAR_10, _CIFAR_100) if k.meta in raw), None)
    if kind is None:
        raise FormatError(
            "there is neither 'batches.meta' of CIFAR-10 nor 'meta' of CIFAR-100, as in the Python "
            "version of the archive",
            place,
        )
    values: dict[str, dict[str, Any]] = {}
    for name in (*kind.parts[part], kind.meta):
        if name not in raw:
            raise MissingFileError(f"the member {name!r} is not there", place, errno=2)
        try:
            value = load_arrays(raw[name]())
        except ChunkStoreError as error:
            raise error.located(place, name) from None
        if not isinstance(value, dict):
            raise FormatError(f"the member {name!r} is no dict", place)
        values[name] = value
    return kind, values


def _raw_folder(place: str) -> dict[str, Callable[[], bytes]]:
    wanted = _wanted()
    inside = [path for path in Path(place).iterdir() if path.is_dir()]
    folder = next((path for path in inside if path.name.startswith("cifar-")), Path(place))
    return {path.name: path.read_bytes for path in folder.iterdir() if path.name in wanted}


def _raw_archive(place: str) -> dict[str, Callable[[], bytes]]:
    """Return the members of a tar by name, in one pass: they are some 180 MB together."""
    found: dict[str, bytes] = {}
    wanted = _wanted()
    try:
        with tarfile.open(place, "r|*") as archive:
            for info in archive:
                name = os.path.basename(info.name)
                if name not in wanted or not info.isfile():
                    continue
                if info.size > _MAX_MEMBER_NBYTES:
                    raise FormatError(f"the member {name!r} takes {info.size} bytes", place)
                stream = archive.extractfile(info)
                found[name] = b"" if stream is None else stream.read()
    except tarfile.ReadError as error:
        if not found:
            raise FormatError(f"this is no archive: {error}", place) from None
        raise CorruptionError(f"the archive is damaged: {error}", place) from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise CorruptionError(f"the archive is damaged: {error}", place) from None
    return {name: partial(bytes, raw) for name, raw in found.items()}


def _wanted() -> set[str]:
    kinds = (_CIFAR_10, _CIFAR_100)
    return {name for kind in kinds for names in kind.parts.values() for name in names} | {
        kind.meta for kind in kinds
    }


def _images(batch: dict[str, Any], where: str) -> NDArray[Any]:
    data = batch.get("data")
    if (
        not isinstance(data, np.ndarray)
        or data.dtype != np.uint8
        or data.ndim != 2
        or data.shape[1] != _ROW_NBYTES
    ):
        shape = data.shape if isinstance(data, np.ndarray) else type(data).__name__
        raise FormatError(f"{where}: 'data' must be uint8 of shape (n, {_ROW_NBYTES}), got {shape}")
    return data


def _labels(
    batch: dict[str, Any], key: str, where: str, num_images: int, num_classes: int
) -> NDArray[Any]:
    values = batch.get(key)
    if not isinstance(values, list) or len(values) != num_images:
        got = len(values) if isinstance(values, list) else type(values).__name__
        raise FormatError(f"{where}: {key!r} must be {num_images} labels, got {got}")
    for i, label in enumerate(values):
        if type(label) is not int or not 0 <= label < num_classes:
            raise FormatError(
                f"{where}: image {i}: the label must be a class in [0, {num_classes}), got "
                f"{label!r}"
            )
    return np.array(values, np.int64)


def _names(meta: dict[str, Any], key: str, where: str) -> list[str]:
    names = meta.get(key)
    if not isinstance(names, list) or not names:
        raise FormatError(f"{where}: {key!r} must be names of classes, got {names!r:.60}")
    return [_as_text(name) for name in names]


def _as_text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _change(layout: Layout, side: int, pad: Pad) -> Callable[[NDArray[Any], int], NDArray[Any]]:
    """Return what makes images of rows."""
    before = (side - _SIDE) // 2
    widths = ((0, 0), (0, 0), (before, side - _SIDE - before), (before, side - _SIDE - before))

    def change(rows: NDArray[Any], _: int) -> NDArray[Any]:
        # Axes: sample, channel, row, column.
        planes = rows.reshape(-1, 3, _SIDE, _SIDE)
        if side > _SIDE:
            planes = _padded(planes, widths, pad)
        return planes if layout == "chw" else planes.transpose(0, 2, 3, 1)

    return change


def _padded(planes: NDArray[Any], widths: tuple[tuple[int, int], ...], pad: Pad) -> NDArray[Any]:
    if pad == "zero":
        return np.pad(planes, widths)
    if pad == "reflect":
        return np.pad(planes, widths, mode="reflect")
    if pad == "line-mean":
        return np.pad(planes, widths, mode="mean")
    (top, _), (left, _) = widths[2:]
    means = np.rint(planes.mean(axis=(2, 3), keepdims=True)).astype(np.uint8)
    size = planes.shape[2] + sum(widths[2])
    padded = np.broadcast_to(means, (*planes.shape[:2], size, size)).copy()
    padded[:, :, top : top + _SIDE, left : left + _SIDE] = planes
    return padded
