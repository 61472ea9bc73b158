"""Do imports point downwards, and do frameworks, prints and heavy packages keep their places?"""

from __future__ import annotations

import ast
import graphlib
import json
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.support import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# What each part of the package may import of the others. A part is a folder or a file directly in
# chunkstore/. Methods that name an upper part resolve it at call time through `upper`.
LEAVES = frozenset({"errors", "progress", "settings", "system"})
BELOW_STORE = LEAVES | {"container", "format", "upper"}
BELOW_PIPELINE = BELOW_STORE | {"store", "plan"}
# A job (predict, tune, ...) is one module on top of the layers, and so is the package's __init__.
BELOW_JOBS = BELOW_PIPELINE | {"pipeline"}
MAY_IMPORT = {
    "errors": frozenset(),
    "progress": frozenset({"errors", "settings"}),
    "settings": frozenset({"errors"}),
    "system": frozenset({"errors"}),
    "upper": frozenset({"errors"}),
    "container": LEAVES,
    "format": LEAVES,
    "store": BELOW_STORE,
    "plan": frozenset({"errors", "settings"}),
    "pipeline": BELOW_PIPELINE,
    "adapters": BELOW_JOBS | {"mixing"},
    "exporting": BELOW_JOBS | {"splitting"},
    "importing": BELOW_JOBS,
    "sources": BELOW_PIPELINE | {"pipeline"},
    "importers": BELOW_JOBS | {"importing"},
    "tuning": BELOW_JOBS | {"importers", "importing", "plotting"},
    "viewing": BELOW_JOBS | {"diagnosis"},
    "rewriting": BELOW_JOBS | {"importers", "importing"},
}
# Nothing may import these: they are reached by name, through `upper` or from the command line.
REACHED_BY_NAME = frozenset({"adapters", "cli", "sources"})
IMPORT_CALLS = frozenset({"__import__", "importlib.import_module", "import_module"})
# The package itself finds its public names of upper layers when they are first asked for.
MAY_IMPORT_BY_NAME = frozenset({"", "upper"})

FRAMEWORKS = frozenset({"jax", "keras", "tensorflow", "torch"})
# Packages that `import chunkstore` must not pay for: inside functions, or in a file of these parts.
HEAVY = FRAMEWORKS | {
    "click",
    "dask",
    "h5py",
    "hdf5plugin",
    "pyarrow",
    "PIL",
    "simplejpeg",
    "cramjam",
    "matplotlib",
    "tqdm",
    "zarr",
}
HEAVY_PARTS = frozenset({"adapters", "importers", "cli"})


@dataclass(frozen=True)
class Import:
    """One imported module, as an absolute dotted name."""

    name: str
    line: int
    at_module_level: bool


def part_of(module: str) -> str:
    """Return the part of the package that a module belongs to; the package itself is ""."""
    return module.split(".")[1] if "." in module else ""


def imports_of(tree: ast.Module, modules: frozenset[str]) -> Iterator[Import]:
    """Yield what a module imports; `from package import module` is an import of the module."""

    def visit(node: ast.AST, *, at_module_level: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            inside = at_module_level and not isinstance(
                child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
            )
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield Import(alias.name, child.lineno, inside)
            elif isinstance(child, ast.ImportFrom):
                source = "." * child.level + (child.module or "")
                for alias in child.names:
                    name = f"{source}.{alias.name}"
                    yield Import(name if name in modules else source, child.lineno, inside)
            is_for_types = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test)
            yield from visit(child, at_module_level=inside and not is_for_types)

    return visit(tree, at_module_level=True)


def calls_of(tree: ast.Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node.lineno


def violations(sources: Mapping[str, str]) -> list[str]:
    """Return every breach of the architecture, as "module:line: what"."""
    found = []
    modules = frozenset(sources)
    dependencies: dict[str, set[str]] = {module: set() for module in modules}
    for module, source in sources.items():
        part = part_of(module)
        tree = ast.parse(source)
        for imported in imports_of(tree, modules):
            where = f"{module}:{imported.line}: "
            if imported.name.startswith("."):
                found.append(where + "relative import")
                continue
            package = imported.name.partition(".")[0]
            if package == "chunkstore":
                if imported.at_module_level and imported.name in modules:
                    dependencies[module].add(imported.name)
                found += [where + what for what in wrong_part(part, imported.name)]
            if package in FRAMEWORKS and part != "adapters":
                found.append(where + f"{package} outside the adapters")
            if package in HEAVY and imported.at_module_level and part not in HEAVY_PARTS:
                found.append(where + f"{package} when the module is imported")
        for call, line in calls_of(tree):
            if call in ("print", "sys.stdout.write", "sys.stderr.write") and part != "cli":
                found.append(f"{module}:{line}: {call} outside the command line")
            if call in IMPORT_CALLS and part not in MAY_IMPORT_BY_NAME:
                found.append(f"{module}:{line}: import by name outside chunkstore.upper")
    try:
        graphlib.TopologicalSorter(dependencies).prepare()
    except graphlib.CycleError as error:
        found.append("import cycle: " + " -> ".join(error.args[1]))
    return sorted(found)


def wrong_part(part: str, imported: str) -> Iterator[str]:
    """Yield what is wrong with a part that imports a module of ours."""
    target = part_of(imported)
    if target == part:
        return
    if target in REACHED_BY_NAME:
        yield f"imports {imported}, which nothing may import"
    elif target == "" and part != "cli":
        yield "imports the package itself"
    elif part in MAY_IMPORT and target not in MAY_IMPORT[part]:
        yield f"{part} imports {imported}, which is not below it"


def package_sources() -> dict[str, str]:
    """Return the source of every module of the package by its dotted name."""
    sources = {}
    for path in sorted((REPOSITORY / "chunkstore").rglob("*.py")):
        parts = path.relative_to(REPOSITORY).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        sources[name] = path.read_text(encoding="utf-8")
    return sources


def test_imports_point_only_downwards_and_heavy_packages_stay_in_their_places():
    sources = package_sources()
    assert len(sources) > 10
    assert violations(sources) == []


def test_every_module_says_in_its_first_line_what_it_is_for():
    undocumented = [
        name
        for name, source in package_sources().items()
        if not (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0].endswith(("?", "."))
    ]
    assert undocumented == []


# A package as it should be, for the tests of the check itself.
SOUND = {
    "chunkstore.errors": "",
    "chunkstore.container": "",
    "chunkstore.container.layout": "from chunkstore.errors import FormatError",
    "chunkstore.container.reader": "from chunkstore.container import layout",
    "chunkstore.store.array": "from chunkstore import errors\ndef zarr():\n    import zarr",
    "chunkstore.pipeline.loader": "from chunkstore.store.array import Array",
    "chunkstore.adapters.keras": "import keras\nfrom chunkstore.pipeline.loader import Loader",
    "chunkstore.cli": "import click\nimport chunkstore\nprint(1)",
}


@pytest.mark.parametrize(
    ("module", "source", "message"),
    [
        pytest.param(
            "chunkstore.container.reader",
            "from chunkstore.store.array import Array",
            "chunkstore.container.reader:1: container imports chunkstore.store.array, "
            "which is not below it",
            id="upwards",
        ),
        pytest.param(
            "chunkstore.container.reader",
            "import typing\nif typing.TYPE_CHECKING:\n    import chunkstore.store.array",
            "chunkstore.container.reader:3: container imports chunkstore.store.array, "
            "which is not below it",
            id="upwards-for-types",
        ),
        pytest.param(
            "chunkstore.format.grid",
            "from chunkstore import container",
            "chunkstore.format.grid:1: format imports chunkstore.container, which is not below it",
            id="sideways",
        ),
        pytest.param(
            "chunkstore.plan.epoch",
            "def order():\n    from chunkstore.pipeline import loader",
            "chunkstore.plan.epoch:2: plan imports chunkstore.pipeline.loader, "
            "which is not below it",
            id="upwards-in-a-function",
        ),
        pytest.param(
            "chunkstore.store.array",
            "def keras():\n    from chunkstore.adapters import keras",
            "chunkstore.store.array:2: imports chunkstore.adapters.keras, which nothing may import",
            id="an-adapter",
        ),
        pytest.param(
            "chunkstore.predict",
            "def predict():\n    import chunkstore.adapters.keras",
            "chunkstore.predict:2: imports chunkstore.adapters.keras, which nothing may import",
            id="an-adapter-from-a-job",
        ),
        pytest.param(
            "chunkstore.store.array",
            "import chunkstore",
            "chunkstore.store.array:1: imports the package itself",
            id="the-package",
        ),
        pytest.param(
            "chunkstore.store.array",
            "from .spec import ArraySpec",
            "chunkstore.store.array:1: relative import",
            id="relative",
        ),
        pytest.param(
            "chunkstore.predict",
            "def predict():\n    import torch.nn",
            "chunkstore.predict:2: torch outside the adapters",
            id="a-framework",
        ),
        pytest.param(
            "chunkstore.store.store",
            "import zarr",
            "chunkstore.store.store:1: zarr when the module is imported",
            id="zarr-at-module-level",
        ),
        pytest.param(
            "chunkstore.store.store",
            "try:\n    from tqdm.auto import tqdm\nexcept ImportError:\n    tqdm = None",
            "chunkstore.store.store:2: tqdm when the module is imported",
            id="tqdm-in-a-try",
        ),
        pytest.param(
            "chunkstore.store.store",
            "def report():\n    print('done')",
            "chunkstore.store.store:2: print outside the command line",
            id="print",
        ),
        pytest.param(
            "chunkstore.store.store",
            "import importlib\nkeras = importlib.import_module('chunkstore.adapters.keras')",
            "chunkstore.store.store:2: import by name outside chunkstore.upper",
            id="by-name",
        ),
    ],
)
def test_the_check_finds_the_one_breach(module, source, message):
    assert violations(SOUND) == []
    assert violations(SOUND | {module: source}) == [message]


def test_the_check_finds_an_import_cycle():
    broken = SOUND | {"chunkstore.container.layout": "import chunkstore.container.reader"}
    (message,) = violations(broken)
    assert message.startswith("import cycle: ")
    assert {"chunkstore.container.layout", "chunkstore.container.reader"} < set(message.split())


def modules_after(statement):
    """Return the top-level names of what is imported by a statement in a fresh interpreter."""
    code = f"{statement}; import json, sys; print(json.dumps(sorted(sys.modules)))"
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    return {name.partition(".")[0] for name in json.loads(process.stdout)}


def test_stores_and_loaders_need_no_framework_and_nothing_else_that_is_slow():
    loaded = modules_after("from chunkstore import Loader, create, open, save")
    assert "numcodecs" in loaded
    assert loaded & HEAVY == set()


def test_importing_chunkstore_loads_nothing_before_it_is_used():
    assert modules_after("import chunkstore") & (HEAVY | {"numcodecs", "numpy"}) == set()
