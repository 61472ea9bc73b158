"""What does the site have beside the pages of docs/?

README, changelog, licence and notebooks, as pages of their own; the reference of the command line;
and links that lead to the right place both here and in the repository, where they are written.
"""

from __future__ import annotations

import json
import posixpath
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

REPOSITORY: Final = Path(__file__).resolve().parent.parent.parent
# mkdocs loads this file by its path.
sys.path.insert(0, str(REPOSITORY))

from docs.tools.command_reference import MARK, reference  # noqa: E402 - behind the path

# Files outside docs/ that are pages: path in the repository to path in the site.
OUTSIDE: Final = {
    "README.md": "project/readme.md",
    "CHANGELOG.md": "project/changelog.md",
    "LICENSE": "project/licence.md",
} | {
    f"notebooks/{path.name}": f"notebooks/{path.stem}.md"
    for path in sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
}
_SOURCES: Final = {page: source for source, page in OUTSIDE.items()}

_FENCE = re.compile(
    r"^```(?P<language>\w*)[^\n]*\n(?P<code>.*?)^```[ ]*$", re.MULTILINE | re.DOTALL
)
_LINK = re.compile(r"\]\((?!https?:|#)(?P<target>[^)#\s]+)")
# A bar in code in a table: escaped for the repository's view, taken as it is for the site.
_CODE_WITH_BAR = re.compile(r"`[^`\n]*\\\|[^`\n]*`")
_API_ENTRY = re.compile(r"^::: (?P<name>chunkstore(?:\.\w+)+)", re.MULTILINE)
_API_NAME = re.compile(r'(?<!">)<code>(?P<name>chunkstore(?:\.\w+)+)</code>(?!</a>)')


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the pages to the navigation that are found, not named."""
    notes = sorted(path.name for path in (REPOSITORY / "docs" / "design").glob("*.md"))
    inside = next(part["Inside"] for part in config.nav if "Inside" in part)
    inside.append({"Decisions": [f"design/{name}" for name in notes]})
    notebooks = [page for source, page in OUTSIDE.items() if source.startswith("notebooks/")]
    config.nav.append({"Notebooks": notebooks})
    # Its heading is the project's name, which says little in a list.
    readme, *others = [page for page in OUTSIDE.values() if page.startswith("project/")]
    config.nav.append({"Project": [{"README": readme}, *others]})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of files outside docs/."""
    for source, page in OUTSIDE.items():
        text = (REPOSITORY / source).read_text(encoding="utf-8")
        if source.endswith(".ipynb"):
            text = notebook_page(json.loads(text))
        elif not source.endswith(".md"):
            text = f"# Licence\n\n```text\n{text}```\n"
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put the commands in their place, and make links and fences those of the site."""
    source = page.file.src_uri
    if MARK in markdown:
        markdown = markdown.replace(MARK, reference())
    parts, position = [], 0
    for fence in _FENCE.finditer(markdown):
        parts.append(_with_site_links(markdown[position : fence.start()], source))
        # What follows the language is for the tests.
        parts.append(f"```{fence['language']}\n{fence['code']}```")
        position = fence.end()
    return "".join([*parts, _with_site_links(markdown[position:], source)])


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Make public names in code links to their reference."""
    places = api_places()

    def linked(match: re.Match[str]) -> str:
        name = match["name"]
        if name not in places:
            return match[0]
        target = posixpath.relpath(places[name], posixpath.dirname(page.file.dest_uri) or ".")
        return f'<a href="{target}#{name}">{match[0]}</a>'

    return _API_NAME.sub(linked, html)


def api_places() -> dict[str, str]:
    """Return the page of each name that has an entry of its own in the reference."""
    return {
        name: f"api/{path.stem}.html"
        for path in sorted((REPOSITORY / "docs" / "api").glob("*.md"))
        for name in _API_ENTRY.findall(path.read_text(encoding="utf-8"))
    }


def notebook_page(notebook: dict[str, Any]) -> str:
    """Return the cells of a notebook as a page."""
    parts = []
    for cell in notebook["cells"]:
        text = "".join(cell["source"])
        parts.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
    return "\n\n".join(parts) + "\n"


def _with_site_links(text: str, page: str) -> str:
    """Return text whose links, written for the repository, lead to pages of the site."""
    source = _SOURCES.get(page, f"docs/{page}")

    def site_link(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), match["target"]))
        place = OUTSIDE.get(target)
        if place is None and target.startswith("docs/"):
            place = target.removeprefix("docs/")
        if place is None:
            raise PluginError(
                f"{source}: the link {match['target']!r} leads to {target!r}, which is no page of "
                f"the site; those outside docs/ are {', '.join(OUTSIDE)}"
            )
        return f"]({posixpath.relpath(place, posixpath.dirname(page) or '.')}"

    text = _CODE_WITH_BAR.sub(lambda match: match[0].replace("\\|", "|"), text)
    return _LINK.sub(site_link, text)
