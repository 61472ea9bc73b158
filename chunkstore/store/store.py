"""What does a person see who opens a file?"""

from __future__ import annotations

import errno
import os
import re
import stat
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from chunkstore.container.layout import END_SIGNATURE, LOCAL, LOCAL_SIGNATURE
from chunkstore.errors import (
    ChunkStoreWarning,
    CorruptionError,
    DirectoryGivenError,
    ExistingFileError,
    FormatError,
    IncompleteError,
    MissingFileError,
    system_call_error,
)
from chunkstore.store.array import Array
from chunkstore.store.node import OWN_ATTRIBUTES
from chunkstore.store.open_file import OpenFile
from chunkstore.upper import resolve

if TYPE_CHECKING:
    from collections.abc import Iterator

PARTIAL_SUFFIX = ".partial"
# Metadata and chunks of zarr, in any folder of a zip.
_ZARR_NAME = re.compile(
    rb"(?:.*/)?(?:zarr\.json|\.z(?:array|group|attrs|metadata)|c|(?:c/)?\d+(?:[./]\d+)*)"
)


class Store(Mapping[str, Array]):
    """An open file: a read-only mapping from names to arrays.

    Arrays in nested groups are named by path, ``store["group/x"]``; a file whose root is itself an
    array holds that one array under the name ``""``. Opened by `chunkstore.open`.

    Notes
    -----
    A store keeps seeing what it found on opening, also while a writer appends. Close it, or use it
    in a ``with`` block. Threads: safe in several threads and after a fork. A pickled store is
    opened again by its path.
    """

    def __init__(self, file: OpenFile) -> None:
        self._file = file
        self._arrays = {path: Array(file, node) for path, node in file.nodes.arrays.items()}

    def __getitem__(self, name: str) -> Array:
        try:
            return self._arrays[name]
        except KeyError:
            there = ", ".join(repr(known) for known in self._arrays) or "none"
            raise KeyError(f"{self.path}: no array {name!r}; there are {there}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    @property
    def path(self) -> str:
        """The file."""
        return self._file.path

    @property
    def attributes(self) -> dict[str, Any]:
        """The user's attributes of the file; a copy."""
        return {k: v for k, v in self._file.nodes.root.items() if k != OWN_ATTRIBUTES}

    @property
    def is_ours(self) -> bool:
        """Whether chunkstore wrote the file: then nothing in it may be missing."""
        return self._file.nodes.own is not None

    @property
    def sample_arrays(self) -> tuple[str, ...]:
        """Names of the arrays whose axis 0 counts the file's samples.

        Of other people's files: those that have the length of the longest array.
        """
        own = self._file.nodes.own
        if own is not None:
            return tuple(own.get("aligned", ()))
        lengths = {name: array.shape[0] for name, array in self._arrays.items() if array.shape}
        longest = max(lengths.values(), default=0)
        return tuple(name for name, length in lengths.items() if length == longest)

    @property
    def num_samples(self) -> int:
        """Samples in the file: the common length of its sample arrays."""
        own = self._file.nodes.own
        if own is not None:
            return int(own.get("num_samples", 0))
        return max((array.shape[0] for array in self._arrays.values() if array.shape), default=0)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays decoded."""
        return sum(array.nbytes for array in self._arrays.values())

    @property
    def encoded_nbytes(self) -> int:
        """Bytes of all chunks in the file."""
        return sum(array.encoded_nbytes for array in self._arrays.values())

    @property
    def file_nbytes(self) -> int:
        """Bytes of the file up to the checkpoint in force."""
        return self._file.container.checkpoint.stop

    @property
    def dead_nbytes(self) -> int:
        """Bytes that nothing uses any more: replaced entries and old directories."""
        return self._file.nodes.dead_nbytes

    @property
    def format_version(self) -> int | None:
        """Version of our format, or None in a file of another writer."""
        own = self._file.nodes.own
        return None if own is None else int(own["version"])

    @property
    def fingerprint(self) -> str:
        """Digest of all arrays: equal only for equal data in equal chunks."""
        return "-".join(array.fingerprint[:8] for array in self._arrays.values())

    def select(self, selection: Any = None, *, fraction: float | None = None, seed: int = 0) -> Any:
        """Return some of the samples, to index or to load from; nothing is read.

        Parameters
        ----------
        selection
            A slice, a mask, or ascending sample numbers (a loader shuffles by itself).
        fraction, seed
            Instead: about this part of the samples, chosen by a hash of their numbers.

        Returns
        -------
        view
            A mapping from names to the selected samples, see `chunkstore.select`.

        Examples
        --------
        >>> import numpy as np, tempfile, os, chunkstore as cs
        >>> path = os.path.join(tempfile.mkdtemp(), "a.zarr.zip")
        >>> cs.save(path, {"x": np.zeros((10, 3)), "y": np.arange(10)})
        >>> with cs.open(path) as store:
        ...     odd = store.select(slice(1, None, 2))
        ...     loader = cs.Loader(odd, ("x", "y"), batch_size=2)
        ...     odd["y"][:].tolist(), loader.num_samples
        ([1, 3, 5, 7, 9], 5)
        """
        return resolve("chunkstore.pipeline.view", "select")(
            self, selection, fraction=fraction, seed=seed
        )

    def preview(
        self, name: str | None = None, *, labels: str | None = None, n: int = 64, seed: int = 0
    ) -> Any:
        """Return some samples of an array to look at: a contact sheet, a scatter, a histogram.

        Images become pictures with their labels; rows of numbers points in the plane of their
        principal components, coloured by label; of all others the values are shown. Reads a bounded
        part of the array, from all over it.

        Parameters
        ----------
        name
            Of the array; None takes the first array of images, or the first one.
        labels
            Name of the array of labels; None takes one that is called ``y``, ``label`` or so.
        n
            Pictures, in ``[1, 1000]``.
        seed
            Which samples.

        Returns
        -------
        preview
            A notebook shows it; ``preview.save("sheet.html")`` or ``.png`` writes it, see
            `chunkstore.viewing.preview.Preview`.

        Raises
        ------
        KeyError, TypeError, ValueError
            An argument that cannot be, or the store is closed.

        Examples
        --------
        >>> import numpy as np, tempfile, os, chunkstore as cs
        >>> path = os.path.join(tempfile.mkdtemp(), "a.zarr.zip")
        >>> cs.save(path, {"x": np.zeros((100, 8, 8), "u1"), "y": np.arange(100) % 2})
        >>> with cs.open(path) as store:
        ...     preview = store.preview("x", labels="y", n=10)
        >>> len(preview.numbers), sorted(set(preview.labels.values()))
        (10, ['0', '1'])
        """
        return resolve("chunkstore.viewing.preview", "preview")(
            self, name, labels=labels, n=n, seed=seed
        )

    def zarr(self) -> Any:
        """Return the zarr-python view of the file, read-only: a ``zarr.Group`` or ``zarr.Array``.

        Imports zarr-python, which takes longer than all of chunkstore. It opens the path anew, so
        it sees what was appended since, and closes the file when the last reference to it goes.

        Examples
        --------
        >>> import numpy as np, tempfile, os, chunkstore as cs
        >>> path = os.path.join(tempfile.mkdtemp(), "a.zarr.zip")
        >>> cs.save(path, {"x": np.arange(3)})
        >>> cs.open(path).zarr()["x"][:].tolist()
        [0, 1, 2]
        """
        import zarr

        return zarr.open(zarr.storage.ZipStore(self.path, mode="r"), mode="r")

    def close(self) -> None:
        """Close the file; again is allowed. Arrays of this store read no more."""
        self._file.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return (
            f"<chunkstore.Store {self.path!r} num_samples={self.num_samples} "
            f"arrays={list(self._arrays)}>"
        )

    def _repr_html_(self) -> str:
        html: str = resolve("chunkstore.viewing.display", "store_html")(self)
        return html

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def __reduce__(self) -> Any:
        return _reopen_store, (self._file.place, self.fingerprint)


def _reopen_store(path: str, fingerprint: str) -> Store:
    """Open a store again, in the process that unpickles it."""
    store = open_store(path)
    if store.fingerprint != fingerprint:
        store.close()
        raise CorruptionError(
            "the file has changed since the store was pickled: its fingerprint is "
            f"{store.fingerprint}, expected {fingerprint}",
            path,
        )
    return store


def open_store(path: str | os.PathLike[str]) -> Store:
    """Open a file for reading.

    Parameters
    ----------
    path
        A ``*.zarr.zip`` file of ours, or any zip that holds a zarr v2 or v3 hierarchy.

    Returns
    -------
    store
        A read-only mapping from names to arrays; close it, or use it in a ``with`` block. Opening
        reads the directory and the metadata, not the data.

    Raises
    ------
    MissingFileError, DirectoryGivenError, PermissionRefusedError
        The system refused; each is also the matching ``OSError``.
    IncompleteError
        The file is still being written, or its writer never finished.
    FormatError, CorruptionError, UnsupportedError
        It is no store, it is damaged, or it uses a feature that is not read; each says what and
        where.

    Warns
    -----
    ChunkStoreWarning
        An append to the file was interrupted: what was flushed before is opened.

    Examples
    --------
    >>> import numpy as np, tempfile, os, chunkstore as cs
    >>> path = os.path.join(tempfile.mkdtemp(), "train.zarr.zip")
    >>> cs.save(path, {"x": np.zeros((100, 8), "f4"), "y": np.arange(100)})
    >>> store = cs.open(path)
    >>> store.num_samples, list(store), store["y"][10:13].tolist()
    (100, ['x', 'y'], [10, 11, 12])
    >>> store.close()
    """
    path = path_of(path)
    check_is_file(path)
    store = Store(OpenFile(path))
    torn = store._file.container.checkpoint.torn_nbytes
    if torn:
        warnings.warn(
            f"{path}: {torn} bytes behind the last checkpoint belong to an append that was "
            f"interrupted or is still running; opened with the {store.num_samples} samples of "
            "that checkpoint. `chunkstore repair` saves what else is whole; "
            "`chunkstore.append(path, resume=True)` goes on from there without it",
            ChunkStoreWarning,
            stacklevel=2,
        )
    return store


def check_is_replaceable(path: str) -> None:
    """Raise unless what ``overwrite=True`` would replace, if anything is there, is a store's file.

    What stands there by mistake is something else, such as the second of two sources where the name
    of the new file was forgotten; so is, as far as one can see, a store that is damaged at its
    front. Those are removed by hand.
    """
    if not os.path.exists(path):
        return
    check_is_file(path)
    try:
        with open(path, "rb") as file:
            signature = file.read(len(LOCAL_SIGNATURE))
        name = _first_name(path)
    except OSError as error:
        raise system_call_error(error, "the file that is there cannot be read", path) from error
    if signature in (b"", END_SIGNATURE) or (
        signature == LOCAL_SIGNATURE and (name is None or _ZARR_NAME.fullmatch(name))
    ):
        return
    raise ExistingFileError(
        "the file that is there is no store, and overwrite=True replaces only those; remove it, or "
        "give another name",
        path,
        errno=errno.EEXIST,
    )


def _first_name(path: str) -> bytes | None:
    """Return the name of a zip's first entry that is no folder, if it has one."""
    with open(path, "rb") as file:
        head = file.read(LOCAL.size)
        while len(head) == LOCAL.size and head.startswith(LOCAL_SIGNATURE):
            *_, name_nbytes, extra_nbytes = LOCAL.unpack(head)
            name = file.read(name_nbytes)
            if not name.endswith(b"/"):
                return name if len(name) == name_nbytes else None
            file.seek(extra_nbytes, os.SEEK_CUR)
            head = file.read(LOCAL.size)
    return None


def path_of(path: str | os.PathLike[str]) -> str:
    """Return a caller's path as a string; TypeError or ValueError for what is no path."""
    name = os.fsdecode(path)
    if not name:
        raise ValueError("the path of a file is wanted, got an empty one")
    return name


def check_is_file(path: str) -> None:
    """Raise the error that helps most when a path names no finished file."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        if os.path.exists(path + PARTIAL_SUFFIX):
            raise IncompleteError(
                f"the file is not complete: {path + PARTIAL_SUFFIX} is being written, or its "
                "writer stopped. Continue it with chunkstore.append(path, resume=True), or save "
                "what is complete with `chunkstore repair`",
                path,
            ) from None
        raise MissingFileError("there is no such file", path, errno=errno.ENOENT) from None
    except OSError as error:
        raise system_call_error(error, "the file cannot be reached", path) from error
    if stat.S_ISDIR(mode):
        raise DirectoryGivenError(
            "this is a directory; chunkstore reads single files. `chunkstore import` brings "
            "folders of images, zarr, bcolz and others into one",
            path,
            errno=errno.EISDIR,
        )
    if not stat.S_ISREG(mode):
        raise FormatError("this is a device or a pipe; chunkstore reads files", path)
