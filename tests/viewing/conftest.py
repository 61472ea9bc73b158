"""What is there before every test of a view?"""

from __future__ import annotations

import importlib.util

import pytest

from chunkstore.viewing.figure import as_png, new_figure


@pytest.fixture(scope="session", autouse=True)
def _fonts():
    """Open the fonts that matplotlib keeps open for the life of the process."""
    if importlib.util.find_spec("matplotlib") is None:
        return
    figure = new_figure(2, 2)
    for family in ("sans-serif", "monospace"):
        figure.text(0, 0, "a \u05d0 \uffff", family=family)
    figure.subplots().set_title("a")
    as_png(figure)
