"""Which arrays make a batch, and in which structure?

The structure of the names that go in is the structure of the arrays that come out: a name alone, a
tuple or list, a dict, and these inside each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

# Arrays that every loader can deliver beside the stored ones.
VALID: Final = "@valid"
INDEX: Final = "@index"

Names: TypeAlias = "str | Sequence[Names] | Mapping[str, Names]"


class Structure:
    """The arrays of a batch and their arrangement.

    Parameters
    ----------
    names
        A name, or a tuple, list or dict of names, nested as deep as wanted. None stands for a dict
        of all arrays.
    available
        The names that exist. `VALID` and `INDEX` exist always.

    Attributes
    ----------
    names
        The names in use, each once, in the order of their first appearance; `INDEX` and `VALID`
        last.

    Raises
    ------
    KeyError
        If there is no array of some name.
    TypeError
        If the structure holds something else than names.
    ValueError
        If it holds no name at all, or an array has the name `VALID` or `INDEX`.

    Examples
    --------
    >>> structure = Structure((("image", "size"), "label"), ["image", "label", "size"])
    >>> structure.names
    ('image', 'size', 'label')
    >>> structure.build([1, 2, 3])
    ((1, 2), 3)
    """

    def __init__(self, names: Names | None, available: Iterable[str]) -> None:
        known = tuple(available)
        form: Any = {name: name for name in known} if names is None else names
        found: dict[str, int] = {}
        for name in _iter_names(form):
            if name not in known and name not in (VALID, INDEX):
                raise KeyError(
                    f"there is no array {name!r}; there are {', '.join(map(repr, known)) or 'none'}"
                )
            if name in known and name in (VALID, INDEX):
                raise ValueError(
                    f"an array is named {name!r}, which is what a loader calls its own "
                    f"{'mask' if name == VALID else 'sample numbers'}; rename the array, or name "
                    "the arrays to load without it"
                )
            found.setdefault(name, len(found))
        stored = [name for name in found if name in known]
        if not stored:
            raise ValueError(f"names must hold at least one array, got {names!r}")
        extra: list[str] = [name for name in (INDEX, VALID) if name in found]
        found = {name: place for place, name in enumerate(stored + extra)}
        self.names: tuple[str, ...] = tuple(found)
        self.build: Callable[[Sequence[Any]], Any] = _compile(form, found)
        """Arrange arrays, given in the order of `names`."""


def _iter_names(form: Any) -> Iterator[str]:
    if isinstance(form, str):
        yield form
    elif isinstance(form, Mapping):
        for part in form.values():
            yield from _iter_names(part)
    elif isinstance(form, tuple | list):
        for part in form:
            yield from _iter_names(part)
    else:
        raise TypeError(
            f"names must be a name, or a tuple, list or dict of names, got {form!r} "
            f"of type {type(form).__name__}"
        )


def _compile(form: Any, places: Mapping[str, int]) -> Callable[[Sequence[NDArray[Any]]], Any]:
    """Return the function that arranges the arrays of a batch in this form."""
    if isinstance(form, str):
        place = places[form]
        return lambda arrays: arrays[place]
    if isinstance(form, Mapping):
        items = [(key, _compile(part, places)) for key, part in form.items()]
        return lambda arrays: {key: build(arrays) for key, build in items}
    if list(form) == list(places):
        return tuple
    parts = [_compile(part, places) for part in form]
    return lambda arrays: tuple([build(arrays) for build in parts])
