"""What comes of each kind of log-in under each ``ChannelBinding``: the claims that ``test_binding_matrix`` proves on a
real server over real TLS, and their table in ``docs``. To write that anew::

    python -m tests.parity.binding_matrix
"""

from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "channel-binding.md"
BEGIN, END = "<!-- table -->\n", "<!-- end of table -->\n"

MODES = ("off", "when_present", "required")
SAYS = ("none", "match", "mismatch", "zero")

BOUND, IN = "in, bound", "in"
OTHER, UNPROVEN, V1, BROKEN = "401 bad-bindings", "401 not-bound", "401 ntlm-v1", "401 refused"

_PROVES = {
    "none": (IN, IN, UNPROVEN),
    "match": (IN, BOUND, BOUND),
    "mismatch": (IN, OTHER, OTHER),
    "zero": (IN, IN, UNPROVEN),
}
_SAYS_NOTHING = dict.fromkeys(SAYS, (IN, IN, UNPROVEN))
CELLS: dict[str, dict[str, tuple[str, str, str]]] = {
    "Kerberos in SPNEGO": _PROVES,
    "Kerberos, raw": _PROVES,
    "Kerberos without checksum": _SAYS_NOTHING,
    "NTLMv2": _PROVES,
    "NTLMv1": dict.fromkeys(SAYS, (V1, V1, V1)),
}


def table() -> str:
    """The cells as Markdown."""
    lines = [f"| log-in | says of its channel | {' | '.join(f'`{mode}`' for mode in MODES)} |", "|---|---|---|---|---|"]
    for kind, rows in CELLS.items():
        lines += [f"| {kind} | {says} | {' | '.join(outcomes)} |" for says, outcomes in rows.items()]
    return "\n".join(lines) + "\n"


def page() -> str:
    """The page with its table as it is here."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    return before + BEGIN + table() + END + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(page())
