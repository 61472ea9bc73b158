"""Is the documentation's site whole: every link, every public name, every command?

It is built strictly, into a folder of the test, and then read as a browser reads it from a disk.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import chunkstore as cs
from tests.support import REPOSITORY, require

# Elements whose attribute makes a browser fetch something.
FETCHING = {
    "link": "href",
    "script": "src",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "object": "data",
}
CLASSES = ("Store", "Array", "Writer", "Loader")


class PageParser(HTMLParser):
    """The anchors, links and fetched files of a page, and its text by element."""

    def __init__(self):
        super().__init__()
        self.anchors = set()
        self.links = []
        self.fetched = []
        self.paragraphs = []
        self.headings = []
        self._open = None

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.anchors |= {values[name] for name in ("id", "name") if values.get(name)}
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])
        if values.get(FETCHING.get(tag)):
            self.fetched.append(values[FETCHING[tag]])
        if tag in ("p", "h3"):
            self._open = self.paragraphs if tag == "p" else self.headings
            self._open.append("")

    def handle_endtag(self, tag):
        if tag in ("p", "h3"):
            self._open = None

    def handle_data(self, text):
        if self._open is not None:
            self._open[-1] += text


def parsed(path):
    parser = PageParser()
    parser.feed(path.read_text(encoding="utf-8"))
    return parser


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Build the site as `make docs` does; return its folder."""
    for package in ("mkdocs", "material", "mkdocstrings_handlers.python"):
        require(package)
    folder = tmp_path_factory.mktemp("site")
    process = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=REPOSITORY,
        # The theme speaks of a later mkdocs, which is not the one that is required.
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stdout
    assert "WARNING" not in process.stdout, process.stdout
    return folder


@pytest.fixture(scope="module")
def pages(site):
    found = {path: parsed(path) for path in sorted(site.rglob("*.html"))}
    # The page for what is missing belongs to a server: its links begin at the root.
    found.pop(site / "404.html", None)
    return found


def missing_targets(pages):
    """Return every link of a page that leads to no page or anchor."""
    missing = []
    for path, page in pages.items():
        for link in (*page.links, *page.fetched):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = path if not parts.path else (path.parent / unquote(parts.path)).resolve()
            if target.is_dir():
                target /= "index.html"
            if not target.is_file():
                missing.append(f"{path.name}: {link}")
            elif parts.fragment and target.suffix == ".html":
                known = pages[target].anchors
                # The theme's own way back up.
                if unquote(parts.fragment) not in known | {"__top"}:
                    missing.append(f"{path.name}: {link}")
    return missing


def test_every_internal_link_and_anchor_leads_somewhere(pages):
    assert len(pages) > 40
    assert missing_targets(pages) == []


def test_a_link_to_nothing_is_found(tmp_path):
    (tmp_path / "a.html").write_text(
        '<p id="there"><a href="#there">1</a><a href="#gone">2</a></p>'
    )
    (tmp_path / "b.html").write_text('<a href="a.html#there">1</a><a href="c.html">2</a>')
    pages = {path: parsed(path) for path in sorted(tmp_path.glob("*.html"))}
    assert missing_targets(pages) == ["a.html: #gone", "b.html: c.html"]


def test_no_page_fetches_anything_from_the_network(site, pages):
    fetched = {link for page in pages.values() for link in page.fetched}
    assert [link for link in fetched if urlsplit(link).scheme or urlsplit(link).netloc] == []
    for path in site.rglob("*.css"):
        text = path.read_text(encoding="utf-8")
        outside = re.findall(r"(?:url\(|@import)\s*['\"]?(?:https?:)?//[^)'\"]*", text)
        assert outside == [], path.name


def test_every_public_name_is_in_the_api_reference(site, pages):
    anchors = {
        anchor
        for path, page in pages.items()
        if path.parent == site / "api"
        for anchor in page.anchors
    }
    names = {f"chunkstore.{name}" for name in cs.__all__}
    for name in CLASSES:
        members = {member for member in vars(getattr(cs, name)) if not member.startswith("_")}
        names |= {f"chunkstore.{name}.{member}" for member in members}
    names |= {f"chunkstore.transforms.{name}" for name in cs.transforms.__all__}
    assert sorted(names - anchors) == []


def test_every_command_and_option_is_in_its_reference(site, pages):
    require("click")
    import click

    from docs.tools.command_reference import COMMON, commands

    page = site / "command-line.html"
    headings = {heading.rstrip("¶") for heading in pages[page].headings}
    text = page.read_text(encoding="utf-8")
    for names, command in commands():
        assert " ".join(names) in headings
        for parameter in command.params:
            if isinstance(parameter, click.Option) and parameter.name not in COMMON:
                assert all(option in text for option in parameter.opts), (names, parameter.opts)


def test_no_list_or_table_was_taken_for_a_paragraph(pages):
    torn = [
        f"{path.name}: {text[:60]}"
        for path, page in pages.items()
        for text in page.paragraphs
        if re.search(r"^(?:- |\* |\d+\. |\| |```)", text, re.MULTILINE)
    ]
    assert torn == []


@pytest.mark.parametrize(
    ("page", "written", "expected"),
    [
        ("guarantees.md", "](../README.md#how-fast)", "](project/readme.md#how-fast)"),
        ("how-to/resume.md", "](../frameworks.md)", "](../frameworks.md)"),
        ("how-to/features.md", "](../../notebooks/02_features_to_disk.ipynb)",
         "](../notebooks/02_features_to_disk.md)"),
        ("project/readme.md", "](docs/order.md#lanes-and-ranks)", "](../order.md#lanes-and-ranks)"),
        ("order.md", "](https://zarr.dev/x)", "](https://zarr.dev/x)"),
        ("order.md", "](#what-a-window-does)", "](#what-a-window-does)"),
    ],
)  # fmt: skip
def test_a_link_of_the_repository_leads_to_the_page_of_the_site(page, written, expected):
    require("mkdocs")
    from docs.tools.hooks import _with_site_links

    assert _with_site_links(f"[words{written} behind", page) == f"[words{expected} behind"


def test_a_link_to_a_file_that_is_no_page_ends_the_build():
    exceptions = require("mkdocs.exceptions")
    from docs.tools.hooks import _with_site_links

    with pytest.raises(exceptions.PluginError, match="'Makefile', which is no page of the site"):
        _with_site_links("[how](../Makefile)", "order.md")


def test_pages_outside_the_folder_of_the_documentation_are_in_the_site(site):
    assert (site / "project" / "readme.html").is_file()
    notebooks = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
    assert [path.stem for path in notebooks] == sorted(
        path.stem for path in (site / "notebooks").glob("*.html")
    )


def test_what_makes_the_site_is_not_in_it(site):
    assert not (site / "tools").exists()
    assert list(site.rglob("*.py")) == []


def test_make_clean_and_git_know_the_folder_of_the_site():
    assert "/site/" in (REPOSITORY / ".gitignore").read_text(encoding="utf-8").split()
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    (clean,) = re.findall(r"^clean:\n\trm -rf (.*)$", makefile, re.MULTILINE)
    assert "site" in clean.split()
    assert Path(REPOSITORY / "mkdocs.yml").is_file()
