"""The folders of the kit, unpacked once for a session."""

from __future__ import annotations

import pytest

from tests.importers.bcolz import kit as kit_module


@pytest.fixture(scope="session")
def kit(tmp_path_factory):
    """The folder with the unpacked kit: not to be changed."""
    return kit_module.unpack(tmp_path_factory.mktemp("bcolz-kit"))
