"""How does every test run: Hypothesis profiles, and nothing may be left behind."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests import support

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

# Deadlines measure the machine, not the code. The leak fixture is the same for every example.
settings.register_profile(
    "dev",
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.register_profile(
    "ci", settings.get_profile("dev"), max_examples=100, derandomize=True, print_blob=True
)
settings.register_profile("nightly", settings.get_profile("dev"), max_examples=2000)
settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE", "ci" if support.is_continuous_integration() else "dev")
)


@pytest.fixture(autouse=True)
def _nothing_left_behind(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Fail a test that leaves descriptors, threads or temporary files.

    A test that must leave some says so: ``@pytest.mark.leaves_open("why")``.
    """
    if request.node.get_closest_marker("leaves_open"):
        yield
        return
    with support.no_leaks(tmp_path_factory.mktemp("temporary")):
        yield


@pytest.fixture
def require() -> Callable[[str], ModuleType]:
    """Return the function that imports an optional package, skips, or fails under CI."""
    return support.require
