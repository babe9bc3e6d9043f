"""Writes what the pages take from the code: the pictures, and the tables between their marks::

python -m tests.pages.write
"""

import logging
from collections.abc import Callable
from pathlib import Path

from .figures import FIGURES
from .tables import TABLES

DOCS = Path(__file__).resolve().parents[2] / "docs"
UPDATE = "python -m tests.pages.write"


def figure(name: str) -> Path:
    return DOCS / "images" / f"{name}.svg"


def updated(page: str, name: str, table: Callable[[], str]) -> str:
    """The page with a table as it has to be, between its marks."""
    begin, end = f"<!-- table {name}, by: {UPDATE} -->\n", "<!-- end of table -->\n"
    before, found, rest = page.partition(begin)
    _old, closed, after = rest.partition(end)
    assert found, f"no {begin!r}"
    assert closed, f"no {end!r} after {begin!r}"
    return f"{before}{begin}{table()}{end}{after}"


if __name__ == "__main__":
    logging.disable()  # what a table asks of the middleware, it would log
    for name, draw in FIGURES.items():
        figure(name).write_text(draw())
    for (page, name), table in TABLES.items():
        path = DOCS / page
        path.write_text(updated(path.read_text(), name, table))
