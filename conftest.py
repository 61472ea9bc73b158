"""How do all tests and doctests run: on which backend, in which folder, with which packages?"""

from __future__ import annotations

import ast
import importlib.util
import os
import signal
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

# Keras' own default is TensorFlow, which the smaller environment has not.
os.environ.setdefault("KERAS_BACKEND", "jax")

# A run in the background ignores interrupts, and so would the programs that tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Folders of the package in which a file may need an optional package.
OPTIONAL_FOLDERS = ("adapters", "importers")


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out modules whose optional packages are not installed."""
    if collection_path.suffix != ".py" or collection_path.parent.name not in OPTIONAL_FOLDERS:
        return None
    if collection_path.parent.parent.name != "chunkstore":
        return None
    body = ast.parse(collection_path.read_text(encoding="utf-8")).body
    # An import in a try says in its own words what to install.
    body += [inner for node in body if isinstance(node, ast.Try) for inner in node.body]
    names = [alias.name for node in body if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in body if isinstance(node, ast.ImportFrom)]
    packages = {name.partition(".")[0] for name in names}
    return True if any(importlib.util.find_spec(name) is None for name in packages) else None


@pytest.fixture(autouse=True)
def _doctest_folder(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if isinstance(request.node, pytest.DoctestItem):
        monkeypatch.chdir(tmp_path)
