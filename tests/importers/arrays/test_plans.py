"""Claims about the dry run of imports of arrays, and what is checked before samples are read."""

from __future__ import annotations

import numpy as np
import pytest

import chunkstore as cs
from chunkstore.importers.arrays.samples import ArraySamples
from chunkstore.importers.npy import plan_npy


@pytest.fixture
def source(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(20))
    return tmp_path / "x.npy"


REFUSED = {
    "empty part": {"split": {"a": 0.999, "b": 0.001}},
    "name of a part": {"split": {"a/b": 1.0}},
    "fractions": {"split": {"a": 0.9, "b": 0.9}},
    "stratify alone": {"stratify": "x"},
    "classes": {"split": {"a": 0.5, "b": 0.5}, "stratify": [0, 1]},
}


@pytest.mark.parametrize("options", REFUSED.values(), ids=REFUSED.keys())
def test_the_dry_run_refuses_what_the_import_refuses(tmp_path, source, options):
    out = tmp_path / "out"
    plan = plan_npy(source, out, **options)
    assert not out.exists()
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - its text is compared below
        cs.import_npy(source, out, **options)
    assert plan.refused == (str(caught.value),)


def test_the_dry_run_of_a_split_takes_a_folder_that_is_not_there(tmp_path, source):
    plan = plan_npy(source, tmp_path / "out", split={"a": 0.5, "b": 0.5}, shuffle=True)
    assert plan.refused == ()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("options", [{}, REFUSED["empty part"]], ids=["existing", "split"])
def test_nothing_is_decoded_for_an_order_before_the_import_is_checked(
    tmp_path, source, monkeypatch, options
):
    out = tmp_path / "a.zarr.zip"
    if not options:
        out.write_bytes(b"mine")
    monkeypatch.setattr(
        ArraySamples, "prepare_for_any_order", lambda *_: pytest.fail("samples were decoded")
    )
    with pytest.raises((FileExistsError, ValueError), match=r"exists already|gets none"):
        cs.import_npy(source, out, shuffle=True, **options)
    assert out.exists() == (not options)
