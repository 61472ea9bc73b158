"""Which process this is comes from the caller, a framework or the launcher, in this order."""

from __future__ import annotations

import logging
import sys
import types

import pytest

from chunkstore.pipeline.ranks import resolve_rank


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("torch", "jax"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def framework(**functions):
    module = types.SimpleNamespace(**functions)
    module.distributed = types.SimpleNamespace(**functions)
    return module


def test_one_process_is_the_default():
    assert resolve_rank(None, None) == (0, 1)


def test_the_launchers_variables_are_taken_and_logged(monkeypatch, caplog):
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "4")
    with caplog.at_level(logging.INFO):
        assert resolve_rank(None, None) == (2, 4)
    assert "rank 2 of 4, taken from the environment" in caplog.text
    assert resolve_rank(0, 1) == (0, 1)


def test_torch_wins_over_the_environment_once_it_is_initialised(monkeypatch):
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "4")
    is_initialized = False
    torch = framework(
        is_available=lambda: True,
        is_initialized=lambda: is_initialized,
        get_rank=lambda: 1,
        get_world_size=lambda: 3,
    )
    monkeypatch.setitem(sys.modules, "torch", torch)
    assert resolve_rank(None, None) == (2, 4)
    is_initialized = True
    assert resolve_rank(None, None) == (1, 3)


def test_jax_is_asked_only_once_it_is_initialised(monkeypatch):
    is_initialized = False

    def process_index():
        assert is_initialized
        return 5

    jax = framework(
        is_initialized=lambda: is_initialized,
        process_index=process_index,
        process_count=lambda: 8,
    )
    monkeypatch.setitem(sys.modules, "jax", jax)
    assert resolve_rank(None, None) == (0, 1)
    is_initialized = True
    assert resolve_rank(None, None) == (5, 8)


@pytest.mark.parametrize(
    ("rank", "world_size", "text"),
    [
        (1, None, "got rank=1, world_size=None"),
        (None, 2, "got rank=None, world_size=2"),
        (2, 2, r"rank must be in \[0, 2\), got 2"),
        (-1, 2, r"rank must be in \[0, 2\), got -1"),
    ],
    ids=["no_world", "no_rank", "beyond", "negative"],
)
def test_wrong_ranks_are_told(rank, world_size, text):
    with pytest.raises(ValueError, match=text):
        resolve_rank(rank, world_size)
