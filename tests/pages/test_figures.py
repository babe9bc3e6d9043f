"""The pictures: as the code is, legible in both colours, and without anything of elsewhere."""

import os
import re
from collections.abc import Iterator
from html import unescape
from urllib.parse import quote
from xml.etree import ElementTree

import pytest

from negotiate_mw import Limits
from negotiate_mw.handshake import TRANSITIONS
from tests.parity.chromium import Browser, chromium, window
from tests.test_layers import ORDER, PACKAGE, imports

from .figures import FIGURES, LAYERS, PLACES
from .write import DOCS, UPDATE, figure

SVG = "{http://www.w3.org/2000/svg}"
ALL = pytest.mark.parametrize("name", FIGURES)

# for each text: what it says, what it runs into, and its contrast with what is behind it (WCAG 2.2, 1.4.3)
SEEN = """(() => {
  const svg = document.querySelector('svg'), whole = svg.getBoundingClientRect()
  const rgb = text => text.match(/[\\d.]+/g).map(Number)
  const light = text => {
    const [r, g, b] = rgb(text).map(c => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
  }
  const texts = [...svg.querySelectorAll('text')].map(e => ({e, says: e.textContent, at: e.getBoundingClientRect()}))
  const rects = [...svg.querySelectorAll('rect')].map(e => ({e, at: e.getBoundingClientRect()}))
  const points = [...svg.querySelectorAll('path.line, path.good, path.bad')].flatMap(path => {
    const many = Math.ceil(path.getTotalLength() / 2)
    const over = rects.filter(rect => path.compareDocumentPosition(rect.e) & Node.DOCUMENT_POSITION_FOLLOWING)
    const hidden = p => over.some(r => p.x > r.at.left && p.x < r.at.right && p.y > r.at.top && p.y < r.at.bottom)
    return [...Array(many).keys()].map(n => path.getPointAtLength(n * 2)).filter(p => !hidden(p))
  })
  const cross = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom
  const holds = (a, b) => a.left <= b.left && b.right <= a.right && a.top <= b.top && b.bottom <= a.bottom
  return texts.map(({e, says, at}) => {
    const into = texts.filter(other => other.e !== e && cross(at, other.at)).map(other => other.says)
    if (!holds(whole, at)) into.push('the edge of the picture')
    const under = p => p.x > at.left && p.x < at.right && p.y > at.top + 2 && p.y < at.bottom - 2
    if (points.some(under)) into.push('a line')
    for (const rect of rects) if (cross(at, rect.at) && !holds(rect.at, at)) into.push('the edge of a box')
    const behind = rects.filter(rect => holds(rect.at, at)).pop()
    const [a, b] = [light(getComputedStyle(e).fill), light(getComputedStyle(behind.e).fill)].sort((x, y) => y - x)
    return {says, into, contrast: (a + 0.05) / (b + 0.05)}
  })
})()"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium(dict(os.environ)) as url, window(url) as browser:
        yield browser


@ALL
def test_the_picture_is_as_the_code_is(name: str) -> None:
    assert figure(name).read_text() == FIGURES[name](), f"stale: {UPDATE}"


@ALL
def test_the_picture_needs_nothing_else_and_says_itself_in_words(name: str) -> None:
    text = figure(name).read_text()
    root = ElementTree.fromstring(text)

    assert not re.search(r"<script|<image|<foreignObject|@import|@font-face|\bhref|url\((?!#)|\bon\w+=", text)
    assert re.findall(r"https?://[^\"]+", text) == ["http://www.w3.org/2000/svg"]
    assert (root.findtext(f"{SVG}title") or "") and (root.findtext(f"{SVG}desc") or "")  # noqa: PT018
    assert "prefers-color-scheme: dark" in text


@ALL
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_picture_is_legible(name: str, dark: bool, browser: Browser) -> None:
    drawing = figure(name).read_text()
    browser.look(dark=dark, width=1100, height=700)
    browser.visit(f"data:text/html;charset=utf-8,<body style='margin:0'>{quote(drawing)}")

    seen = browser.run(SEEN)

    assert len(seen) == drawing.count("<text ")
    assert [(text["says"], text["into"]) for text in seen if text["into"]] == []
    assert min(text["contrast"] for text in seen) >= 4.5


@ALL
def test_a_page_shows_the_picture_with_its_words(name: str) -> None:
    pages = "".join(path.read_text() for path in DOCS.glob("*.md"))

    assert re.search(rf"!\[[^\]]{{20,}}\]\(images/{name}\.svg\)", pages)


def test_the_handshakes_picture_has_every_state_and_every_transition_of_the_table() -> None:
    drawing = FIGURES["handshake"]()
    drawn = [unescape(text) for text in re.findall(r"<text [^>]*>([^<]*)</text>", drawing)]

    events = sorted(event for row in TRANSITIONS.values() for event in row)
    assert sorted(word for word in drawn if word in events) == events
    assert set(PLACES) == set(TRANSITIONS) <= set(drawn)


def test_a_transition_that_nobody_gave_a_place_stops_the_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    row = next(row for row in TRANSITIONS.values() if not row)
    state = next(state for state in TRANSITIONS if TRANSITIONS[state] is row)
    monkeypatch.setitem(row, next(event for full in TRANSITIONS.values() for event in full), state)

    with pytest.raises(KeyError):
        FIGURES["handshake"]()


def test_the_bounds_on_half_open_handshakes_are_the_codes() -> None:
    page = " ".join((DOCS / "how-it-works.md").read_text().split())

    assert f"at most {Limits().half_open:,} of them, each for {Limits().handshake_seconds} seconds" in page


@pytest.mark.parametrize("module", [module for _, modules in LAYERS for module in modules])
def test_a_module_of_the_layers_imports_none_of_a_row_above_it(module: str) -> None:
    rows = [modules for _, modules in LAYERS]
    (place,) = (number for number, modules in enumerate(rows) if module in modules)
    above = {other for modules in rows[:place] for other in modules}
    files = [PACKAGE / f"{module}.py"] if (PACKAGE / f"{module}.py").exists() else [*(PACKAGE / module).rglob("*.py")]

    found = {name.split(".")[1] for file in files for name in imports(file) if name.startswith("negotiate_mw.")}

    assert module in ORDER
    assert files
    assert not found & above
