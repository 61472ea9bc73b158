"""How do the tests of this folder run: with which warnings of the frameworks themselves?"""

from __future__ import annotations

from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
# Their examples run Keras too.
ADAPTERS = FOLDER.parent.parent / "chunkstore" / "adapters"
# Keras 3.15 converts its own variables and torch tensors in a way that NumPy 2.4 warns about.
OF_KERAS = "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning:keras"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let Keras warn about itself; what our own modules cause stays an error."""
    for item in items:
        if {FOLDER, ADAPTERS} & set(item.path.parents):
            item.add_marker(pytest.mark.filterwarnings(OF_KERAS))
