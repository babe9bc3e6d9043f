"""Writes ``docs/troubleshooting.md`` from the catalogue that the code uses. To write it anew::

python -m tests.causes.page
"""

import logging
from pathlib import Path

from negotiate_mw import telemetry
from negotiate_mw.causes import CAUSES, EXAMPLE, finding
from negotiate_mw.refusal import Refusal
from negotiate_mw.refusal_log import WHOLE_LINES, WINDOW_SECONDS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "troubleshooting.md"
UPDATE = "python -m tests.causes.page"

# what only some of them are about
_OF_ITS_OWN = {
    "kvno-new": {"kvno": "4"},
    "rc4-ticket": {"enctypes": "aes256-cts-hmac-sha1-96"},
    "url-open": {"answer": "200 OK"},
    "url-error": {"answer": "502 Bad Gateway"},
    "url-head-refused": {"answer": "400 Bad Request"},
    "certificate-expired": {"file": "/etc/ssl/site.pem"},
    "certificate-ends-soon": {"file": "/etc/ssl/site.pem"},
    "certificate-name": {"file": "/etc/ssl/site.pem"},
    "krb5conf": {"what": "'/etc/krb5.conf' line 7: no closing bracket"},
    "not-acquired-because": {"what": "the keytab '/etc/http.keytab' can't be read (Permission denied)"},
}
_SCOPE = {"type": "http", "method": "GET", "path": "/", "client": ("10.0.0.7", 50000)}


def page() -> str:
    """The whole page."""
    kvno = finding("kvno-old", **EXAMPLE)
    detail = "the keytab has no key of the ticket's version"
    line = _said(
        lambda: telemetry.refused(_SCOPE, Refusal(status=401, reference=EXAMPLE["reference"]), "no-key", detail, kvno)
    )
    more = _said(lambda: telemetry.refused_more("10.0.0.7", "no-key", 37))
    index = "".join(f"| {cause.symptom} | [`{cause.slug}`](#{cause.slug}) |\n" for cause in CAUSES.values())
    return f"""\
<!-- written by: {UPDATE} -->
# When somebody can't log in

Whoever is refused sees a status and a reference, and never why. The log says why, under the logger `negotiate_mw`: one
line for each refusal, WARNING, or ERROR where it is yours to mend. `grep` it for the reference:

```text
{line}
```

Of the same reason and the same peer, {WHOLE_LINES} lines are written in {WINDOW_SECONDS:.0f} seconds; what else there \
was is summed up in one:

```text
{more}
```

Structured logs find the same in the record's fields, above all `negotiate_cause`, which is one of the names below, and
`negotiate_cure`. What a token is, `negotiate-mw decode` says in plain words: give it the token, or the whole header, on
standard input (`negotiate-mw decode -`). It shows nothing secret.

**Is the reference in no line?** Then the browser sent no token: the site isn't one that it trusts, or it has no
ticket ([how to see what it does](browsers.md#how-to-see-what-it-does)). A request without a token is no refusal: its
401 is how every log-in begins, and is logged at DEBUG. (Or there were more like it that minute than are written.)

How much of a line is printed is up to your program: [what it takes to see all](telemetry.md#the-log).

Before a user finds out, `negotiate-mw check` looks for what can be seen of all this ([check.md](check.md)): under the
same names, and some more that no request shows.

| what you see | cause |
|---|---|
| a refusal at once, whose reference is in no line of the log | the browser sent no token, see above |
{index}{"".join(map(_section, CAUSES))}"""


def _section(slug: str) -> str:
    cause, example = CAUSES[slug], finding(slug, **{**EXAMPLE, **_OF_ITS_OWN.get(slug, {})})
    says = "The log says" if cause.logged else "`negotiate-mw check` says"
    if cause.told:
        says += ", in words of its own"
    return f"""
## {slug}

{cause.symptom[0].upper()}{cause.symptom[1:]}.

{says}: {example.sentence}.

Cure: {example.cure}.
"""


def _said(write: object) -> str:
    assert callable(write)
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign, assignment]
    logger = logging.getLogger("negotiate_mw")
    logger.addHandler(handler)
    try:
        write()
    finally:
        logger.removeHandler(handler)
    return f"{records[0].levelname} {records[0].name}: {records[0].getMessage()}"


if __name__ == "__main__":
    PAGE.write_text(page())
