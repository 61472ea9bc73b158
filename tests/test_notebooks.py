"""Do the notebooks run from top to bottom, and are they stored without outputs?

The code cells of a notebook run in order in one fresh interpreter and an empty folder: they use
nothing that only Jupyter has.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest

from tests.support import REPOSITORY, require

NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
NEEDS = {
    "03_torch_and_resuming": ("torch", "skimage", "sklearn"),
    "05_from_a_folder_of_photographs": ("keras", "skimage", "simplejpeg"),
    "06_choosing_a_codec": ("skimage", "sklearn", "matplotlib"),
}
NEEDS_ELSE = ("keras", "skimage", "sklearn")
NAMES = [path.stem for path in NOTEBOOKS]


def cells_of(path, kind):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    return [cell for cell in notebook["cells"] if cell["cell_type"] == kind]


def program_of(path):
    """Return the code cells as one program; each says which it is in tracebacks."""
    parts = []
    for number, cell in enumerate(cells_of(path, "code")):
        source = "".join(cell["source"])
        name = f"{path.name}, code cell {number}"
        parts.append(f"exec(compile({source!r}, {name!r}, 'exec'), globals())")
    return "\n".join(parts)


def test_there_are_notebooks():
    assert NAMES == [
        "01_train_on_data_larger_than_memory",
        "02_features_to_disk",
        "03_torch_and_resuming",
        "04_from_a_bcolz_folder",
        "05_from_a_folder_of_photographs",
        "06_choosing_a_codec",
        "07_what_shuffling_does",
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_a_notebook_runs_to_its_end(path, tmp_path):
    for package in NEEDS.get(path.stem, NEEDS_ELSE):
        require(package)
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "MPLBACKEND": "Agg"}
    process = subprocess.run(
        [sys.executable, "-c", program_of(path)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert process.stdout


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_a_notebook_is_stored_without_outputs_and_explains_itself(path):
    text = path.read_text(encoding="utf-8")
    assert len(text) < 40_000
    assert json.dumps(json.loads(text), indent=1, ensure_ascii=False) + "\n" == text
    for cell in cells_of(path, "code"):
        assert cell["outputs"] == []
        assert cell["execution_count"] is None
        source = "".join(cell["source"])
        compile(source, path.name, "exec")
        assert not re.search(r"^\s*[%!]", source, re.MULTILINE), "Jupyter only"
    explained = sum(len("".join(cell["source"])) for cell in cells_of(path, "markdown"))
    assert explained > 700


def test_an_error_in_a_cell_names_the_cell(tmp_path):
    cell = {"cell_type": "code", "source": ["x = 1\n", "1 / 0"]}
    (tmp_path / "broken.ipynb").write_text(json.dumps({"cells": [cell]}))
    process = subprocess.run(
        [sys.executable, "-c", program_of(tmp_path / "broken.ipynb")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 1
    assert '"broken.ipynb, code cell 0", line 2' in process.stderr
