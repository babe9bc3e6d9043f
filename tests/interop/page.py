"""The tables of ``docs/interoperability.md``, from the cells. To write them anew::

python -m tests.interop.page
"""

from pathlib import Path

from .cells import CANNOT, CELLS, CLIENTS, KDCS, MECHANISMS, NTLM, SITES, WAYS, Mechanism, Site, Way

PAGE = Path(__file__).resolve().parents[2] / "docs" / "interoperability.md"
UPDATE = "python -m tests.interop.page"
_BEGIN, _END = "<!-- tables: ", "<!-- end of tables -->\n"
_DASH = "\u2013"
_REASONS = list(dict.fromkeys(cannot.why for cannot in CANNOT))


def _outcome(way: Way, site: Site) -> str:
    outcomes = {cell.kdc: cell.outcome for cell in CELLS if (cell.way, cell.site) == (way, site)}
    if way.mechanism == NTLM:
        (outcome,) = outcomes.values()
        return "yes" if outcome == "in" else outcome
    return ", ".join(kdc for kdc in KDCS if outcomes[kdc] == "in")


def _lines(mechanism: Mechanism) -> list[list[str]]:
    what = "sends" if mechanism == NTLM else "checks the server"
    lines = [["client", "set up with", what, *(site.title for site in SITES)]]
    lines.append(["---"] * len(lines[0]))
    for client in CLIENTS:
        for cannot in CANNOT:
            if (cannot.client, cannot.mechanism) == (client, mechanism):
                dashes = [_DASH] * (len(SITES) + 1)
                lines.append([client, f"({_REASONS.index(cannot.why) + 1})", *dashes])
        for way in WAYS:
            if (way.client, way.mechanism) == (client, mechanism):
                more = way.sends if mechanism == NTLM else way.checks
                lines.append([client, way.set_up, more, *(_outcome(way, site) for site in SITES)])
    return lines


def _tables() -> str:
    tables = ["Servers:\n\n" + "".join(f"- {site.title}: `{site.row.start}`\n" for site in SITES)]
    for mechanism in MECHANISMS:
        rows = "".join(f"| {' | '.join(line)} |\n" for line in _lines(mechanism))
        tables.append(f"## {mechanism}\n\n{rows}")
    notes = "".join(f"{number}. {why}.\n" for number, why in enumerate(_REASONS, 1))
    return "\n".join([*tables, f"## What a dash means\n\n{notes}"])


def updated(page: str) -> str:
    """The page with the tables as they have to be."""
    before, begin, rest = page.partition(_BEGIN)
    _old, end, after = rest.partition(_END)
    assert begin
    assert end
    return f"{before}{begin}{UPDATE} -->\n{_tables()}{end}{after}"


if __name__ == "__main__":
    PAGE.write_text(updated(PAGE.read_text()))
