"""How does a sample come from each of many files?"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

from chunkstore.errors import ChunkStoreError
from chunkstore.importers.machine import is_of_machine
from chunkstore.importing.source import Block, Skipped
from chunkstore.store.samples import check_specs
from chunkstore.store.spec import ArraySpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

NAME = "name"
# What a file gave, or why it gave nothing.
Loaded = dict[str, Any] | Exception


class FileSamples:
    """One sample a file; a `chunkstore.importing.source.SampleSource`.

    Parameters
    ----------
    kind
        Of format.
    name
        What the person gave.
    paths
        Of the files, in their order.
    names
        What the samples are called in the array ``name``.
    specs
        Of the arrays of a sample.
    load
        Returns for each path the arrays of its sample by name, or the error that it met.
    provenance, notes, identity
        See `chunkstore.importers.arrays.samples.ArraySamples`.
    problems
        Files that are known to be bad.
    close
        Called at the end.

    Notes
    -----
    Threads: `read` is safe in several if ``load`` is.
    """

    # Files of a folder lie in the order of their names, often class after class.
    is_shuffled_by_default = True

    def __init__(
        self,
        kind: str,
        name: str,
        paths: Sequence[str],
        *,
        names: Sequence[str],
        specs: Mapping[str, ArraySpec],
        load: Callable[[list[str]], Iterable[Loaded]],
        provenance: Mapping[str, Any],
        notes: Sequence[str] = (),
        identity: str = "",
        problems: Sequence[ChunkStoreError] = (),
        close: Callable[[], None] = lambda: None,
    ) -> None:
        if NAME in specs:
            raise ValueError(f"array {NAME!r} holds the names of the files; call yours otherwise")
        self.kind = kind
        self.name = name
        self.num_samples = len(paths)
        self._paths = paths
        # As they are: an array would give each the room of the longest.
        self._names = names
        self._load = load
        self._close = close
        longest = max(map(len, names), default=1) or 1
        self._name_dtype = np.dtype(f"U{longest}")
        self.specs = check_specs({**specs, NAME: ArraySpec(self._name_dtype)})
        self.unaligned: dict[str, Any] = {}
        self.attributes: dict[str, Any] = {}
        self.provenance = dict(provenance)
        self.notes = tuple(notes)
        self.problems = tuple(problems)
        self.block_length = None
        digest = hashlib.blake2b(identity.encode("utf-8", "surrogateescape"), digest_size=16)
        for path in paths:
            digest.update(path.encode("utf-8", "surrogateescape") + b"\0")
        self.fingerprint = digest.hexdigest()

    def described(self) -> dict[str, tuple[str, tuple[int, ...], str]]:
        """Return where each array comes from, its shape and its dtype."""
        return {
            name: (self.name, (self.num_samples, *spec.sample_shape), str(spec.dtype))
            for name, spec in self.specs.items()
        }

    def classes(self, name: str) -> NDArray[Any]:
        """Raise: what is in the files is not known before they are read."""
        raise ValueError(
            f"stratify={name!r}: files are read as they are imported; give one class for each of "
            f"the {self.num_samples} files"
        )

    def prepare_for_any_order(self, folder: str) -> None:
        """Do nothing: any file is as cheap to read as any other."""

    def __enter__(self) -> FileSamples:
        return self

    def __exit__(self, *exception: object) -> None:
        self._close()

    def read(self, numbers: NDArray[np.int64], *, skips: bool) -> Block:
        """Read the files of these numbers; see `SampleSource.read`."""
        wanted = numbers.tolist()
        arrays = {
            name: np.empty((len(wanted), *spec.sample_shape), spec.dtype)
            for name, spec in self.specs.items()
            if name != NAME
        }
        good: list[int] = []
        skipped: list[Skipped] = []
        loaded = self._load([self._paths[number] for number in wanted])
        for number, sample in zip(wanted, loaded, strict=True):
            try:
                self._store(sample, arrays, len(good), self._paths[number])
            except Exception as error:
                if not skips or is_of_machine(error):
                    raise
                skipped.append(Skipped(number, self._names[number], _reason(error)))
            else:
                good.append(number)
        kept = {name: values[: len(good)] for name, values in arrays.items()}
        kept[NAME] = np.array([self._names[number] for number in good], self._name_dtype)
        return Block(kept, skipped, notes=self.notes if 0 in wanted else ())

    def _store(self, sample: Loaded, arrays: Mapping[str, NDArray[Any]], i: int, path: str) -> None:
        if isinstance(sample, Exception):
            raise sample
        if set(sample) != set(arrays):
            raise ValueError(
                f"{path}: got the arrays {sorted(sample)}, the first file has {sorted(arrays)}"
            )
        for name, target in arrays.items():
            target[i] = checked(
                np.asarray(sample[name]), target.dtype, target.shape[1:], path, name
            )


def checked(
    values: NDArray[Any], dtype: np.dtype[Any], shape: tuple[int, ...], path: str, name: str
) -> NDArray[Any]:
    """Return a sample's values, or raise where its array cannot hold them as they are.

    Raises
    ------
    ValueError
        Another shape, or another dtype; text may be shorter than the array's.
    """
    if values.shape != shape or not holds(dtype, values.dtype):
        raise ValueError(
            f"{path}: array {name!r} has shape {values.shape} and dtype "
            f"{values.dtype.newbyteorder('=')}, expected shape {shape} and dtype {dtype} as in the "
            "first file"
        )
    return values


def holds(dtype: np.dtype[Any], given: np.dtype[Any]) -> bool:
    """Return whether an array holds values of another type as they are: the same, or shorter text.

    Examples
    --------
    >>> u5, u3, i4 = np.dtype("U5"), np.dtype("U3"), np.dtype("i4")
    >>> holds(u5, u3), holds(u3, u5), holds(i4, np.dtype(">i4")), holds(i4, np.dtype("i8"))
    (True, False, True, False)
    """
    native = given.newbyteorder("=")
    return native == dtype or (
        native.kind == dtype.kind and native.kind in "US" and native.itemsize <= dtype.itemsize
    )


def _reason(error: Exception) -> str:
    if isinstance(error, ChunkStoreError):
        return error.message
    return f"{type(error).__name__}: {error}"
