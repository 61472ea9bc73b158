"""How does text that others wrote get on a page, and how do numbers look there?

Names, labels and attributes of a file may hold anything: markup, quotes, line breaks, characters
that turn the direction of what follows, half of a surrogate pair. On a page they are always text.
"""

from __future__ import annotations

import html
import json
import math
import unicodedata
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Control characters, those that turn what follows, lone surrogates, private and unassigned.
_INVISIBLE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# Of those, the two that join or part letters: words of many languages are misspelt without.
_JOINERS: Final = frozenset("\u200c\u200d")
_ELLIPSIS: Final = "…"
_MOST_CHARACTERS: Final = 80


def visible(text: str) -> str:
    r"""Return text in which every character is seen: those that are not stand as escapes.

    Examples
    --------
    >>> print(visible("two\nlines, \u202eturned"))
    two\nlines, \u202eturned
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character.encode("unicode_escape").decode()
        if character not in _JOINERS and unicodedata.category(character) in _INVISIBLE
        else character
        for character in text
    )


def cut(text: str, most: int = _MOST_CHARACTERS) -> str:
    """Return text of at most so many characters, with an ellipsis where it was longer."""
    return text if len(text) <= most else text[: most - 1] + _ELLIPSIS


def escaped(text: object, most: int = _MOST_CHARACTERS) -> str:
    """Return foreign text for a page or an attribute of an element: cut, visible, escaped.

    Examples
    --------
    >>> escaped('<script>"&')
    '&lt;script&gt;&quot;&amp;'
    """
    return html.escape(cut(visible(cut(str(text), most)), most * 2), quote=True)


def isolated(text: object, most: int = _MOST_CHARACTERS) -> str:
    """Return foreign text as an element that keeps its writing direction to itself."""
    return f"<bdi>{escaped(text, most)}</bdi>"


def as_json_text(value: Any, most: int) -> tuple[str, bool]:
    r"""Return a JSON value as indented text of at most ``most`` characters, and whether it is cut.

    Examples
    --------
    >>> as_json_text({"a": [1, 2, 3]}, 12)
    ('{\n  "a": [\n ', True)
    """
    pieces = []
    length = 0
    for piece in json.JSONEncoder(indent=2, ensure_ascii=False).iterencode(value):
        pieces.append(piece[: most - length + 1])
        length += len(piece)
        if length > most:
            return "".join(pieces)[:most], True
    return "".join(pieces), False


def format_nbytes(nbytes: int) -> str:
    """Return a size for people.

    Examples
    --------
    >>> format_nbytes(999), format_nbytes(1536), format_nbytes(5 << 30)
    ('999 B', '1.5 KiB', '5.0 GiB')
    """
    if nbytes < 1024:
        return f"{nbytes} B"
    size = float(nbytes)
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        size /= 1024
        if size < 1024:
            return f"{size:.1f} {unit}"
    return f"{size / 1024:.1f} PiB"


def format_shape(shape: Sequence[int]) -> str:
    """Return a shape for people.

    Examples
    --------
    >>> format_shape((1000, 28, 28)), format_shape(())
    ('1,000 x 28 x 28', 'scalar')
    """
    return " x ".join(f"{length:,}" for length in shape) or "scalar"


def format_number(value: object) -> str:
    """Return a number, a time or a text as a few characters.

    Examples
    --------
    >>> [format_number(value) for value in (1234567, 0.123456789, float("nan"), None, "a")]
    ['1,234,567', '0.1235', 'NaN', '-', 'a']
    """
    if value is None:
        return "-"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return cut(visible(str(value)))
    if isinstance(value, int):
        # Beyond this, digits say less than a size.
        return f"{value:,}" if abs(value) < 10**15 else f"{value:.4g}"
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return f"{value:.4g}"


def format_share(share: float) -> str:
    """Return a share of a whole, in percent.

    Examples
    --------
    >>> format_share(0.5), format_share(0.00001), format_share(0.0)
    ('50.0 %', '< 0.1 %', '0 %')
    """
    if share == 0:
        return "0 %"
    return "< 0.1 %" if share < 0.001 else f"{100 * share:.1f} %"


def format_ratio(ratio: float | None) -> str:
    """Return how many times smaller the stored bytes are."""
    if ratio is None:
        return "-"
    return f"{ratio:.2f}" if ratio < 100 else f"{ratio:,.0f}"


def as_text(value: object) -> str:
    """Return a label as text; bytes as what they most likely say.

    Examples
    --------
    >>> as_text(b"cat"), as_text(3)
    ('cat', '3')
    """
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return str(value)


def called(value: Any, names: Mapping[int, str]) -> str:
    """Return what a class is called: its name, or its value."""
    known = isinstance(value, int) and names.get(int(value))
    return known or as_text(value) or "(empty)"


def plural(count: int, noun: str) -> str:
    """Return a count with its noun.

    Examples
    --------
    >>> plural(1, "sample"), plural(1200, "sample"), plural(2, "class")
    ('1 sample', '1,200 samples', '2 classes')
    """
    ending = "" if count == 1 else "es" if noun.endswith("s") else "s"
    return f"{count:,} {noun}{ending}"
