"""What do all importers of arrays take, and how is a source of arrays brought over?"""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, cast

from chunkstore.errors import ChunkStoreError
from chunkstore.importers.arrays.files import raise_together
from chunkstore.importing.losses import listed
from chunkstore.importing.parts import Order, check_parts, import_parts
from chunkstore.importing.run import ImportOptions, ImportReport, check_import

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import ArrayLike

    from chunkstore.importers.arrays.file_samples import FileSamples
    from chunkstore.importers.arrays.samples import ArraySamples
    from chunkstore.importing.run import OnError

Imported = ImportReport | dict[str, ImportReport]
_FRAME = frozenset(field.name for field in fields(ImportOptions))
# The labels where nobody says which.
_USUAL_CLASSES = "y"
_OWN = frozenset({"shuffle", "seed", "split", "stratify"})


class StorageArguments(TypedDict, total=False):
    """How the new file is stored and made; see `chunkstore.importing.run.ImportOptions`."""

    codec: str | None
    level: int | None
    typesize: int | None
    chunk_nbytes: int | None
    chunk_length: int | None
    attributes: Mapping[str, Any]
    on_error: OnError
    threads: int | None
    verify: bool
    resume: bool
    overwrite: bool
    progress: bool | None


class ImportArguments(StorageArguments, total=False):
    """Options of all importers of arrays.

    Attributes
    ----------
    shuffle
        Put the samples into a random order once and for all; the default is that of the source.
        Arrays that are compressed in the source are decoded to memory or to a temporary file
        beside the new one for it.
    seed
        Of that order and of the split, default 0.
    split
        Parts and their fractions, such as ``{"train": 0.8, "val": 0.2}``: ``out`` is then the
        folder of the files ``NAME.zarr.zip``.
    stratify
        Name of the array whose values are the classes, True for ``y``, or one class for each
        sample: each class is divided in the ratio of ``split``, to a few samples. Which sample goes
        where follows from its number and the seed.
    """

    shuffle: bool | None
    seed: int
    split: Mapping[str, float] | None
    stratify: bool | str | ArrayLike | None


def import_arrays(
    samples: ArraySamples | FileSamples,
    out: str | os.PathLike[str],
    arguments: ImportArguments,
) -> Imported:
    """Bring a source of arrays into one file, or into one for each part of a split.

    Parameters
    ----------
    samples
        Not closed.
    out, arguments
        See `ImportArguments`.

    Raises
    ------
    ValueError, KeyError, ChunkStoreError
        See `chunkstore.importing.parts.import_parts`; or samples that are known to be bad.
    """
    options = options_of(arguments)
    split = arguments.get("split")
    order = order_of(samples, arguments, options)
    if order["shuffle"]:
        # Before all samples are decoded for it.
        check_parts(samples, out, options, **order)
        folder = Path(out).absolute() if split is not None else Path(out).absolute().parent
        if split is not None:
            folder.mkdir(parents=True, exist_ok=True)
        samples.prepare_for_any_order(os.fspath(folder))
    reports = import_parts(samples, out, options, **order)
    return reports if split is not None else reports[""]


def order_of(
    samples: ArraySamples | FileSamples, arguments: ImportArguments, options: ImportOptions
) -> Order:
    """Return which samples go where in which order, as `import_parts` takes it.

    Parameters
    ----------
    samples, arguments
        See `import_arrays`.
    options
        Of these arguments.

    Raises
    ------
    ChunkStoreError
        Samples are known to be bad, and shall not be left out; lists them.
    """
    if options.on_error == "fail":
        raise_together(samples.problems, samples.name)
    stratify = arguments.get("stratify")
    if isinstance(stratify, bool):
        stratify = _USUAL_CLASSES if stratify else None
    shuffle = arguments.get("shuffle")
    return {
        "shuffle": samples.is_shuffled_by_default if shuffle is None else shuffle,
        "seed": arguments.get("seed", 0),
        "split": arguments.get("split"),
        "stratify": samples.classes(stratify) if isinstance(stratify, str) else stratify,
    }


def options_of(arguments: Mapping[str, Any], *, own: frozenset[str] = _OWN) -> ImportOptions:
    """Return what the frame takes; an argument that neither it nor ``own`` knows is a TypeError."""
    known = _FRAME
    if unknown := [name for name in arguments if name not in known | own]:
        raise TypeError(
            f"there is no argument {unknown[0]!r}; there are {sorted(known | own)} and those of "
            "the function itself"
        )
    given = {name: value for name, value in arguments.items() if name in known}
    if given.get("attributes") is None:
        given.pop("attributes", None)
    return ImportOptions(**given)


@dataclass(frozen=True)
class ArrayPlan:
    """What an import of arrays would do, told without reading samples.

    Attributes
    ----------
    source
        What was given.
    num_samples
        In it.
    arrays
        For each new array: where it comes from, its shape and its dtype.
    unaligned
        Names of the arrays that are stored beside the samples.
    attributes
        Of the new file.
    notes
        What was found that stops nothing.
    problems
        Samples that would be left out, in words.
    refused
        Why nothing would be imported; empty where it would.
    """

    source: str
    num_samples: int
    arrays: dict[str, tuple[str, tuple[int, ...], str]]
    unaligned: tuple[str, ...]
    attributes: dict[str, Any]
    notes: tuple[str, ...]
    problems: tuple[str, ...]
    refused: tuple[str, ...]

    @property
    def is_refused(self) -> bool:
        """Whether nothing would be imported."""
        return bool(self.refused)

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON values."""
        return {
            "source": self.source,
            "num_samples": self.num_samples,
            "arrays": {
                name: {"source": place, "shape": list(shape), "dtype": dtype}
                for name, (place, shape, dtype) in self.arrays.items()
            },
            "unaligned": list(self.unaligned),
            "attributes": self.attributes,
            "notes": list(self.notes),
            "problems": list(self.problems),
            "refused": list(self.refused),
        }


def plan_source(
    open_source: Callable[..., ArraySamples | FileSamples],
    source: Any,
    out: str | os.PathLike[str],
    **arguments: Any,
) -> ArrayPlan:
    """Return what the import of a source would do; nothing is written.

    Parameters
    ----------
    open_source
        Of a format, such as `chunkstore.importers.zarr_store.open_zarr`.
    source, out, arguments
        As its importer takes them.

    Raises
    ------
    TypeError
        There is no such argument.
    ChunkStoreError, ValueError, KeyError
        What cannot be read at all; all else is in the plan.
    """
    own = {name: value for name, value in arguments.items() if name not in _FRAME | _OWN}
    given = {name: value for name, value in arguments.items() if name not in own}
    with open_source(source, **own) as samples:
        return plan_arrays(samples, out, cast("ImportArguments", given))


def plan_arrays(
    samples: ArraySamples | FileSamples,
    out: str | os.PathLike[str],
    arguments: ImportArguments,
    *,
    makes_folder: bool = False,
) -> ArrayPlan:
    """Return what `import_arrays` would do; nothing is written.

    Parameters
    ----------
    samples, out, arguments
        See `import_arrays`.
    makes_folder
        Whether the folder of ``out`` would be made, as that of a split is.

    Raises
    ------
    TypeError
        There is no such argument.
    """
    options = options_of(arguments)
    refused: list[str] = []
    try:
        if makes_folder and not Path(out).absolute().parent.exists():
            check_import(samples, out, options, makes_folder=True)
        else:
            order = order_of(samples, arguments, options)
            check_parts(samples, out, options, **order)
    except (ValueError, TypeError, KeyError, ChunkStoreError) as error:
        refused.append(str(error.args[0] if isinstance(error, KeyError) else error))
    return ArrayPlan(
        samples.name,
        samples.num_samples,
        samples.described(),
        tuple(samples.unaligned),
        {**samples.attributes, **options.attributes},
        samples.notes,
        tuple(listed(samples.problems)) if options.on_error == "skip" else (),
        tuple(refused),
    )
