"""Does every Python example in the README and in docs/ run?

The blocks of a file run in order, in one namespace and an empty folder. Behind ``python``, a fence
may say:

- ``no-run``: the block is only compiled, it needs what a test has not.
- ``needs-torch``, ``needs-torch,lightning``: the block needs these packages. The page is run once
  for each such set, in an interpreter of its own, with all blocks that need no more than the set;
  where a package is not installed, that run is skipped by name.
- ``torchrun``: the block is a program that two ranks run.
"""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import REPOSITORY, require

FILES = [
    REPOSITORY / "README.md",
    REPOSITORY / "CHANGELOG.md",
    *sorted((REPOSITORY / "docs").rglob("*.md")),
]
FENCE = re.compile(r"^```(?P<info>[^`\n]*)\n(?P<code>.*?)^```[ ]*$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|#)(?P<target>[^)#\s]+)")
# Files of the package, the tests and the like, by their path in the repository.
CODE_FILE = re.compile(r"`((?:chunkstore|tests|benchmarks|examples|docs)/[\w/-]+\.py)`")
GUIDES = sorted(
    set((REPOSITORY / "docs" / "how-to").glob("*.md")) - {REPOSITORY / "docs/how-to/index.md"}
)
NEEDS = "needs-"
OPTIONS = {"no-run", "torchrun"}
NUM_RANKS = 2
CHILD = "import sys; from tests.test_docs import run_page; run_page(*sys.argv[1:])"


@dataclass(frozen=True)
class Block:
    """One Python example."""

    code: str
    line: int
    options: frozenset[str]
    needs: frozenset[str] = frozenset()

    @property
    def is_run(self):
        return "no-run" not in self.options


def python_blocks(text: str) -> list[Block]:
    """Return the Python examples of a page, in order."""
    blocks = []
    for match in FENCE.finditer(text):
        language, *options = match["info"].split() or [""]
        if language != "python":
            continue
        needs = [option for option in options if option.startswith(NEEDS)]
        unknown = set(options) - OPTIONS - set(needs)
        if unknown or len(needs) > 1:
            raise ValueError(
                f"python block with {sorted(options)}; allowed are 'no-run', 'torchrun' and one "
                "'needs-PACKAGE,PACKAGE'"
            )
        packages = frozenset(needs[0].removeprefix(NEEDS).split(",") if needs else [])
        line = text.count("\n", 0, match.start("code")) + 1
        blocks.append(Block(match["code"], line, frozenset(options) & OPTIONS, packages))
    return blocks


def run_blocks(text: str, name: str, packages: frozenset[str] = frozenset()) -> int:
    """Run the examples of a page that need no more than the packages; return how many there were.

    All of them share a namespace; the others are compiled.
    """
    namespace: dict[str, object] = {"__name__": "__main__"}
    blocks = python_blocks(text)
    for block in blocks:
        is_run = block.is_run and block.needs <= packages
        # Newlines put the example on its line of the page in tracebacks.
        if block.code.lstrip().startswith(">>>"):
            parser = doctest.DocTestParser()
            example = parser.get_doctest(block.code, namespace, name, name, block.line - 1)
            runner = doctest.DebugRunner(optionflags=doctest.ELLIPSIS)
            if is_run:
                runner.run(example, clear_globs=False)
                namespace = example.globs
            continue
        code = compile("\n" * (block.line - 1) + block.code, name, "exec")
        if is_run and "torchrun" in block.options:
            run_ranks(block.code, f"line_{block.line}.py")
        elif is_run:
            exec(code, namespace)
    return sum(block.needs <= packages for block in blocks)


def run_ranks(code: str, name: str) -> None:
    """Run a program as torchrun does, in as many processes as ranks."""
    # Threads of torch 2.13 abort now and then as the interpreter ends behind a
    # DistributedDataParallel, whatever loads its data: a rank that came to its end just ends.
    Path(name).write_text(f"{code}\nimport os\n\nos._exit(0)\n", encoding="utf-8")
    launcher = ["torch.distributed.run", "--standalone", f"--nproc-per-node={NUM_RANKS}", name]
    subprocess.run([sys.executable, "-m", *launcher], check=True)


def run_page(path: str, packages: str) -> None:
    """Run a page in the working folder with packages, divided by commas."""
    needs = frozenset(packages.split(","))
    num_run = run_blocks(Path(path).read_text(encoding="utf-8"), path, needs)
    print(f"{num_run} blocks of {path}")


def pages_with_needs() -> list[tuple[Path, str]]:
    """Return each page with each set of packages that some of its blocks need."""
    return [
        (path, packages)
        for path in FILES
        for packages in sorted(
            {
                ",".join(sorted(block.needs))
                for block in python_blocks(path.read_text(encoding="utf-8"))
                if block.needs and block.is_run
            }
        )
    ]


PAGES_WITH_NEEDS = pages_with_needs()


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(REPOSITORY)) for path in FILES])
def test_the_examples_of_the_page_run(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_blocks(path.read_text(encoding="utf-8"), str(path))


@pytest.mark.parametrize(
    ("path", "packages"),
    PAGES_WITH_NEEDS,
    ids=[f"{path.relative_to(REPOSITORY)}-{packages}" for path, packages in PAGES_WITH_NEEDS],
)
def test_the_examples_of_the_page_run_with_packages(path, packages, tmp_path):
    for package in packages.split(","):
        require(package)
    # In a process of its own: frameworks leave threads and warn of each other.
    process = subprocess.run(
        [sys.executable, "-c", CHILD, str(path), packages],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    assert f"blocks of {path}" in process.stdout


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(REPOSITORY)) for path in FILES])
def test_the_links_of_the_page_lead_somewhere(path):
    text = FENCE.sub("", path.read_text(encoding="utf-8"))
    missing = [m["target"] for m in LINK.finditer(text) if not (path.parent / m["target"]).exists()]
    assert missing == []


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(REPOSITORY)) for path in FILES])
def test_the_files_of_code_that_the_page_names_are_there(path):
    named = set(CODE_FILE.findall(path.read_text(encoding="utf-8")))
    assert [name for name in sorted(named) if not (REPOSITORY / name).exists()] == []


@pytest.mark.parametrize("path", GUIDES, ids=[path.stem for path in GUIDES])
def test_a_guide_is_short_and_has_an_example_that_runs(path):
    text = path.read_text(encoding="utf-8")
    assert any(block.is_run for block in python_blocks(text))
    assert len(text.splitlines()) <= 100


def test_the_list_of_guides_names_each_of_them():
    page = REPOSITORY / "docs" / "how-to" / "index.md"
    named = set(re.findall(r"\]\(([\w-]+\.md)\)", page.read_text(encoding="utf-8")))
    assert named == {path.name for path in GUIDES}


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(REPOSITORY)) for path in FILES])
def test_keras_has_its_backend_named_before_it_is_imported(path):
    # Who installed jax alone has no tensorflow, which Keras takes where nothing is named.
    code = "".join(block.code for block in python_blocks(path.read_text(encoding="utf-8")))
    before, found, _ = code.partition("import keras")
    assert not found or 'os.environ.setdefault("KERAS_BACKEND"' in before


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(REPOSITORY)) for path in FILES])
def test_pages_install_from_a_clone_and_in_any_shell(path):
    # On PyPI the name is another project's, and zsh takes bare brackets for a pattern.
    lines = re.findall(r"^    pip install .*$", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert all(re.match(r"    pip install '\.\[[\w,]+\]'", line) for line in lines)


def test_the_table_of_extras_names_what_the_package_has():
    page = (REPOSITORY / "docs" / "getting-started.md").read_text(encoding="utf-8")
    table = page.partition("| extra |")[2].partition("\n\n")[0]
    named = {
        name for row in table.splitlines() for name in re.findall(r"`(\w+)`", row.split("|")[1])
    }
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for_developers = {"bench", "docs", "check", "test", "all"}
    assert named == set(project["optional-dependencies"]) - for_developers


def test_the_readme_has_an_example():
    assert any(block.is_run for block in python_blocks(FILES[0].read_text(encoding="utf-8")))


def test_the_readme_names_only_make_targets_that_exist():
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    named = set(re.findall(r"`make ([a-z-]+)`", FILES[0].read_text(encoding="utf-8")))
    assert {"demo", "test"} <= named <= targets


def test_blocks_share_a_namespace_and_keep_their_order():
    page = "```python\nx = 1\n```\ntext\n```python\nassert x == 1\n```\n```sh\nls\n```\n"
    assert run_blocks(page, "page") == 2


def test_a_failing_example_fails():
    with pytest.raises(ZeroDivisionError):
        run_blocks("```python\n1 / 0\n```\n", "page")


def test_a_wrong_output_in_a_prompt_example_fails():
    with pytest.raises(doctest.DocTestFailure):
        run_blocks("```python\n>>> 1 + 1\n3\n```\n", "page")


def test_a_block_marked_no_run_is_compiled_but_not_run():
    assert run_blocks("```python no-run\n1 / 0\n```\n", "page") == 1
    with pytest.raises(SyntaxError):
        run_blocks("```python no-run\n1 /\n```\n", "page")


def test_blocks_run_only_with_the_packages_that_they_need():
    page = (
        "```python\nx = []\n```\n```python needs-torch\nx.append(1)\n```\n"
        "```python needs-torch,lightning\n1 / 0\n```\n```python\nprint(x)\n```\n"
    )
    assert run_blocks(page, "page") == 2
    assert run_blocks(page, "page", frozenset({"torch"})) == 3
    with pytest.raises(ZeroDivisionError):
        run_blocks(page, "page", frozenset({"torch", "lightning"}))


@pytest.mark.parametrize("info", ["python norun", "python needs-torch needs-jax", "python torch"])
def test_a_fence_with_an_unknown_option_fails(info):
    with pytest.raises(ValueError, match="allowed are 'no-run', 'torchrun' and one 'needs-"):
        run_blocks(f"```{info}\n```\n", "page")


def test_each_framework_of_the_page_about_frameworks_is_run():
    page = REPOSITORY / "docs" / "frameworks.md"
    found = {packages for path, packages in PAGES_WITH_NEEDS if path == page}
    assert found == {
        "jax",
        "torch",
        "torch,torchdata",
        "lightning,torch",
        "accelerate,torch",
        "torch,transformers",
        "tensorflow",
        "sklearn",
    }
