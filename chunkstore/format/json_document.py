"""Is this a JSON object that can be trusted to be walked, and what do its parts say?

Whatever is wrong with the bytes becomes a FormatError: `json.loads` itself lets RecursionError and
ValueError out, keeps the last of two equal keys, and what it accepts can be too deep to be shown.
"""

from __future__ import annotations

import json
import reprlib
from typing import Any, Final

from chunkstore.errors import FormatError, UnsupportedError

MAX_NBYTES: Final = 64 << 20
MAX_DEPTH: Final = 200

# Error messages show what was got, in bounded length and depth.
_SHORT = reprlib.Repr()
_SHORT.maxlevel = 4
_SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxdict = 12
_SHORT.maxstring = _SHORT.maxlong = _SHORT.maxother = 100


def shown(value: Any) -> str:
    """Return a value as an error message shows it: shortened, whatever its size or depth."""
    return _SHORT.repr(value)


def parse_json_object(raw: bytes | memoryview) -> dict[str, Any]:
    """Return a JSON object.

    Parameters
    ----------
    raw
        UTF-8, at most `MAX_NBYTES` bytes; white space around it is allowed.

    Raises
    ------
    FormatError
        Anything else; an object with the same key twice; more than `MAX_DEPTH` levels.
    """
    if len(raw) > MAX_NBYTES:
        raise FormatError(f"metadata takes {len(raw)} bytes, at most {MAX_NBYTES} are read")
    raw = bytes(raw)
    try:
        document = json.loads(raw.decode("utf-8"), object_pairs_hook=_object)
    except UnicodeDecodeError as error:
        raise FormatError(f"metadata is no JSON: not UTF-8 at byte {error.start}") from None
    except RecursionError:
        raise _too_deep() from None
    except json.JSONDecodeError as error:
        raise FormatError(f"metadata is no JSON: {error}") from None
    except ValueError:
        raise FormatError(
            "metadata holds an integer with more digits than Python converts (4,300)"
        ) from None
    if not isinstance(document, dict):
        raise FormatError(f"metadata must be a JSON object, got {shown(document)}")
    if raw.count(b"{") + raw.count(b"[") > MAX_DEPTH:
        _check_depth(document)
    return document


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise FormatError(f"metadata has the key {shown(name)} twice in one object")
            seen.add(name)
    return result


def _check_depth(document: dict[str, Any]) -> None:
    level: list[Any] = [document]
    for _ in range(MAX_DEPTH):
        level = [
            value
            for parent in level
            for value in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(value, dict | list)
        ]
        if not level:
            return
    raise _too_deep()


def _too_deep() -> FormatError:
    return FormatError(f"metadata is nested too deep: at most {MAX_DEPTH} levels are read")


def check_keys(
    document: dict[str, Any], *, required: tuple[str, ...], optional: tuple[str, ...]
) -> None:
    """Raise for missing keys, and for unknown ones that a reader must understand."""
    missing = [key for key in required if key not in document]
    if missing:
        raise FormatError(f"metadata lacks {', '.join(missing)}")
    for key, value in document.items():
        if key in required or key in optional:
            continue
        if not (isinstance(value, dict) and value.get("must_understand") is False):
            raise UnsupportedError(
                f"unknown metadata key {shown(key)}: {shown(value)}, which does not say "
                '"must_understand": false'
            )


def parse_extension(what: str, value: Any) -> tuple[str, dict[str, Any]]:
    """Return name and configuration of an extension point.

    Parameters
    ----------
    what
        Stands in messages: ``"chunk_grid"``, ``"codec"``.
    value
        ``{"name": ..., "configuration": {...}}``, or just the name.

    Raises
    ------
    FormatError
        Neither of them.
    """
    if isinstance(value, str):
        return value, {}
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        raise FormatError(f"{what} must be an object with a name, got {shown(value)}")
    unknown = sorted(set(value) - {"name", "configuration", "must_understand"})
    if unknown:
        raise FormatError(
            f"{what} {shown(value['name'])} has unknown keys {shown(unknown)}; allowed are name, "
            "configuration and must_understand"
        )
    if not isinstance(value.get("must_understand", True), bool):
        raise FormatError(
            f"{what} {shown(value['name'])} has must_understand "
            f"{shown(value['must_understand'])}, expected true or false"
        )
    configuration = value.get("configuration", {})
    if not isinstance(configuration, dict):
        raise FormatError(
            f"{what} {shown(value['name'])} has configuration {shown(configuration)}, expected an "
            "object"
        )
    return value["name"], configuration


def check_options(what: str, options: dict[str, Any], allowed: tuple[str, ...]) -> None:
    """Raise if a configuration has keys that do not exist."""
    unknown = sorted(set(options) - set(allowed))
    if unknown:
        raise FormatError(
            f"{what} has unknown options {shown(unknown)}; there are {', '.join(allowed) or 'none'}"
        )
