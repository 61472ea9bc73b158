"""Do the pictures of the documentation show what the loader does, and can they be read?"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest

from docs.tools.order_pictures import FOLDER, PICTURES
from docs.tools.svg import CELLS, COLOURS, ON_CELL
from tests.support import REPOSITORY

SVG = "{http://www.w3.org/2000/svg}"
# What the guidelines for accessible pages ask of text, and of lines and marks.
TEXT_CONTRAST, MARK_CONTRAST = 4.5, 3.0


def luminance(colour):
    def linear(part):
        value = int(part, 16) / 255
        return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4

    red, green, blue = (linear(colour[i : i + 2]) for i in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one, other):
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("name", PICTURES)
def test_the_stored_picture_is_what_the_plan_gives_now(name):
    stored = (FOLDER / name).read_text(encoding="utf-8")
    assert stored == str(PICTURES[name]()), "run: python -m docs.tools.order_pictures"


def test_no_picture_is_stored_that_nothing_draws():
    assert {path.name for path in FOLDER.glob("order-*")} == set(PICTURES)


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_has_words_for_those_who_hear_it_and_fetches_nothing(name):
    text = (FOLDER / name).read_text(encoding="utf-8")
    root = ET.fromstring(text)
    assert root.get("role") == "img"
    assert root.findtext(f"{SVG}title")
    assert len(root.findtext(f"{SVG}desc")) > 80
    assert re.findall(r"https?://(?!www\.w3\.org/2000/svg)", text) == []


@pytest.mark.parametrize("name", PICTURES)
def test_everything_lies_inside_the_card(name):
    root = ET.fromstring((FOLDER / name).read_text(encoding="utf-8"))
    width, height = float(root.get("width")), float(root.get("height"))
    for shape in root.iter(f"{SVG}rect"):
        x, y, w, h = (float(shape.get(side)) for side in ("x", "y", "width", "height"))
        assert 0 <= x <= x + w <= width
        assert 0 <= y <= y + h <= height
    for words in root.iter(f"{SVG}text"):
        # Letters are at most some 0.62 of their height wide.
        length = 0.62 * float(words.get("font-size")) * len(words.text)
        x = float(words.get("x"))
        start = {"start": x, "middle": x - length / 2, "end": x - length}[words.get("text-anchor")]
        assert start >= 0, words.text
        assert start + length <= width, words.text
        assert 10 <= float(words.get("y")) <= height, words.text


@pytest.mark.parametrize("page", [0, 1], ids=["light", "dark"])
def test_words_and_marks_stand_out_on_light_and_dark_pages(page):
    card = COLOURS["card"][page]
    for kind in ("text", "faint"):
        assert contrast(COLOURS[kind][page], card) >= TEXT_CONTRAST, kind
    for kind in ("mark", "edge"):
        assert contrast(COLOURS[kind][page], card) >= MARK_CONTRAST, kind


@pytest.mark.parametrize("cell", CELLS)
def test_what_is_written_on_a_cell_stands_out(cell):
    assert contrast(cell, ON_CELL) >= TEXT_CONTRAST


def test_each_picture_stands_in_the_page_with_words_in_its_place():
    page = (REPOSITORY / "docs" / "order.md").read_text(encoding="utf-8")
    found = re.findall(r"!\[([^\]]+)\]\(pictures/([^)]+)\)", page)
    shown = {name: words for words, name in found}
    assert set(shown) == set(PICTURES)
    assert all(len(words) > 40 for words in shown.values())
