"""Which files do the tests of views look at?"""

from __future__ import annotations

import zipfile
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import numpy as np

import chunkstore as cs

if TYPE_CHECKING:
    from pathlib import Path

ODD_NAMES = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(1)'>",
    "two\nlines\ttab",
    "\u202eright to left\u202c",
    "\u05e9\u05dc\u05d5\u05dd",
    "\udcff half a pair",
    "a" * 500,
    "&amp; $x^2$ \\ %s {0}",
    "",
]

# Elements without an end.
VOID = {"meta", "link", "img", "br", "hr", "input"}


def photos(count: int, *, side: int = 32, seed: int = 0) -> np.ndarray:
    """Return smooth pictures in colour, each another one."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    waves = rng.uniform(1, 6, (count, 2, 3))
    phases = rng.uniform(0, 6, (count, 3))
    pictures = [
        np.sin(x[..., None] * waves[i, 0] * 2 + y[..., None] * waves[i, 1] * 2 + phases[i])
        for i in range(count)
    ]
    return ((np.stack(pictures) + 1) * 127).astype(np.uint8)


def write(path: Path, *, attributes: Any = None, unaligned: Any = None, **arrays: Any) -> Path:
    """Write arrays into a file, in small chunks."""
    with cs.create(path, attributes=attributes or {}, chunk_nbytes=1 << 14) as writer:
        if arrays:
            writer.append(**arrays)
        for name, value in (unaligned or {}).items():
            writer.put(name, value, aligned=False)
    return path


def images_with_labels(path: Path, *, count: int = 400, is_sorted: bool = True) -> Path:
    """Write pictures of three classes, sorted by class as folders of images are."""
    labels = np.arange(count) * 3 // count if is_sorted else np.arange(count) % 3
    return write(
        path,
        x=photos(count),
        y=labels.astype(np.int64),
        attributes={"class_names": ["cat", "dog", "emu"], "import": {"source": "photos/"}},
    )


def damage(path: Path, entry_name: str) -> Path:
    """Flip one bit in the middle of an entry."""
    with zipfile.ZipFile(path) as archive:
        entry = archive.getinfo(entry_name)
    content = bytearray(path.read_bytes())
    content[entry.header_offset + 30 + len(entry.filename) + entry.compress_size // 2] ^= 1
    path.write_bytes(content)
    return path


class Outline(HTMLParser):
    """What a page is made of; raises ValueError where its elements do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        if self._open:
            raise ValueError(f"not closed: {self._open}")

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        if len(names) != len(set(names)):
            raise ValueError(f"<{tag}> has an attribute twice: {names}")
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag):
        if not self._open or self._open.pop() != tag:
            raise ValueError(f"</{tag}> ends nothing")

    def handle_data(self, data):
        if self._open and self._open[-1] not in ("style", "script"):
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]
