"""Just enough SVG for the pages' pictures: boxes, arrows and words, in the reader's light or dark colours.

Law: a picture stands alone. No script, no font, no link of elsewhere, and a background of its own, so that it is
legible wherever it is shown; its title and description say the same in words.
"""

from collections.abc import Iterable, Sequence
from html import escape

LINE = 18  # from one line of text to the next
STYLE = """\
svg { color-scheme: light dark; font: 15px system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif }
.paper { fill: #ffffff } .ink { fill: #1f2328 } .faint { fill: #59636e } .box { fill: #f3f5f8; stroke: #818b98 }
.line { stroke: #59636e } .tip { fill: #59636e } .good { stroke: #1a7f37 } .goods { fill: #1a7f37 }
.bad { stroke: #cf222e } .bads { fill: #cf222e } .band { fill: #ddeeff; stroke: none }
.line, .good, .bad { fill: none; stroke-width: 1.5 } .dashed { stroke-dasharray: 5 4 }
.strong { font-weight: 600 } .small { font-size: 13px }
@media (prefers-color-scheme: dark) {
.paper { fill: #0d1117 } .ink { fill: #e6edf3 } .faint { fill: #9aa4af } .box { fill: #1b222c; stroke: #6e7681 }
.line { stroke: #9aa4af } .tip { fill: #9aa4af } .good { stroke: #3fb950 } .goods { fill: #3fb950 }
.bad { stroke: #f85149 } .bads { fill: #ff7b72 } .band { fill: #12263f }
}
"""
TIPS = {"line": "tip", "good": "goods", "bad": "bads"}


def picture(width: int, height: int, title: str, description: str, parts: Iterable[str]) -> str:
    """A whole file."""
    markers = "".join(
        f'<marker id="{kind}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" '
        f'orient="auto-start-reverse"><path class="{tip}" d="M0 0 10 5 0 10z"/></marker>\n'
        for kind, tip in TIPS.items()
    )
    body = "\n".join(parts)
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">
<title>{escape(title)}</title>
<desc>{escape(description)}</desc>
<style>
{STYLE}</style>
<defs>
{markers}</defs>
<rect class="paper" width="{width}" height="{height}" rx="8"/>
{body}
</svg>
"""


def words(x: float, y: float, lines: str | Sequence[str], style: str = "ink", anchor: str = "middle") -> str:
    """Lines of text; ``y`` is the first one's baseline."""
    lines = [lines] if isinstance(lines, str) else lines
    return "\n".join(
        f'<text class="{style}" x="{x:g}" y="{y + number * LINE:g}" text-anchor="{anchor}">{escape(line)}</text>'
        for number, line in enumerate(lines)
    )


def box(x: float, y: float, width: float, height: float, style: str = "box") -> str:
    """A rectangle around a middle."""
    return (
        f'<rect class="{style}" x="{x - width / 2:g}" y="{y - height / 2:g}" width="{width:g}" height="{height:g}" '
        f'rx="8"/>'
    )


def arrow(path: str, kind: str = "line", style: str = "") -> str:
    """A line with a tip at its end."""
    return f'<path class="{kind}{style and " " + style}" d="{path}" marker-end="url(#{kind})"/>'
