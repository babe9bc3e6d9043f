"""What the checks found, as a table for people, JSON for programs, and an exit status for scripts.

Law: every check ends in time: one that waits for something is left to wait, and is said to have waited.
"""

import json
import textwrap
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum

from negotiate_mw.causes import Finding, finding
from negotiate_mw.telemetry import plain

_MAX_CHARACTERS = 2000  # of one text; names in it come from files, a KDC, a server
_THEME_WIDTH, _LEVEL_WIDTH = 10, 8
_LEAST_WIDTH = 40


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    SKIPPED = "skipped"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One thing that a check found.

    Attributes:
        level: how bad it is.
        sentence: what was seen.
        cure: what to type or do; empty where there is nothing to mend.
        cause: its name in the catalogue, the log's ``negotiate_cause``; empty where there is none.
        theme: which check found it.
    """

    level: Level
    sentence: str
    cure: str = ""
    cause: str = ""
    theme: str = ""


Check = Callable[[], Iterable[Line]]


def ok(sentence: str) -> Line:
    """Looked at, and in order."""
    return Line(level=Level.OK, sentence=sentence)


def skipped(sentence: str, cure: str = "") -> Line:
    """Not looked at, and why; ``cure``: how to have it looked at."""
    return Line(level=Level.SKIPPED, sentence=sentence, cure=cure)


def warning(slug: str, /, **seen: str) -> Line:
    """Some log-ins will fail, or one day all."""
    return found(finding(slug, **seen), Level.WARNING)


def problem(slug: str, /, **seen: str) -> Line:
    """Log-ins fail, or are not safe."""
    return found(finding(slug, **seen), Level.PROBLEM)


def found(cause: Finding, level: Level) -> Line:
    """A cause of the catalogue, as a line."""
    return Line(level=level, sentence=cause.sentence, cure=cause.cure, cause=cause.cause)


def told(slug: str, sentence: str) -> Line:
    """A cause whose words are the acceptor's own: what is wrong, a semicolon, and what to type."""
    what, _, cure = sentence.partition("; ")
    return Line(level=Level.PROBLEM, sentence=what, cure=cure or finding(slug).cure, cause=slug)


def run(checks: Sequence[tuple[str, Check]], seconds: float) -> list[Line]:
    """Run the checks, all at once, and return what they found, in the order of the checks.

    Args:
        checks: themes and functions; a theme may come again.
        seconds: how long they may take, all together; what they had found by then counts.
    """
    running = [_Running(theme, check) for theme, check in checks]
    deadline = time.monotonic() + seconds
    for each in running:
        each.thread.join(max(0.0, deadline - time.monotonic()))
    return list(dict.fromkeys(line for each in running for line in each.lines(seconds)))


class _Running:
    """A check in a thread of its own, which nobody has to wait for."""

    def __init__(self, theme: str, check: Check) -> None:
        self._theme, self._check = theme, check
        self._found: list[Line] = []
        self._error: Exception | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            for line in self._check():
                self._found.append(line)
        except Exception as error:  # noqa: BLE001 - a mistake in one check mustn't keep the others' findings back
            self._error = error

    def lines(self, seconds: float) -> list[Line]:
        lines = list(self._found)
        if self.thread.is_alive():
            lines.append(warning("no-answer", theme=self._theme, seconds=f"{seconds:g}"))
        elif self._error is not None:
            lines.append(warning("check-failed", theme=self._theme, error=repr(self._error)))
        return [
            Line(
                level=line.level,
                sentence=plain(line.sentence, _MAX_CHARACTERS),
                cure=plain(line.cure, _MAX_CHARACTERS),
                cause=line.cause,
                theme=self._theme,
            )
            for line in lines
        ]


def status(lines: Iterable[Line]) -> int:
    """The exit status, as monitoring plugins have it: 0 ok, 1 warnings, 2 problems."""
    levels = {line.level for line in lines}
    return 2 if Level.PROBLEM in levels else 1 if Level.WARNING in levels else 0


def as_json(lines: Sequence[Line]) -> str:
    """All that was found, for programs."""
    return json.dumps(
        {"status": status(lines), "lines": [asdict(line) for line in lines]}, indent=2, ensure_ascii=False
    )


def as_table(lines: Sequence[Line], width: int) -> str:
    """All that was found, for people.

    Args:
        width: of the terminal, in characters.
    """
    rest = max(width - _LEVEL_WIDTH - _THEME_WIDTH, _LEAST_WIDTH)
    rows: list[str] = []
    theme = ""
    for line in lines:
        name, theme = ("" if line.theme == theme else line.theme), line.theme
        head = line.level.upper() if line.level is Level.PROBLEM else line.level
        tag = f" [{line.cause}]" if line.cause else ""
        rows += _block(f"{head:<{_LEVEL_WIDTH}}{name:<{_THEME_WIDTH}}", line.sentence + tag, rest)
        if line.cure:
            rows += _block("", f"→ {line.cure}", rest)
    counts = {level: sum(line.level is level for line in lines) for level in Level}
    rows.append("")
    rows.append(", ".join(f"{number} {level.value}" for level, number in counts.items()))
    return "\n".join(rows)


def _block(head: str, text: str, width: int) -> list[str]:
    wrapped = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False) or [""]
    indent = " " * (_LEVEL_WIDTH + _THEME_WIDTH)
    return [f"{head or indent}{wrapped[0]}".rstrip(), *(indent + row for row in wrapped[1:])]
