"""The pages that people read, and the fenced blocks in them.

Law: ``python`` and ``sh`` blocks are run by a test, every other fence is one of ``SHOWN``, which are not run. A name is
given in the line before a block: ``<!-- file: app.py -->``, or ``<!-- test: NAME -->`` where a test of its own runs it.
"""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted({*ROOT.glob("C*.md"), *ROOT.glob("SECURITY.md")}), *sorted(ROOT.glob("docs/*.md"))]
RUN = {"python", "sh"}
SHOWN = {
    "bat",
    "console",
    "diff",
    "dockerfile",
    "haproxy",
    "http",
    "ini",
    "json",
    "nginx",
    "powershell",
    "text",
    "toml",
}
SHOWN |= {"xml", "yaml"}

_BLOCK = re.compile(
    r"^(?:[ ]*<!-- (?:test|file): (?P<name>\S+) -->\n)?"
    r"(?P<indent>[ ]*)(?P<fence>`{3,}|~{3,})(?P<kind>[^\n`]*)\n(?P<text>.*?)^(?P=indent)(?P=fence)[ ]*$",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block; ``line`` is the number of the fence's own line, from 1; ``name`` is empty for most."""

    kind: str
    name: str
    line: int
    text: str


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    return [
        Block(
            kind=found["kind"].strip(),
            name=found["name"] or "",
            line=text.count("\n", 0, found.start("fence")) + 1,
            text=re.sub(f"^{found['indent']}", "", found["text"], flags=re.MULTILINE),
        )
        for found in _BLOCK.finditer(text)
    ]


def without_blocks(page: Path) -> str:
    return _BLOCK.sub("", page.read_text())
