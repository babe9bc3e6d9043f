"""Charts as SVG text, with nothing but string formatting: bars with their quartiles, and lines over growing sizes.

Law: a chart is a card with a ground of its own, light or dark as the reader's system asks, so that it can be read on
any page; whatever a colour says, a word or a dash says too.
"""

import math
from collections.abc import Sequence
from xml.sax.saxutils import escape

from benchmarks.report import Figure

WIDTH = 760
_RIGHT, _TOP = 90, 56
_LETTER = 7.9  # pixels of a bold letter, on average
_ROW = 34
_STYLE = """\
<style>
  .ground { fill: #ffffff; stroke: #d5d9de } .text { fill: #1d2329 } .faint { fill: #59626c } .grid { stroke: #e3e6ea }
  .whisker { stroke: #1d2329 } .c0 { --c: #0b62c4 } .c1 { --c: #8a929b } .c2 { --c: #b3560b } .c3 { --c: #1a7f4b }
  .c4 { --c: #8b3fb8 } .c5 { --c: #b02a4c }
  .c6 { --c: #00757f } .c7 { --c: #6b5a00 } .bar { fill: var(--c) } .line { stroke: var(--c) } .dot { fill: var(--c) }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #161b22; stroke: #30363d } .text { fill: #e6edf3 } .faint { fill: #9aa4af }
    .grid { stroke: #2a313a }
    .whisker { stroke: #e6edf3 } .c0 { --c: #58a6ff } .c1 { --c: #6e7681 } .c2 { --c: #f0883e } .c3 { --c: #3fb950 }
    .c4 { --c: #bc8cff } .c5 { --c: #ff7b93 } .c6 { --c: #39c5cf } .c7 { --c: #d2b48c }
  }
</style>"""
_COLOURS = (0, 2, 3, 4, 5, 6, 7, 1)
_DASHES = ("", "7 4", "2 3", "9 3 2 3", "1 5", "12 4", "6 2 2 2 2 2", "3 6")


def bars(title: str, rows: Sequence[tuple[str, Figure, bool]]) -> str:
    """A bar for each row (its name, its figure, is it ours?), with a whisker from quartile to quartile."""
    height = _TOP + _ROW * len(rows) + 26
    left = 34 + _LETTER * max((len(name) for name, _, _ in rows), default=0)
    scale = (WIDTH - left - _RIGHT) / (max((figure.high for _, figure, _ in rows), default=0) or 1)
    parts = []
    for index, (name, figure, is_ours) in enumerate(rows):
        top = _TOP + _ROW * index
        middle, end = top + 11, left + figure.median * scale
        low, high = left + figure.low * scale, left + figure.high * scale
        parts += [
            _text(left - 10, middle + 5, name, anchor="end", weight="bold" if is_ours else "normal"),
            f'<rect class="bar {"c0" if is_ours else "c1"}" x="{left:.1f}" y="{top}" height="22" rx="2" '
            f'width="{end - left:.1f}"/>',
            f'<path class="whisker" stroke-width="1.5" fill="none" d="M{low:.1f} {middle}H{high:.1f}'
            f'M{low:.1f} {middle - 4}v8M{high:.1f} {middle - 4}v8"/>',
            _text(max(end, high) + 8, middle + 5, _short(figure.median), weight="bold" if is_ours else "normal"),
        ]
    parts.append(_text(left, height - 10, "median of interleaved rounds; whiskers: quartiles", size=11, shade="faint"))
    return _card(title, height, parts)


def lines(title: str, unit: str, series: Sequence[tuple[str, Sequence[tuple[float, float]]]]) -> str:
    """A line for each series of (size, cost) points, both axes logarithmic: level is O(1), a slope of one is O(n)."""
    points = [point for _, each in series for point in each]
    xs, ys = [x for x, _ in points], [y for _, y in points]
    left, right, top, bottom = 70, WIDTH - 30, _TOP, _TOP + 300
    x_low, x_high = _decades(min(xs), max(xs))
    y_low, y_high = _decades(min(ys), max(ys))

    def at(x: float, y: float) -> tuple[float, float]:
        across = (math.log10(x) - x_low) / (x_high - x_low)
        up = (math.log10(y) - y_low) / (y_high - y_low)
        return left + across * (right - left), bottom - up * (bottom - top)

    parts = []
    for decade in range(x_low, x_high + 1):
        x = at(10**decade, 10**y_low)[0]
        parts += [
            f'<path class="grid" d="M{x:.1f} {top}V{bottom}"/>',
            _text(x, bottom + 18, _short(10**decade), anchor="middle", size=11),
        ]
    for decade in range(y_low, y_high + 1):
        y = at(10**x_low, 10**decade)[1]
        parts += [
            f'<path class="grid" d="M{left} {y:.1f}H{right}"/>',
            _text(left - 8, y + 4, _short(10**decade), anchor="end", size=11),
        ]
    for index, (name, each) in enumerate(series):
        places = [at(x, y) for x, y in each]
        colour, dash = f"c{_COLOURS[index % 8]}", _DASHES[index % 8]
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        drawn = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        parts.append(f'<path class="line {colour}" fill="none" stroke-width="2"{dashed} d="{drawn}"/>')
        parts += [f'<circle class="dot {colour}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in places]
        legend = bottom + 42 + 20 * index
        parts.append(f'<path class="line {colour}" stroke-width="2"{dashed} d="M{left} {legend - 4}h36"/>')
        parts.append(_text(left + 46, legend, name))
    parts.append(_text(left, top - 8, unit, size=11, shade="faint"))
    return _card(title, bottom + 42 + 20 * len(series), parts)


def _card(title: str, height: int, parts: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" font-family="sans-serif">'
    )
    ground = f'<rect class="ground" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="8"/>'
    name = f"<title>{escape(title)}</title>"
    return "\n".join([head, name, _STYLE, ground, _text(24, 30, title, size=16, weight="bold"), *parts, "</svg>", ""])


def _text(
    x: float,
    y: float,
    words: str,
    *,
    anchor: str = "start",
    size: int = 13,
    weight: str = "normal",
    shade: str = "text",
) -> str:
    where = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text class="{shade}" {where} font-size="{size}" font-weight="{weight}">{escape(words)}</text>'


def _decades(low: float, high: float) -> tuple[int, int]:
    """The powers of ten around what is shown, at least one apart."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    return first, max(last, first + 1)


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 10 else f"{number:g}"
