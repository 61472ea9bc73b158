"""Does every Python example in the README and in docs/ run?

The blocks of a file run in order, in one namespace and an empty folder. ``python no-run`` after the
backticks marks a block that is only compiled: it needs what a test has not.
"""

from __future__ import annotations

import doctest
import re
from dataclasses import dataclass

import pytest

from tests.support import REPOSITORY

FILES = [
    REPOSITORY / "README.md",
    REPOSITORY / "CHANGELOG.md",
    *sorted((REPOSITORY / "docs").rglob("*.md")),
]
FENCE = re.compile(r"^```(?P<info>[^`\n]*)\n(?P<code>.*?)^```[ ]*$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|#)(?P<target>[^)#\s]+)")


@dataclass(frozen=True)
class Block:
    """One Python example."""

    code: str
    line: int
    is_run: bool


def python_blocks(text: str) -> list[Block]:
    """Return the Python examples of a page, in order."""
    blocks = []
    for match in FENCE.finditer(text):
        language, *options = match["info"].split() or [""]
        if language != "python":
            continue
        unknown = set(options) - {"no-run"}
        if unknown:
            raise ValueError(f"python block with {sorted(unknown)}; allowed is 'no-run'")
        line = text.count("\n", 0, match.start("code")) + 1
        blocks.append(Block(match["code"], line, "no-run" not in options))
    return blocks


def run_blocks(text: str, name: str) -> int:
    """Run the examples of a page in one namespace; return how many there were."""
    namespace: dict[str, object] = {"__name__": "__main__"}
    blocks = python_blocks(text)
    for block in blocks:
        # Newlines put the example on its line of the page in tracebacks.
        if block.code.lstrip().startswith(">>>"):
            parser = doctest.DocTestParser()
            example = parser.get_doctest(block.code, namespace, name, name, block.line - 1)
            runner = doctest.DebugRunner(optionflags=doctest.ELLIPSIS)
            if block.is_run:
                runner.run(example, clear_globs=False)
                namespace = example.globs
            continue
        code = compile("\n" * (block.line - 1) + block.code, name, "exec")
        if block.is_run:
            exec(code, namespace)
    return len(blocks)


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(REPOSITORY)) for path in FILES])
def test_the_examples_of_the_page_run(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_blocks(path.read_text(encoding="utf-8"), str(path))


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(REPOSITORY)) for path in FILES])
def test_the_links_of_the_page_lead_somewhere(path):
    text = FENCE.sub("", path.read_text(encoding="utf-8"))
    missing = [m["target"] for m in LINK.finditer(text) if not (path.parent / m["target"]).exists()]
    assert missing == []


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
