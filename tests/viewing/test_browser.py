"""Does a real browser show the pages, without network, by keyboard, on a phone and at night?"""

from __future__ import annotations

import io
from itertools import pairwise

import numpy as np
import pytest

import chunkstore as cs
from tests.support import require
from tests.viewing.browser import BROWSERS, open_browser, require_program
from tests.viewing.files import ODD_NAMES, damage, images_with_labels, photos, write

PHONE = 360
TAB, ENTER = "\ue004", "\ue007"

VISIBLE_IMAGES = """
return [...document.images].map(image => {
  const box = image.getBoundingClientRect();
  return image.complete && image.naturalWidth > 0 && box.width >= 20 && box.height >= 20;
})"""

FOCUSED = """
const element = document.activeElement, style = getComputedStyle(element);
const box = element.getBoundingClientRect();
return {
  tag: element.tagName, text: element.textContent.trim().slice(0, 40), id: element.id,
  order: [...document.querySelectorAll('*')].indexOf(element),
  outline: style.outlineStyle === 'none' ? 0 : parseFloat(style.outlineWidth),
  isSeen: box.width > 0 && box.right > 0 && box.bottom > 0 && box.top < innerHeight
          && box.left < innerWidth,
}"""

FOCUSABLE = """
return [...document.querySelectorAll('a[href], summary, [tabindex="0"]')]
  .filter(element => element.checkVisibility()).length"""

OPEN_DETAILS = "document.querySelectorAll('details').forEach(d => d.open = true)"

# Every text with its size, its colour, and the colour behind it.
TEXTS = """
const found = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
const isOpaque = colour => !colour.endsWith(', 0)') && colour !== 'transparent';
while (walker.nextNode()) {
  const parent = walker.currentNode.parentElement;
  if (!walker.currentNode.textContent.trim() || !parent.checkVisibility()) continue;
  const style = getComputedStyle(parent);
  let behind = parent;
  while (behind && !isOpaque(getComputedStyle(behind).backgroundColor))
    behind = behind.parentElement;
  found.push({
    text: walker.currentNode.textContent.trim().slice(0, 30), size: parseFloat(style.fontSize),
    ink: style.color, paper: behind ? getComputedStyle(behind).backgroundColor : 'none',
  });
}
return found"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with open_browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


def features_with_labels(path):
    rng = np.random.default_rng(0)
    labels = np.arange(900) % 12
    return write(
        path,
        features=(rng.normal(size=(900, 64)) + np.eye(64)[labels] * 8).astype("f4"),
        y=labels,
        weight=rng.uniform(size=900),
    )


def odd_file(path):
    attributes = {"class_names": ODD_NAMES, **{odd: odd for odd in ODD_NAMES}}
    count = 3 * len(ODD_NAMES)
    return write(
        path,
        x=photos(count, side=16),
        y=np.arange(count) % len(ODD_NAMES),
        **{"a/very/deeply/nested/group/with/a/long/name/" + "n" * 120: np.ones((count, 3))},
        attributes=attributes,
    )


def damaged_file(path):
    return damage(images_with_labels(path), "x/c/1/0/0/0")


def strange_values(path):
    values = np.random.default_rng(0).normal(size=(60, 24, 24)).astype("f4")
    values[::3, 4:9, 4:9] = np.nan
    return write(path, x=values, when=np.array(["2020-01-01", "NaT"] * 30, "M8[s]"))


PAGES = {
    "images": images_with_labels,
    "features": features_with_labels,
    "odd": odd_file,
    "damaged": damaged_file,
    "strange": strange_values,
}


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    for name, build in PAGES.items():
        cs.view(build(folder / f"{name}.zarr.zip"))
    return {name: folder / f"{name}.html" for name in PAGES}


each_page = pytest.mark.parametrize("name", PAGES)


@each_page
def test_the_page_is_shown_without_errors_and_without_network(browser, pages, name):
    browser.open(pages[name])
    assert browser.run("return document.readyState") == "complete"
    assert browser.driver.title == f"{name}.zarr.zip"
    assert browser.run("return document.querySelector('h1').textContent") == f"{name}.zarr.zip"
    assert browser.run("return document.scripts.length") == 0
    assert browser.messages() == []
    requests = browser.requests()
    assert pages[name].as_uri() in requests
    others = [url for url in requests if not url.startswith("data:")]
    assert set(others) == {pages[name].as_uri()}


def test_the_browser_would_tell_of_errors_and_of_network(browser, tmp_path):
    page = tmp_path / "bad.html"
    page.write_text(
        "<!doctype html><meta http-equiv=content-security-policy content=\"img-src 'none'\">"
        '<img src="http://127.0.0.1:9/a.png"><script>nothing()</script>'
        '<script src="missing.js"></script>'
    )
    browser.open(page)
    messages = " ".join(browser.messages())
    assert "nothing is not defined" in messages
    assert "Content Security Policy" in messages
    assert any(url.endswith("missing.js") for url in browser.requests())


@each_page
@pytest.mark.parametrize("width", [PHONE, 1280])
def test_every_picture_is_visible(browser, pages, name, width):
    browser.open(pages[name], width=width)
    images = browser.run(VISIBLE_IMAGES)
    assert all(images)
    assert len(images) == {"images": 64, "features": 0, "odd": 27, "strange": 60}.get(
        name, len(images)
    )
    for box in browser.run(
        "return [...document.querySelectorAll('svg:not([aria-hidden])')]"
        ".map(s => s.getBoundingClientRect()).map(b => [b.width, b.height])"
    ):
        assert min(box) >= 30


@each_page
def test_the_keyboard_reaches_everything_in_order_and_the_focus_is_seen(browser, pages, name):
    browser.open(pages[name])
    browser.run(OPEN_DETAILS)
    places = []
    for _ in range(browser.run(FOCUSABLE)):
        browser.press(TAB)
        focus = browser.run(FOCUSED)
        assert focus["outline"] >= 2, focus
        assert focus["isSeen"], focus
        places.append(focus["order"])
    assert places == sorted(set(places))
    # Nothing keeps the focus.
    browser.press(TAB)
    assert browser.run(FOCUSED)["order"] not in places[1:]


def test_the_first_stop_leads_past_the_navigation(browser, pages):
    browser.open(pages["images"])
    browser.press(TAB)
    assert browser.run(FOCUSED)["text"] == "Skip to the content"
    browser.press(ENTER)
    assert browser.run(FOCUSED)["id"] == "main"
    browser.press(TAB)
    assert browser.run("return document.querySelector('main').contains(document.activeElement)")


def test_details_open_by_the_keyboard(browser, pages):
    browser.open(pages["images"])
    assert browser.run("return document.querySelectorAll('details[open]').length") == 0
    browser.run("document.querySelector('summary').focus()")
    browser.press(ENTER)
    assert browser.run("return document.querySelectorAll('details[open]').length") == 1


@each_page
def test_a_screen_reader_finds_landmarks_headings_and_names(browser, pages, name):
    browser.open(pages[name])
    nodes = browser.accessible()
    roles = [node["role"] for node in nodes]
    for landmark in ("banner", "navigation", "main", "contentinfo"):
        assert roles.count(landmark) == 1, landmark
    assert browser.run("return document.documentElement.lang") == "en"
    named = {"image", "img", "link", "heading", "region", "navigation", "table", "columnheader"}
    for node in nodes:
        if node["role"] in named:
            assert node["name"].strip(), node
    levels = [node["level"] for node in nodes if node["role"] == "heading"]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(below - above <= 1 for above, below in pairwise(levels))
    links = [node["name"] for node in nodes if node["role"] == "link"]
    assert len(links) == len(set(links))


@each_page
def test_a_phone_shows_the_page_without_scrolling_sideways(browser, pages, name):
    browser.open(pages[name], width=PHONE, height=740)
    browser.run(OPEN_DETAILS)
    assert browser.run("return innerWidth") == PHONE
    assert browser.run("return document.documentElement.scrollWidth") <= PHONE
    sizes = [text["size"] for text in browser.run(TEXTS)]
    assert min(sizes) >= 12


@each_page
@pytest.mark.parametrize("dark", [False, True], ids=["day", "night"])
def test_all_text_can_be_read_by_day_and_by_night(browser, pages, name, dark):
    browser.open(pages[name], dark=dark)
    browser.run(OPEN_DETAILS)
    texts = browser.run(TEXTS)
    assert len(texts) > 20
    for text in texts:
        assert contrast(rgb(text["ink"]), rgb(text["paper"])) >= 4.5, text
    paper = rgb(browser.run("return getComputedStyle(document.body).backgroundColor"))
    assert (sum(paper) < 150) == dark


@each_page
def test_the_picture_of_the_page_is_not_blank(browser, pages, name):
    image = require("PIL.Image")
    pixels = {}
    for dark in (False, True):
        browser.open(pages[name], dark=dark)
        with image.open(io.BytesIO(browser.screenshot())) as picture:
            pixels[dark] = np.asarray(picture.convert("RGB")).astype(int)
    assert pixels[False].shape == pixels[True].shape
    assert pixels[False].shape[0] > 900
    paper = pixels[False][2, 2]
    # Cards, text and drawings: much of it is not the page's own colour, and many colours are there.
    assert (np.abs(pixels[False] - paper).sum(axis=2) > 60).mean() > 0.02
    assert len(np.unique(pixels[False] @ [65536, 256, 1])) > 100
    assert pixels[True].mean() < pixels[False].mean() / 2


def test_classes_have_the_colours_of_the_style(browser, pages):
    browser.open(pages["features"])
    colours = browser.run(
        "return [...document.querySelectorAll('g.dot')].map(g => getComputedStyle(g).fill)"
    )
    # Nine classes have a colour of their own, the three others share one.
    assert len(set(colours)) == 10


def test_a_preview_shows_its_pictures_inside_a_notebook(browser, tmp_path):
    with cs.open(images_with_labels(tmp_path / "a.zarr.zip")) as store:
        shown = [store.preview("x", n=12), store, store["x"]]
        parts = "".join(f"<div>{found._repr_html_()}</div>" for found in shown)
    page = tmp_path / "notebook.html"
    page.write_text(f"<!doctype html><meta charset=utf-8><title>n</title>{parts}", "utf-8")
    browser.open(page)
    images = browser.run(VISIBLE_IMAGES)
    assert len(images) == 12
    assert all(images)
    browser.driver.switch_to.frame(0)
    inside = browser.run(VISIBLE_IMAGES)
    browser.driver.switch_to.default_content()
    assert len(inside) == 12
    assert all(inside)
    assert browser.messages() == []
    assert {url for url in browser.requests() if url.startswith("http")} == set()


@pytest.mark.parametrize(
    ("required", "outcome"),
    [
        ("all", pytest.fail.Exception),
        ("torch selenium", pytest.fail.Exception),
        ("torch", pytest.skip.Exception),
    ],
)
def test_where_a_browser_must_be_there_its_absence_is_a_failure(monkeypatch, required, outcome):
    monkeypatch.setenv("CHUNKSTORE_REQUIRED", required)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(outcome, match=r"chromium.* installed here"):
        require_program(BROWSERS)


def rgb(text):
    """Return the numbers of a colour as a style gives it."""
    return [float(part) for part in text[text.index("(") + 1 : -1].split(",")[:3]]


def contrast(first, second):
    """Return how far two colours are apart, as WCAG 2 counts it."""

    def luminance(colour):
        parts = [part / 255 for part in colour]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    lighter, darker = sorted((luminance(first), luminance(second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)
