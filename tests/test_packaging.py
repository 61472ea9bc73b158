"""Does the wheel install and work in an empty environment?"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile

import pytest

from tests.support import REPOSITORY

SCRIPTS = "Scripts" if sys.platform == "win32" else "bin"


def run(*command, **options):
    process = subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        **options,
    )
    assert process.returncode == 0, process.stdout
    return process.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    run(
        *(sys.executable, "-m", "pip", "wheel", "-qq", "--no-deps", "--no-build-isolation"),
        *("--wheel-dir", folder, REPOSITORY),
    )
    (path,) = folder.glob("chunkstore-*.whl")
    return path


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    run(folder / SCRIPTS / "python", "-m", "pip", "install", "-qq", wheel)
    return folder / SCRIPTS


def test_the_wheel_holds_the_package_its_types_marker_and_licence_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    tops = {name.partition("/")[0] for name in names}
    assert tops == {"chunkstore", wheel.name.partition("-py3")[0] + ".dist-info"}
    sources = (REPOSITORY / "chunkstore").rglob("*.py")
    assert {path.relative_to(REPOSITORY).as_posix() for path in sources} <= names
    assert "chunkstore/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_installed_library_writes_and_reads_a_file(environment, tmp_path):
    code = (
        "import numpy as np, chunkstore as cs\n"
        "cs.save('a.zarr.zip', {'x': np.arange(1000)})\n"
        "with cs.open('a.zarr.zip') as store:\n"
        "    print(cs.__file__, int(store['x'][:].sum()))\n"
    )
    origin, total = run(environment / "python", "-c", code, cwd=tmp_path).split()
    assert os.path.commonpath([origin, environment.parent]) == str(environment.parent)
    assert total == "499500"


def test_the_installed_command_shows_its_help_and_version(environment, tmp_path):
    command = environment / "chunkstore"
    text = run(command, "--help", cwd=tmp_path)
    assert all(name in text for name in ("info", "verify", "repair", "compact"))
    assert run(command, "--version", cwd=tmp_path).startswith("chunkstore, version ")
