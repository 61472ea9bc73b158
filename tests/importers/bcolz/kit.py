"""Folders that real builds of bcolz wrote, good and damaged, and what is in them.

``tests/data/bcolz/kit.tar.gz`` holds a folder or archive for each case and ``MANIFEST.json``, which
says what wrote it and what reading it must give: ``README.md`` in it defines the words.
"""

from __future__ import annotations

import functools
import gzip
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np

ARCHIVE = Path(__file__).resolve().parent.parent.parent / "data" / "bcolz" / "kit.tar.gz"


def unpack(folder: Path) -> Path:
    """Unpack the kit into a folder."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder


@functools.cache
def load_cases() -> dict[str, dict[str, Any]]:
    """Return what the manifest says of each case, by name; nothing is unpacked."""
    with gzip.open(ARCHIVE) as raw, tarfile.open(fileobj=raw) as archive:
        for member in archive:
            if member.name.endswith("MANIFEST.json"):
                file = archive.extractfile(member)
                assert file is not None
                document = json.load(file)
                return {case["name"]: case for case in document["fixtures"]}
    raise AssertionError("the kit has no manifest")


def load_truth(kit: Path, case: dict[str, Any]) -> dict[str, Any]:
    """Return the right values by name of the array; elements of an object array as a list."""
    name = case.get("expected") or case["before_damage"]
    if name.endswith(".expected/"):
        return _tree(kit / name)
    if name.endswith(".cols/"):
        return _columns(kit / name, [column[0] for column in case["cols"]])
    return {"": _values(kit / name)}


def _values(path: Path) -> Any:
    if path.suffix == ".json":
        return [_plain(value) for value in json.loads(path.read_text(encoding="utf-8"))]
    return np.load(path)


def _columns(folder: Path, names: list[str]) -> dict[str, Any]:
    return {name: _values(next(p for p in folder.iterdir() if p.stem == name)) for name in names}


def _tree(folder: Path) -> dict[str, Any]:
    found = {}
    for path in sorted(folder.rglob("*.npy")):
        name = path.relative_to(folder).with_suffix("").as_posix()
        found[name.replace(".cols/", "/")] = np.load(path)
    return found


def _plain(value: Any) -> Any:
    """Return a value as the kit's JSON means it; times, bytes and dicts are objects there."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        ((kind, content),) = value.items()
        if kind == "bytes":
            return bytes(content)
        if kind == "dict":
            return {_hashable(_plain(k)): _plain(v) for k, v in content}
        return (kind, content)
    return value


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def simplified(value: Any) -> Any:
    """Return an element that was read in the form that `load_truth` gives."""
    if isinstance(value, list | tuple):
        return [simplified(item) for item in value]
    if isinstance(value, dict):
        return {k: simplified(v) for k, v in value.items()}
    if hasattr(value, "isoformat"):
        return ("datetime", value.isoformat())
    return value


def is_equal(values: np.ndarray, truth: Any) -> bool:
    """Say whether values are the right ones, of the right type, bit for bit."""
    if isinstance(truth, list):
        return len(values) == len(truth) and all(map(_is_equal_object, values, truth))
    native = truth.astype(truth.dtype.newbyteorder("="))
    if values.shape != truth.shape or values.dtype != native.dtype:
        return False
    if truth.dtype.names:
        return all(is_equal(values[name], truth[name]) for name in truth.dtype.names)
    return values.tobytes() == native.tobytes()


def _is_equal_object(value: Any, truth: Any) -> bool:
    if isinstance(truth, bytes) and isinstance(value, str):
        # str of Python 2 comes back as text: its bytes as utf-8, or as latin-1 if they are not.
        return truth in (value.encode("utf-8"), value.encode("latin-1", "replace"))
    return simplified(value) == truth
