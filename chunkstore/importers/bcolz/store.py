"""What does a person see who opens a bcolz folder?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from chunkstore.errors import CorruptionError
from chunkstore.importers.bcolz.carray import BcolzArray
from chunkstore.importers.bcolz.objects import BcolzObjectArray
from chunkstore.upper import resolve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chunkstore.importers.bcolz.files import SourceFiles
    from chunkstore.importers.bcolz.nodes import Nodes
    from chunkstore.importers.bcolz.scan import ChunkScan


class BcolzStore(Mapping[str, BcolzArray]):
    """A bcolz folder, tree or archive: a read-only mapping from names to arrays.

    A single carray is under the name ``""``, the columns of a ctable under their names, arrays in
    a tree under their paths. Opened by `chunkstore.open_bcolz`.

    Notes
    -----
    Threads: safe in several threads. A pickled store is opened again by its path. Close one of an
    archive, or use it in a ``with`` block; a folder keeps nothing open.
    """

    def __init__(
        self,
        files: SourceFiles,
        nodes: Nodes,
        scans: Mapping[str, ChunkScan],
        *,
        reopen: tuple[str, dict[str, Any]],
    ) -> None:
        self._files = files
        self._nodes = nodes
        self._reopen = reopen
        self._is_closed = False
        self._arrays: dict[str, BcolzArray] = {}
        for name, scan in scans.items():
            node = nodes.arrays[name]
            kind = BcolzObjectArray if scan.metadata.is_objects else BcolzArray
            self._arrays[name] = kind(
                files.path, node, scan, files.chunk_files(node.data), self._check_open, reopen
            )

    def __getitem__(self, name: str) -> BcolzArray:
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
        """The folder or archive."""
        return self._files.path

    @property
    def attributes(self) -> dict[str, Any]:
        """The user's attributes of the array or table at the top; a copy."""
        return dict(self._nodes.attributes)

    @property
    def tables(self) -> dict[str, tuple[str, ...]]:
        """Names of the columns of each ctable, by the ctable's path."""
        return dict(self._nodes.tables)

    @property
    def table_attributes(self) -> dict[str, dict[str, Any]]:
        """The user's attributes of each ctable, by the ctable's path; a copy."""
        return {name: dict(found) for name, found in self._nodes.table_attributes.items()}

    @property
    def sample_arrays(self) -> tuple[str, ...]:
        """Names of the arrays that have as many samples as the longest one."""
        longest = self.num_samples
        return tuple(name for name, array in self._arrays.items() if len(array) == longest)

    @property
    def num_samples(self) -> int:
        """Samples of the longest array."""
        return max((len(array) for array in self._arrays.values()), default=0)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays decoded."""
        return sum(array.nbytes for array in self._arrays.values())

    @property
    def encoded_nbytes(self) -> int:
        """Bytes of all chunk files."""
        return sum(array.encoded_nbytes for array in self._arrays.values())

    @property
    def fingerprint(self) -> str:
        """Digest of the layout and of the first bytes of all chunks."""
        return "-".join(array.fingerprint[:8] for array in self._arrays.values())

    def select(self, selection: Any = None, *, fraction: float | None = None, seed: int = 0) -> Any:
        """Return some of the samples, to index or to load from; see `chunkstore.select`."""
        return resolve("chunkstore.pipeline.view", "select")(
            self, selection, fraction=fraction, seed=seed
        )

    def close(self) -> None:
        """Close the archive; again is allowed. Arrays of this store read no more."""
        self._is_closed = True
        self._files.close()

    def _check_open(self) -> None:
        if self._is_closed:
            raise ValueError(f"{self.path}: the store is closed; open it again to read")

    def __enter__(self) -> BcolzStore:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return (
            f"<chunkstore.BcolzStore {self.path!r} num_samples={self.num_samples} "
            f"arrays={list(self._arrays)}>"
        )

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def __reduce__(self) -> Any:
        return _reopen_store, (self._reopen, self.fingerprint)


def _reopen_store(reopen: tuple[str, dict[str, Any]], fingerprint: str) -> BcolzStore:
    """Open a store again, in the process that unpickles it."""
    from chunkstore.importers.bcolz.open import open_bcolz

    path, options = reopen
    store = open_bcolz(path, **options)
    if store.fingerprint != fingerprint:
        store.close()
        raise CorruptionError(
            "the folder has changed since the store was pickled: its fingerprint is "
            f"{store.fingerprint}, expected {fingerprint}",
            path,
        )
    return store
