"""Which columns of a manifest are labels, and what do their cells mean?"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import numpy as np

from chunkstore.importers.images.listing import Label, Y, check_class_names
from chunkstore.importers.images.walking import IMAGE_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Sequence

Kind = Literal["int", "float", "name", "path"]

_KINDS: Final = get_args(Kind)
_INT: Final = re.compile(r"[+-]?[0-9]+")
_FLOAT: Final = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_NO_NUMBER: Final = re.compile(r"[+-]?(nan|inf|infinity)", re.IGNORECASE)
_INT64: Final = np.iinfo(np.int64)


@dataclass(frozen=True)
class LabelColumns:
    """One array of labels, and the columns that it is made of.

    Attributes
    ----------
    name
        Of the array.
    columns
        Their indexes.
    kind
        ``"int"``, ``"float"``, ``"name"`` of a class, or ``"path"`` of a mask; None takes what the
        first row shows.
    """

    name: str
    columns: tuple[int, ...]
    kind: Kind | None = None


def choose_columns(
    labels: Mapping[str, str | int] | None,
    *,
    header: Sequence[str] | None,
    num_columns: int,
    path_column: int,
) -> list[LabelColumns]:
    """Return the arrays of labels that a manifest holds.

    Parameters
    ----------
    labels
        By the name of the array: a column, or several divided by commas, and ``:int``, ``:float``,
        ``:name`` or ``:path`` behind. A column is a name of the header or a number from 0. None
        takes what the header says (``"y:int"``), or else the only other column as ``y``.
    header
        Cells of the header; None where there is none.
    num_columns
        Of the manifest.
    path_column
        That holds the images.

    Raises
    ------
    ValueError, KeyError
        Columns that are not there, or too many to choose from.
    """
    if labels is not None:
        return [_parsed(name, str(text), header, num_columns) for name, text in labels.items()]
    others = [i for i in range(num_columns) if i != path_column]
    typed = [(i, *header[i].rpartition(":")[::2]) for i in others] if header else []
    if typed and all(name and kind in _KINDS for _, name, kind in typed):
        # Columns of one name are one array.
        chosen: dict[tuple[str, Any], list[int]] = {}
        for i, name, kind in typed:
            chosen.setdefault((name, kind), []).append(i)
        return [_checked(name, tuple(found), kind) for (name, kind), found in chosen.items()]
    if len(others) <= 1:
        return [LabelColumns(Y, (i,)) for i in others]
    shown = ", ".join(repr(header[i]) if header else str(i) for i in others)
    example = header[others[0]] if header else str(others[0])
    raise ValueError(
        f"the manifest has {len(others)} columns beside the images ({shown}): say which are "
        f"labels, such as labels={{'y': {example!r}}} (--label y={example})"
    )


def find_column(text: str, header: Sequence[str] | None, num_columns: int) -> int:
    """Return the index of a column that is given by name, or by number from 0.

    Raises
    ------
    KeyError
        There is none.
    """
    if header is not None and text in header:
        if header.count(text) > 1:
            raise KeyError(f"the header has {text!r} {header.count(text)} times; give its number")
        return header.index(text)
    if text.isascii() and text.isdigit() and int(text) < num_columns:
        return int(text)
    there = f"a name of {list(header)} or " if header is not None else ""
    raise KeyError(f"there is no column {text!r}: it must be {there}a number in [0, {num_columns})")


def read_label(
    wanted: LabelColumns,
    cells: Sequence[Sequence[str]],
    wrong: dict[int, str],
    class_names: Sequence[str] | None = None,
) -> Label | list[str]:
    """Return the labels that columns hold, or the paths of masks.

    Parameters
    ----------
    wanted
        Which columns.
    cells
        Of each row.
    wrong
        What is wrong with a row, by its index: such rows are passed over, and more are added.
    class_names
        In the order of their labels; None takes those that are there, sorted.

    Raises
    ------
    ValueError
        The kind does not go with what else is given.
    """
    kind = wanted.kind or _found_kind(wanted, cells, wrong)
    if len(wanted.columns) > 1 and kind in ("name", "path"):
        raise ValueError(
            f"label {wanted.name!r}: several columns must hold numbers, got {kind}; make each an "
            "array of its own"
        )
    if class_names is not None and kind not in ("int", "name"):
        raise ValueError(f"label {wanted.name!r}: class_names= goes with classes, got {kind}")
    texts: list[list[str]] = [[] for _ in cells]
    for row, line in enumerate(cells):
        if row in wrong:
            continue
        texts[row] = [line[column] for column in wanted.columns]
        if "" in texts[row]:
            wrong[row] = f"label {wanted.name!r} is empty"
    if kind == "path":
        return [text[0] if text else "" for text in texts]
    if kind == "name":
        return _classes(wanted.name, texts, wrong, class_names)
    return _numbers(wanted, kind, texts, wrong, class_names)


def _numbers(
    wanted: LabelColumns,
    kind: Kind,
    texts: list[list[str]],
    wrong: dict[int, str],
    class_names: Sequence[str] | None,
) -> Label:
    values = np.zeros((len(texts), len(wanted.columns)), np.int64 if kind == "int" else np.float64)
    parse = _as_int if kind == "int" else _as_float
    for row, parts in enumerate(texts):
        if row in wrong:
            continue
        try:
            numbers = [parse(text) for text in parts]
            if class_names is not None and not 0 <= numbers[0] < len(class_names):
                raise ValueError(  # noqa: TRY301 - one message for all that is wrong with a label
                    f"{numbers[0]} is none of [0, {len(class_names)}), the class_names"
                )
        except ValueError as error:
            wrong[row] = f"label {wanted.name!r}: {error}"
            if wanted.kind is None:
                wrong[row] += f"; the first row shows {kind} (say NAME=COLUMN:kind for another)"
        else:
            values[row] = numbers
    if len(wanted.columns) == 1:
        values = values[:, 0]
    return Label(values, None if class_names is None else tuple(class_names))


def _classes(
    name: str,
    texts: list[list[str]],
    wrong: dict[int, str],
    class_names: Sequence[str] | None,
) -> Label:
    good = [row for row in range(len(texts)) if row not in wrong]
    if class_names is None:
        class_names = sorted({texts[row][0] for row in good})
    number = {class_name: i for i, class_name in enumerate(class_names)}
    # -1 stands for a class in rows that are not imported.
    values = np.full(len(texts), -1, np.int64)
    for row in good:
        text = texts[row][0]
        if text in number:
            values[row] = number[text]
        else:
            wrong[row] = f"label {name!r}: {text!r} is none of the {len(number)} class_names"
    return Label(values, tuple(class_names))


def _found_kind(
    wanted: LabelColumns, cells: Sequence[Sequence[str]], wrong: Mapping[int, str]
) -> Kind:
    """Return the kind that the first sound row shows."""
    row = next((row for row in range(len(cells)) if row not in wrong), None)
    if row is None:
        return "int"
    texts = [cells[row][column] for column in wanted.columns]
    if all(_INT.fullmatch(text) for text in texts):
        if any(len(text.lstrip("+-")) > 1 and text.lstrip("+-")[0] == "0" for text in texts):
            raise ValueError(
                f"label {wanted.name!r}: {texts[0]!r} may be a number or a name; say "
                f"{wanted.name}=COLUMN:int or :name"
            )
        return "int"
    if all(_FLOAT.fullmatch(text) or _NO_NUMBER.fullmatch(text) for text in texts):
        return "float"
    if any("." + text.rpartition(".")[2].lower() in IMAGE_SUFFIXES for text in texts):
        return "path"
    return "name"


def _as_int(text: str) -> int:
    if not _INT.fullmatch(text):
        raise ValueError(f"{text!r} is no integer")
    value = int(text) if len(text) < 30 else _INT64.max + 1
    if not _INT64.min <= value <= _INT64.max:
        raise ValueError(f"{text!r} is beyond 64 bits")
    return value


def _as_float(text: str) -> float:
    if not (_FLOAT.fullmatch(text) or _NO_NUMBER.fullmatch(text)):
        raise ValueError(f"{text!r} is no number")
    value = float(text)
    if math.isinf(value) and _FLOAT.fullmatch(text):
        raise ValueError(f"{text!r} is beyond the range of float64")
    return value


def _parsed(name: str, text: str, header: Sequence[str] | None, num_columns: int) -> LabelColumns:
    columns, colon, kind = text.rpartition(":")
    if not colon or (header is not None and text in header and kind not in _KINDS):
        columns, kind = text, ""
    elif kind not in _KINDS:
        raise ValueError(f"label {name!r}: the kind must be one of {list(_KINDS)}, got {kind!r}")
    parts = [columns] if header is not None and columns in header else columns.split(",")
    found = tuple(find_column(part.strip(), header, num_columns) for part in parts)
    return _checked(name, found, kind or None)


def _checked(name: str, columns: tuple[int, ...], kind: Any) -> LabelColumns:
    if len(set(columns)) < len(columns):
        raise ValueError(f"label {name!r} names a column twice")
    return LabelColumns(name, columns, kind)


def class_names_by_label(
    class_names: Sequence[str] | Mapping[str, Sequence[str]] | None, labels: Sequence[LabelColumns]
) -> dict[str, list[str]]:
    """Return the classes of each array of labels that has them given.

    Raises
    ------
    ValueError
        They are given for no label, or it is not clear for which.
    """
    if class_names is None:
        return {}
    names = [label.name for label in labels]
    if not isinstance(class_names, Mapping):
        if len(names) != 1:
            raise ValueError(
                f"class_names= must say for which label, such as {{'y': [...]}}: there are {names}"
            )
        class_names = {names[0]: list(class_names)}
    given: dict[str, list[str]] = {name: list(found) for name, found in class_names.items()}
    for name, found in given.items():
        if name not in names:
            raise ValueError(f"class_names has {name!r}, which is no label; there are {names}")
        check_class_names(found)
    return given
