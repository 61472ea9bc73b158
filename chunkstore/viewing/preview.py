"""How do some samples of one array look, in a notebook or as a file?"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any, Final

from chunkstore.viewing.array_look import look_at_array
from chunkstore.viewing.elements import array_title
from chunkstore.viewing.figure import array_figure, as_png, sheet_figure
from chunkstore.viewing.images import image_layout
from chunkstore.viewing.labelling import Labelling, class_names, find_labels
from chunkstore.viewing.looking import DEFAULT_SAMPLES, check_samples
from chunkstore.viewing.pictures import fitting_side
from chunkstore.viewing.sampling import Remarks, choose_chunks
from chunkstore.viewing.sections import array_part
from chunkstore.viewing.style import POLICY, STYLE
from chunkstore.viewing.summary import summarise
from chunkstore.viewing.text import escaped, visible
from chunkstore.viewing.writing import check_target, write_file

if TYPE_CHECKING:
    import os
    from pathlib import Path

    from chunkstore.store.store import Store
    from chunkstore.viewing.array_look import ArrayLook
    from chunkstore.viewing.sampling import Damage

_PICTURES_NBYTES: Final = 2_400_000
_LONGEST_SIDE, _SHORTEST_SIDE = 128, 12
# What a preview decodes of an array: less than a page does.
_PREVIEW_NBYTES: Final = 16 << 20


class Preview:
    """Some samples of one array: a contact sheet of images, a drawing of other numbers.

    Shown by a notebook by itself. Made by `chunkstore.Store.preview`.

    Attributes
    ----------
    numbers
        Of the samples whose pictures are shown, in the order of the file; none of an array that is
        one picture.
    labels
        Their labels, by number; empty where there are none.
    damage
        What could not be read.
    """

    def __init__(self, look: ArrayLook, damage: tuple[Damage, ...], path: str) -> None:
        self._look = look
        self._path = path
        self.numbers = tuple(
            picture.number for picture in look.pictures if picture.number is not None
        )
        self.labels = dict(look.captions)
        self.damage = damage

    def save(self, out: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the preview as a page or a picture, and return its path.

        Parameters
        ----------
        out
            A file that ends in ``.html`` or ``.png``.
        overwrite
            Replace a file that is there, whatever it is.

        Raises
        ------
        ValueError
            Another ending.
        ExistingFileError
            The file is there and no page or picture of chunkstore's.
        ImportError
            PNG needs matplotlib; says how to install it.
        """
        target = check_target(out, overwrite=overwrite)
        content = as_png(self.figure()) if target.suffix.lower() == ".png" else self._page()
        write_file(target, content)
        return target

    def figure(self) -> Any:
        """Return the preview as a ``matplotlib.figure.Figure``; needs ``chunkstore[plot]``."""
        look = self._look
        if look.pictures:
            return sheet_figure(look.pictures, look.captions, visible(look.name or "(root)"))
        return array_figure(look)

    def _repr_html_(self) -> str:
        # A frame of its own: neither the notebook's style nor this one reaches the other.
        return (
            f'<iframe title="preview of {escaped(self._look.name or "(root)")}" '
            'style="width:100%;height:36rem;border:0" sandbox '
            f'srcdoc="{html.escape(self._page().decode(), quote=True)}"></iframe>'
        )

    def _repr_png_(self) -> bytes | None:
        try:
            return as_png(self.figure())
        except ImportError:
            # The page is there for those who have no matplotlib.
            return None

    def __repr__(self) -> str:
        return (
            f"<chunkstore preview of {self._look.name!r} of {self._path!r}: "
            f"{len(self.numbers)} pictures>"
        )

    def _page(self) -> bytes:
        damage = "".join(f"<li>{escaped(entry.message, 500)}</li>" for entry in self.damage)
        lost = f'<section class="bad"><h2>Damage</h2><ul>{damage}</ul></section>' if damage else ""
        title = escaped(self._look.name or "(root)")
        page = (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            '<meta name="generator" content="chunkstore view">\n<link rel="icon" href="data:,">\n'
            f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>"
            f"{lost}<section><h1>{array_title(self._look.array)}</h1>{array_part(self._look)}"
            "</section></main>\n</body>\n</html>\n"
        )
        return page.encode()


def preview(
    store: Store,
    name: str | None = None,
    *,
    labels: str | None = None,
    n: int = DEFAULT_SAMPLES,
    seed: int = 0,
) -> Preview:
    """Look at some samples of one array; see `chunkstore.Store.preview`."""
    check_samples(n, "n")
    if name is None:
        name = _first_name(store)
    array = store[name]
    remarks = Remarks()
    label_name = find_labels(store, labels)
    labelling = None
    if label_name is not None and label_name != name:
        names = class_names(store, label_name, is_label=True)
        choice = choose_chunks(store[label_name], seed=seed, nbytes=_PREVIEW_NBYTES)
        summary = summarise(store[label_name], choice, remarks, is_label=bool(names))
        labelling = Labelling(label_name, names, summary, None)
    count = n if image_layout(array) is not None else 1
    look = look_at_array(
        store,
        name,
        labelling,
        remarks,
        samples=n,
        side=fitting_side(
            count, budget_nbytes=_PICTURES_NBYTES, most=_LONGEST_SIDE, least=_SHORTEST_SIDE
        ),
        seed=seed,
        is_label=name == label_name,
        nbytes=_PREVIEW_NBYTES,
    )
    return Preview(look, tuple(remarks.damage), store.path)


def _first_name(store: Store) -> str:
    """Return the first array of images, or the first there is."""
    for name, array in store.items():
        if image_layout(array) is not None:
            return name
    for name in store:
        return name
    raise ValueError(f"{store.path}: there is no array to preview")
