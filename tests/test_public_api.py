"""Which names are public?"""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest

import chunkstore as cs
from tests import support

# A name that goes away or comes breaks or binds somebody: change this list on purpose.
PUBLIC_NAMES = [
    "Array",
    "ArraySpec",
    "ChunkStoreError",
    "ChunkStoreWarning",
    "CorruptionError",
    "FormatError",
    "IncompleteError",
    "Loader",
    "LockedError",
    "Store",
    "SystemCallError",
    "UnsupportedError",
    "Writer",
    "append",
    "bench",
    "compact",
    "concat",
    "create",
    "defaults",
    "export",
    "from_dask",
    "from_files",
    "from_iter",
    "import_bcolz",
    "import_cifar",
    "import_csv",
    "import_hdf5",
    "import_images",
    "import_npy",
    "import_parquet",
    "import_pickle",
    "import_raw",
    "import_zarr",
    "load",
    "mean",
    "merge",
    "mix",
    "open",
    "open_bcolz",
    "open_splits",
    "predict",
    "recompress",
    "repair",
    "save",
    "select",
    "shuffle",
    "split",
    "std",
    "transforms",
    "tune",
    "unshuffle",
    "verify",
    "view",
]


def test_the_public_names_are_exactly_these():
    assert sorted(cs.__all__) == PUBLIC_NAMES


@pytest.mark.parametrize("name", PUBLIC_NAMES)
def test_each_public_name_is_there_and_documented(name):
    assert getattr(cs, name).__doc__.strip()


def test_dir_lists_the_public_names_before_any_of_them_was_used():
    assert set(PUBLIC_NAMES) <= set(dir(cs))


def test_the_callbacks_of_keras_are_there_when_asked_for_and_import_no_framework_before():
    support.require("keras")
    program = (
        "import sys, chunkstore as cs; from chunkstore import *; assert 'keras' not in globals();"
        "assert 'keras' not in sys.modules; cs.keras.BackupTraining; cs.keras.RestOfEpoch;"
        "cs.keras.PredictEachEpoch; assert 'keras' in dir(cs)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_name_that_does_not_exist_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        cs.no_such_name  # noqa: B018


@pytest.mark.parametrize("name", [name for name in PUBLIC_NAMES if name[0].isupper()])
def test_each_public_class_pickles_by_reference(name):
    public = getattr(cs, name)
    assert pickle.loads(pickle.dumps(public)) is public


def test_the_version_is_the_one_of_the_installed_distribution():
    from importlib.metadata import version

    assert cs.__version__ == version("chunkstore")
