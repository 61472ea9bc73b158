"""chunkstore: arrays larger than memory in one compressed, checked file, loaded shuffled.

See ``README.md`` for the first steps and ``docs/`` for the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chunkstore import errors as errors
    from chunkstore import transforms
    from chunkstore.errors import (
        ChunkStoreError,
        ChunkStoreWarning,
        CorruptionError,
        FormatError,
        IncompleteError,
        LockedError,
        SystemCallError,
        UnsupportedError,
    )
    from chunkstore.exporting.run import export
    from chunkstore.importers.bcolz.importing import import_bcolz
    from chunkstore.importers.bcolz.open import open_bcolz
    from chunkstore.importers.cifar import import_cifar
    from chunkstore.importers.dask import from_dask
    from chunkstore.importers.hdf5 import import_hdf5
    from chunkstore.importers.images.importing import import_csv, import_images
    from chunkstore.importers.iterables import from_iter
    from chunkstore.importers.iterables_files import from_files
    from chunkstore.importers.npy import import_npy
    from chunkstore.importers.parquet import import_parquet
    from chunkstore.importers.pickles import import_pickle
    from chunkstore.importers.raw import import_raw
    from chunkstore.importers.zarr_store import import_zarr
    from chunkstore.mixing import mix
    from chunkstore.pipeline.loader import Loader
    from chunkstore.pipeline.view import concat, select
    from chunkstore.predicting.run import predict
    from chunkstore.rewriting.recompressing import recompress
    from chunkstore.rewriting.shuffling import shuffle, unshuffle
    from chunkstore.settings import defaults
    from chunkstore.splitting import open_splits, split
    from chunkstore.statistics import mean, std
    from chunkstore.store import (
        Array,
        ArraySpec,
        Store,
        Writer,
        append,
        compact,
        create,
        load,
        merge,
        repair,
        save,
        verify,
    )
    from chunkstore.store import open_store as open
    from chunkstore.tuning.benching import bench
    from chunkstore.tuning.run import tune
    from chunkstore.viewing.running import view

__version__ = "0.1.0"

__all__ = [
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

# Modules are imported when they are first asked for: the command line begins at once, so that
# Ctrl-C finds it there, and a program that only writes needs no loader.
_LAZY = {
    "Array": "chunkstore.store",
    "ArraySpec": "chunkstore.store",
    "ChunkStoreError": "chunkstore.errors",
    "ChunkStoreWarning": "chunkstore.errors",
    "CorruptionError": "chunkstore.errors",
    "FormatError": "chunkstore.errors",
    "IncompleteError": "chunkstore.errors",
    "Loader": "chunkstore.pipeline.loader",
    "LockedError": "chunkstore.errors",
    "Store": "chunkstore.store",
    "SystemCallError": "chunkstore.errors",
    "UnsupportedError": "chunkstore.errors",
    "Writer": "chunkstore.store",
    "append": "chunkstore.store",
    "bench": "chunkstore.tuning.benching",
    "compact": "chunkstore.store",
    "concat": "chunkstore.pipeline.view",
    "create": "chunkstore.store",
    "defaults": "chunkstore.settings",
    # A module.
    "errors": "chunkstore.errors",
    "export": "chunkstore.exporting.run",
    "from_dask": "chunkstore.importers.dask",
    "from_files": "chunkstore.importers.iterables_files",
    "from_iter": "chunkstore.importers.iterables",
    "import_bcolz": "chunkstore.importers.bcolz.importing",
    "import_cifar": "chunkstore.importers.cifar",
    "import_csv": "chunkstore.importers.images.importing",
    "import_hdf5": "chunkstore.importers.hdf5",
    "import_images": "chunkstore.importers.images.importing",
    "import_npy": "chunkstore.importers.npy",
    "import_parquet": "chunkstore.importers.parquet",
    "import_pickle": "chunkstore.importers.pickles",
    "import_raw": "chunkstore.importers.raw",
    "import_zarr": "chunkstore.importers.zarr_store",
    # A module. Not in __all__: a star import must neither need Keras nor hide it.
    "keras": "chunkstore.adapters.keras",
    "load": "chunkstore.store",
    "mean": "chunkstore.statistics",
    "merge": "chunkstore.store",
    "mix": "chunkstore.mixing",
    "open": "chunkstore.store",
    "open_bcolz": "chunkstore.importers.bcolz.open",
    "open_splits": "chunkstore.splitting",
    "predict": "chunkstore.predicting.run",
    "recompress": "chunkstore.rewriting.recompressing",
    "repair": "chunkstore.store",
    "save": "chunkstore.store",
    "select": "chunkstore.pipeline.view",
    "shuffle": "chunkstore.rewriting.shuffling",
    "split": "chunkstore.splitting",
    "std": "chunkstore.statistics",
    # A module.
    "transforms": "chunkstore.transforms",
    "tune": "chunkstore.tuning.run",
    "unshuffle": "chunkstore.rewriting.shuffling",
    "verify": "chunkstore.store",
    "view": "chunkstore.viewing.running",
}
_RENAMED = {"open": "open_store"}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        import importlib

        module = importlib.import_module(_LAZY[name])
        is_module = module.__name__.endswith(f".{name}")
        value = module if is_module else getattr(module, _RENAMED.get(name, name))
        globals()[name] = value
        return value
    raise AttributeError(f"module 'chunkstore' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])
