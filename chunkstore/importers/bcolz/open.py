"""How does a person open a bcolz folder?"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from chunkstore.errors import ChunkStoreWarning
from chunkstore.importers.bcolz.inspection import inspect_bcolz

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from chunkstore.importers.bcolz.store import BcolzStore


def open_bcolz(
    path: str | os.PathLike[str],
    *,
    arrays: Sequence[str] | None = None,
    allow_pickle: bool = False,
    recover_unflushed: bool = False,
    progress: bool | None = None,
) -> BcolzStore:
    """Open a folder that bcolz wrote, without bcolz, and check all of it before reading.

    Parameters
    ----------
    path
        A carray, a ctable, a tree of folders with such in it, or a tar, tar.gz or zip of one.
        Archives are read in place; of a tar.gz, other orders than the archive's are slow.
    arrays
        Names of the arrays and tables that are wanted: the others are not looked at.
    allow_pickle
        Read arrays of Python objects. Their elements are pickles, of which only plain values are
        read: text, bytes, numbers, dates, and lists, tuples, sets and dicts of these. Nothing in
        them is run.
    recover_unflushed
        Read the samples that are there beyond those that ``meta/sizes`` counts: bcolz counts on
        flush only. They may also be what a trim has left behind: bcolz does not tell.
    progress
        Show a bar on stderr; None shows it on a terminal when checking takes over a second.

    Returns
    -------
    arrays
        A read-only mapping from names to arrays with the interface of `chunkstore.Store`: a single
        carray is under the name ``""``, the columns of a table under their names, arrays in a tree
        under their paths. A Loader trains from it as it is.

    Raises
    ------
    CorruptionError
        A chunk is missing, cut or not what it should be; all of them are listed, with the samples.
    UnsupportedError
        A codec has no decoder here, or an array holds Python objects; each by name.
    FormatError
        There is nothing of bcolz at that path, or the archive is refused.
    SystemCallError
        The system refused; also the matching ``OSError``.
    KeyError
        ``arrays`` names what is not there.

    Warns
    -----
    ChunkStoreWarning
        More samples are there than ``meta/sizes`` counts, attributes cannot be read, chunk files
        have holes, streams were stored wrongly by old writers and are repaired.

    Notes
    -----
    bcolz has no checksums. Damage inside a frame that still decodes to the right length is not
    noticed by any reader.

    Examples
    --------
    A folder as bcolz writes it, with one chunk, and what it reads as:

    >>> import os, struct, tempfile, numpy as np, chunkstore as cs
    >>> from numcodecs import blosc
    >>> x = np.arange(12, dtype="i4").reshape(6, 2)
    >>> files = {
    ...     "meta/sizes": b'{"shape": [6, 2], "nbytes": 48, "cbytes": 16384}',
    ...     "meta/storage": b'{"dtype": "int32", "chunklen": 100, "dflt": 0}',
    ...     "data/__0.blp": struct.pack("<4sB3xq", b"blpk", 1, 1) + blosc.compress(x, b"lz4", 5),
    ... }
    >>> folder = tempfile.mkdtemp()
    >>> for name, content in files.items():
    ...     os.makedirs(os.path.join(folder, os.path.dirname(name)), exist_ok=True)
    ...     with open(os.path.join(folder, name), "wb") as file:
    ...         _ = file.write(content)
    >>> with cs.open_bcolz(folder) as store:
    ...     list(store), store[""].shape, store[""][4].tolist()
    ...     [batch.shape for batch in cs.Loader(store, "", batch_size=4)]
    ([''], (6, 2), [8, 9])
    [(4, 2), (2, 2)]
    """
    inspection = inspect_bcolz(
        path,
        arrays=arrays,
        allow_pickle=allow_pickle,
        recover_unflushed=recover_unflushed,
        progress=progress,
    )
    try:
        inspection.report.raise_if_bad()
        for note in inspection.report.notes:
            warnings.warn(f"{inspection.report.path}: {note}", ChunkStoreWarning, stacklevel=2)
    except BaseException:
        inspection.store.close()
        raise
    return inspection.store
