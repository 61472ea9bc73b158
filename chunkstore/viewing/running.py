"""How does a person get the page or the picture of a file?"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from chunkstore.store.store import Store, open_store, path_of
from chunkstore.viewing.figure import as_png, figure_of, new_figure
from chunkstore.viewing.looking import DEFAULT_SAMPLES, check_samples, look_at
from chunkstore.viewing.page import page_of
from chunkstore.viewing.writing import check_target, write_file

if TYPE_CHECKING:
    import os

    from chunkstore.viewing.looking import Look
    from chunkstore.viewing.sampling import Damage

_SUFFIXES: Final = (".zarr.zip", ".zip")


@dataclass(frozen=True)
class ViewReport:
    """Result of `chunkstore.view`.

    Attributes
    ----------
    path
        The page or the picture.
    nbytes
        Its size.
    look
        All that was found.
    """

    path: str
    nbytes: int
    look: Look

    @property
    def damage(self) -> tuple[Damage, ...]:
        """What could not be read: array and message of each."""
        return self.look.damage

    @property
    def ok(self) -> bool:
        """Whether nothing that was read is damaged."""
        return not self.damage

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {"path": self.path, "nbytes": self.nbytes, "ok": self.ok, **self.look.to_json()}


def view(
    source: str | os.PathLike[str] | Store,
    out: str | os.PathLike[str] | None = None,
    *,
    labels: str | None = None,
    samples: int = DEFAULT_SAMPLES,
    seed: int = 0,
    overwrite: bool = False,
    progress: bool | None = None,
) -> ViewReport:
    """Write one page that shows what is in a file: pictures, labels, values, chunks.

    The page is a single HTML file without scripts that needs no network and no server. A bounded
    part of the file is read, spread over all of it; what is small is read whole, and the page says
    which. Damaged chunks are named on the page.

    Parameters
    ----------
    source
        A file, or an open store.
    out
        The new file: ``.html``, or ``.png`` for a picture (needs ``chunkstore[plot]``). By default
        it stands beside the file: ``train.html`` for ``train.zarr.zip``.
    labels
        Name of the array of labels; None takes one that is called ``y``, ``label``, ``target`` or
        so, if there is one. The names of classes are the attribute ``class_names``.
    samples
        Pictures of samples, in ``[1, 1000]``; of several arrays of images together.
    seed
        Which samples, where not all are read.
    overwrite
        Replace a file of that name that is no page or picture of chunkstore's; those are replaced
        anyway.
    progress
        Show a bar on stderr; None shows it on a terminal when the work takes over a second.

    Returns
    -------
    report
        Where the page is, and all that was found, with the damage.

    Raises
    ------
    ExistingFileError
        ``out`` is there, and was not made by this function.
    KeyError, TypeError, ValueError
        An argument that cannot be: another ending, no such array, samples outside of the range.
    ImportError
        A picture is wanted, and matplotlib is not installed.
    ChunkStoreError
        The file cannot be opened, see `chunkstore.open`, or the page cannot be written.

    Examples
    --------
    >>> import numpy as np, tempfile, os, chunkstore as cs
    >>> path = os.path.join(tempfile.mkdtemp(), "train.zarr.zip")
    >>> cs.save(path, {"x": np.zeros((100, 8, 8), "u1"), "y": np.arange(100) % 2})
    >>> report = cs.view(path)
    >>> os.path.basename(report.path), report.ok
    ('train.html', True)
    """
    check_samples(samples)
    place = source.path if isinstance(source, Store) else path_of(source)
    target = check_target(_default_out(place) if out is None else out, overwrite=overwrite)
    is_png = target.suffix.lower() == ".png"
    if is_png:
        # Said before the work, not behind it.
        new_figure(1, 1)
    with contextlib.ExitStack() as stack:
        store = source if isinstance(source, Store) else stack.enter_context(open_store(place))
        look = look_at(store, labels=labels, samples=samples, seed=seed, progress=progress)
        content = as_png(figure_of(look)) if is_png else page_of(look).encode()
    write_file(target, content)
    return ViewReport(str(target), len(content), look)


def _default_out(path: str) -> Path:
    """Return the page's place beside a file."""
    place = Path(path)
    for suffix in _SUFFIXES:
        if place.name.endswith(suffix) and len(place.name) > len(suffix):
            return place.with_name(place.name.removesuffix(suffix) + ".html")
    return place.with_name(place.name + ".html")
