"""Which frameworks, Keras on them or alone, can be measured here, and by which interpreter?"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from benchmarks.probe import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.result import Settings

BACKENDS = ("jax", "torch", "tensorflow")
_ALL = REPOSITORY / ".venv-all" / "bin" / "python"


def interpreters(settings: Settings, *, needs: Sequence[str] = ("keras",)) -> dict[str, str]:
    """Return an interpreter that has the backend, for each backend that there is.

    This one, or else the environment that ``make test-all`` makes; a quick run takes one backend
    of this one.

    Parameters
    ----------
    settings
        Of the run.
    needs
        Packages that it must have too.
    """
    found: dict[str, str] = {}
    for backend in BACKENDS:
        if all(importlib.util.find_spec(name) is not None for name in (*needs, backend)):
            found[backend] = sys.executable
    if not settings.has_optional_peers:
        return dict(list(found.items())[:1])
    if _ALL.exists():
        code = (
            "import importlib.util as u; "
            f"print(*[b for b in {BACKENDS!r} if all(map(u.find_spec, [*{(*needs,)!r}, b]))])"
        )
        output = subprocess.check_output([_ALL, "-c", code], text=True)
        for backend in output.split():
            found.setdefault(backend, str(_ALL))
    return {backend: found[backend] for backend in BACKENDS if backend in found}


def import_keras(backend: str) -> Any:
    """Import Keras on a backend, in a process that has not done so."""
    os.environ["KERAS_BACKEND"] = backend
    # Its remarks on standard output and error are none of ours.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras

    keras.utils.set_random_seed(0)
    return keras


def missing_backends() -> str:
    """Return what to say where there is no backend at all."""
    return (
        "not measured: no environment has keras and a backend; `make test-all` makes one, or "
        "pip install 'chunkstore[keras,jax]'"
    )
