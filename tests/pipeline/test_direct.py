"""Reads go past the page cache once the stored data do not fit in memory."""

from __future__ import annotations

import types

import pytest

from chunkstore.pipeline import room
from chunkstore.pipeline.direct import choose_direct
from chunkstore.pipeline.room import cache_room, process_room

GIB = 1 << 30


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Return the function that describes a machine: available memory and control groups."""

    def describe(available_kib=None, cgroup="", **limits):
        meminfo = tmp_path / "meminfo"
        if available_kib is not None:
            meminfo.write_text(f"MemTotal: 99 kB\nMemAvailable:   {available_kib} kB\n")
        (tmp_path / "cgroup").write_text(cgroup)
        for path, limit in limits.items():
            file = tmp_path / "groups" / path.replace("__", "/").replace("-", ".")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{limit}\n")
        monkeypatch.setattr(room, "_MEMINFO", meminfo)
        monkeypatch.setattr(room, "_OWN_CGROUP", tmp_path / "cgroup")
        monkeypatch.setattr(room, "_CGROUPS", tmp_path / "groups")

    return describe


def stored(*encoded_nbytes):
    return [types.SimpleNamespace(encoded_nbytes=nbytes) for nbytes in encoded_nbytes]


@pytest.mark.parametrize(
    ("encoded_nbytes", "memory", "is_direct"),
    [
        ([6 * GIB], GIB, False),
        ([8 * GIB], GIB, True),
        ([4 * GIB, 4 * GIB], GIB, True),
        ([6 * GIB], 3 * GIB, True),
    ],
    ids=["fits", "too_large", "together", "beside_the_loader"],
)
def test_auto_compares_the_stored_bytes_with_the_memory(machine, encoded_nbytes, memory, is_direct):
    machine(available_kib=8 << 20)
    assert choose_direct("auto", stored(*encoded_nbytes), memory=memory) is is_direct


def test_the_callers_word_counts(machine):
    machine(available_kib=8 << 20)
    assert choose_direct("direct", stored(1), memory=1) is True
    assert choose_direct("buffered", stored(100 * GIB), memory=1) is False


def test_arrays_in_memory_are_no_file(machine):
    machine(available_kib=1)
    assert choose_direct("auto", [types.SimpleNamespace()], memory=0) is False


def test_the_limit_of_a_control_group_above_counts(machine):
    machine(
        available_kib=8 << 20,
        cgroup="0::/user/job\n",
        **{"user__job__memory-max": "max", "user__memory-max": str(2 * GIB)},
    )
    assert cache_room() == 2 * GIB


def test_the_limit_of_an_old_control_group_counts(machine):
    machine(
        available_kib=8 << 20,
        cgroup="4:memory:/job\n2:cpu:/job\n",
        **{"memory__job__memory-limit_in_bytes": str(GIB), "memory__memory-limit_in_bytes": 2**63},
    )
    assert cache_room() == GIB


@pytest.mark.parametrize(
    ("cgroup", "folder", "limit", "usage", "cached"),
    [
        ("0::/job\n", "job", "memory-max", "memory-current", "inactive_file"),
        (
            "4:memory:/job\n",
            "memory__job",
            "memory-limit_in_bytes",
            "memory-usage_in_bytes",
            "total_inactive_file",
        ),
    ],
    ids=["version-2", "version-1"],
)
def test_a_process_has_what_its_group_does_not_use_or_could_give_up(
    machine, cgroup, folder, limit, usage, cached
):
    files = {limit: GIB, usage: GIB // 2, "memory-stat": f"anon 7\n{cached} {GIB // 4}"}
    machine(
        available_kib=8 << 20,
        cgroup=cgroup,
        **{f"{folder}__{name}": text for name, text in files.items()},
    )
    assert process_room() == GIB - GIB // 2 + GIB // 4


def test_a_group_without_a_limit_leaves_what_the_machine_has(machine):
    machine(
        available_kib=1 << 20,
        cgroup="0::/job\n",
        **{"job__memory-max": "max", "job__memory-current": 5 * GIB},
    )
    assert process_room() == GIB


def test_a_system_that_does_not_tell_reads_through_the_cache(machine):
    machine()
    room._OWN_CGROUP.unlink()
    assert cache_room() is None
    assert process_room() is None
    assert choose_direct("auto", stored(100 * GIB), memory=1) is False
