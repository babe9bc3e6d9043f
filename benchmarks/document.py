"""Puts what was measured into a page of the documentation, between marks that say where.

Law: nothing outside a pair of marks changes, and a page whose marks are gone is an error, not a page without numbers.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.report import Aim, Outcome, table
from benchmarks.servers import BenchmarkError


def between_marks(page: str, sections: Mapping[str, str]) -> str:
    """``page`` with each section's text between ``<!-- bench:name -->`` and ``<!-- /bench:name -->``."""
    for name, text in sections.items():
        begin, end = f"<!-- bench:{name} -->", f"<!-- /bench:{name} -->"
        if page.count(begin) != 1 or page.count(end) != 1 or page.index(begin) > page.index(end):
            raise BenchmarkError(f"the page has no place for {name!r}: a line {begin}, and below it {end}")
        before, rest = page.split(begin)
        page = f"{before}{begin}\n{text}\n{end}{rest.split(end)[1]}"
    return page


def aims_table(aims: Sequence[Aim]) -> str:
    rows = [[aim.what, aim.bar, aim.got, "yes" if aim.met else "**no**"] for aim in aims]
    return table(["what", "bar", "measured (quartiles)", "met"], rows)


def refusal(outcomes: Sequence[Outcome]) -> str | None:
    """Why these numbers aren't to be published; None if they may be."""
    noisy = [f"{each.name}: {each.quiet.said}" for each in outcomes if each.quiet is not None and not each.quiet.enough]
    return "; ".join(noisy) or None


def write(docs: Path, outcomes: Sequence[Outcome], made_by: str, versions: str) -> list[Path]:
    """Write the sections and charts of these outcomes; what was written. The aims only where all of them ran."""
    page = docs / "performance.md"
    sections = {each.name: f"{_pictures(each)}{each.text}\n\n{made_by}" for each in outcomes}
    aims = [aim for each in outcomes for aim in each.aims]
    named = set(re.findall(r"<!-- bench:(\w+) -->", page.read_text()))
    if named == {*sections, "aims"}:
        sections["aims"] = f"{aims_table(aims)}\n\n{made_by}\n\nMeasured on {versions}."
    page.write_text(between_marks(page.read_text(), sections))
    written = [page]
    for each in outcomes:
        for name, chart in each.charts.items():
            (docs / "images").mkdir(exist_ok=True)
            (docs / "images" / name).write_text(chart)
            written.append(docs / "images" / name)
    return written


def _pictures(outcome: Outcome) -> str:
    return "".join(f"![{_title(chart)}](images/{name})\n\n" for name, chart in outcome.charts.items())


def _title(chart: str) -> str:
    found = re.search(r"<title>(.*?)</title>", chart)
    return found[1] if found else ""
