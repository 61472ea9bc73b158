"""On which table of system calls do the container's laws run?"""

from __future__ import annotations

import pytest

from chunkstore import system
from tests.container.zips import TABLES


@pytest.fixture(params=TABLES)
def system_calls(request):
    """Run the test with what this system has, and with what every system has."""
    with system.replaced_calls(TABLES[request.param]()):
        yield request.param
