"""A refusal in plain words, for whoever sees it: ``NegotiateMiddleware(on_refused=helpful_page)``.

Law: it says what a person can do, and never why; all that it tells of the request is its status and its reference. No
script, and nothing from elsewhere.
"""

import json
from base64 import b64encode
from hashlib import sha256
from html import escape
from typing import NamedTuple

from negotiate_mw.connection import Receive, Scope, Send
from negotiate_mw.refusal import Refusal
from negotiate_mw.respond import ASGIApp

_STYLE = """
:root{color-scheme:light dark;
--page:#eef1f5;--card:#fff;--text:#1b2430;--soft:#566273;--line:#d5dbe3;--key:#1f5fbf;--on:#fff}
@media(prefers-color-scheme:dark){
:root{--page:#12161c;--card:#1c222b;--text:#e8ecf2;--soft:#a5b0bf;--line:#36404d;--key:#8db8ff;--on:#0d1b30}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;display:grid;place-items:center;padding:1rem;background:var(--page);color:var(--text);
font:1.0625rem/1.55 system-ui,-apple-system,"Segoe UI",sans-serif}
main{width:100%;max-width:34rem;padding:clamp(1.25rem,5vw,2.5rem);background:var(--card);border:1px solid var(--line);
border-radius:.75rem}
svg{display:block;width:2.75rem;height:2.75rem;margin-left:-.5rem;color:var(--key)}
h1{margin:1rem 0 .5rem;font-size:1.6rem;line-height:1.25}
p{margin:.5rem 0}
ol,ul{margin:1rem 0 1.5rem;padding-left:1.4rem}
li{margin:.5rem 0;padding-left:.25rem}
li::marker{color:var(--soft)}
a{display:inline-block;padding:.6rem 1.25rem;border-radius:.4rem;background:var(--key);color:var(--on);font-weight:600;
text-decoration:none}
a:hover{text-decoration:underline}
a:focus-visible{outline:3px solid var(--text);outline-offset:3px}
footer{margin-top:2rem;padding-top:1rem;border-top:1px solid var(--line);color:var(--soft);font-size:.9375rem}
footer p{margin:0}
code{font:1rem ui-monospace,SFMono-Regular,Consolas,monospace;color:var(--text);user-select:all}
"""
_PAGE = """<!doctype html>
<html lang="{language}">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<meta name="robots" content="noindex"><title>{title}</title><style>{style}</style></head>
<body><main>
<svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="1.75" stroke-linecap="round" \
stroke-linejoin="round" aria-hidden="true"><path d="{icon}"/></svg>
<h1>{title}</h1>
<p>{lead}</p>
<{list}>{steps}</{list}>
<a href="">{again}</a>
<footer><p>{help}<br>{reference_is} <code>{reference}</code></p></footer>
</main></body>
</html>
"""
_LOCK = "M6 10V7a6 6 0 0 1 12 0v3M5 10h14v11H5zM12 14.5v2.5"
_CLOSED = "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM5.7 5.7l12.6 12.6"
_TOOLS = "M12 3 2 20.5h20zM12 10v4.5M12 17.4v.1"
# no frame-ancestors: a portal that shows the app in a frame should show this there too, and there is nothing in it to
# be clicked by mistake but another try
_CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; style-src 'sha256-{b64encode(sha256(_STYLE.encode()).digest()).decode()}'; "
    "base-uri 'none'; form-action 'none'"
)


class _Text(NamedTuple):
    title: str
    lead: str
    steps: tuple[str, ...]


class _Language(NamedTuple):
    again: str
    help: str
    reference_is: str
    texts: dict[int, _Text]


_BROKEN = _Text(
    "Your browser's sign-in got damaged",
    "What your browser sent to sign you in didn't arrive the way it should.",
    ("Close all windows of your browser, open it again, and come back.", "Try another browser."),
)
_KAPUTT = _Text(
    "Die Anmeldung Ihres Browsers wurde beschädigt",
    "Was Ihr Browser zur Anmeldung geschickt hat, ist nicht so angekommen, wie es sollte.",
    (
        "Schließen Sie alle Fenster des Browsers, öffnen Sie ihn neu und kommen Sie wieder hierher.",
        "Versuchen Sie es mit einem anderen Browser.",
    ),
)
_LANGUAGES = {
    "en": _Language(
        "Try again",
        "Still no luck? Ask your help desk and tell them this reference; it lets them see what happened.",
        "Reference:",
        {
            400: _BROKEN,
            431: _BROKEN,
            401: _Text(
                "We couldn't sign you in",
                "This page knows you by your computer's sign-in, without a password of its own. That didn't work just "
                "now. This often helps:",
                (
                    "Use a computer of your organization, signed in with your work account.",
                    "Away from the office? Connect to the VPN first.",
                    "Lock your screen and unlock it with your password, which renews your sign-in.",
                    "Then try again. If nothing changes, close the browser once and open it again.",
                ),
            ),
            403: _Text(
                "You can't open this page",
                "Access was denied, and trying again the same way won't change that.",
                (
                    "Came by a link from another site? Type this page's address yourself, or use your bookmark.",
                    "Need it for your work? Ask whoever looks after this page for access.",
                ),
            ),
            503: _Text(
                "Sign-in is out of order",
                "This is our fault, not yours, and nothing is wrong with your account.",
                ("Wait a minute, then try again.", "What you were about to send was not saved."),
            ),
        },
    ),
    "de": _Language(
        "Erneut versuchen",
        "Hilft das nicht? Nennen Sie Ihrem Helpdesk diese Kennung; sie zeigt dort, was geschehen ist.",
        "Kennung:",
        {
            400: _KAPUTT,
            431: _KAPUTT,
            401: _Text(
                "Wir konnten Sie nicht anmelden",
                "Diese Seite erkennt Sie an der Anmeldung Ihres Computers, ohne eigenes Passwort. Das hat eben nicht "
                "geklappt. Oft hilft:",
                (
                    "Nutzen Sie einen Computer Ihrer Organisation, angemeldet mit Ihrem dienstlichen Konto.",
                    "Nicht im Büro? Verbinden Sie sich zuerst mit dem VPN.",
                    "Sperren Sie den Bildschirm und entsperren Sie ihn mit Ihrem Passwort; das erneuert die Anmeldung.",
                    "Versuchen Sie es dann erneut. Ändert sich nichts, schließen Sie den Browser einmal ganz.",
                ),
            ),
            403: _Text(
                "Sie können diese Seite nicht öffnen",
                "Der Zugriff wurde verweigert; es auf demselben Weg noch einmal zu versuchen ändert daran nichts.",
                (
                    "Über einen Link von anderswo gekommen? Geben Sie die Adresse selbst ein, oder nehmen Sie Ihr "
                    "Lesezeichen.",
                    "Brauchen Sie die Seite für Ihre Arbeit? Bitten Sie die, die sie betreuen, um Zugang.",
                ),
            ),
            503: _Text(
                "Die Anmeldung ist außer Betrieb",
                "Das liegt an uns, nicht an Ihnen; mit Ihrem Konto ist alles in Ordnung.",
                (
                    "Warten Sie eine Minute und versuchen Sie es dann erneut.",
                    "Was Sie gerade absenden wollten, wurde nicht gespeichert.",
                ),
            ),
        },
    ),
}
_ICONS = {401: _LOCK, 403: _CLOSED}


def helpful_page(scope: Scope, refusal: Refusal) -> ASGIApp:
    """What a refused person sees: what to do, in English or German, and the reference for their help desk.

    ::

        app.add_middleware(NegotiateMiddleware, on_refused=helpful_page)

    Who accepts HTML gets a page; who accepts JSON gets problem details (RFC 9457) with the member ``reference``;
    everybody else gets a line of text.
    """
    accept = _header(scope, b"accept")
    language = _language(_header(scope, b"accept-language"))
    text = _LANGUAGES[language].texts[refusal.status]
    headers = [(b"content-language", language.encode())]
    if "text/html" in accept:
        kind, body = "text/html; charset=utf-8", _html(language, refusal)
        headers.append((b"content-security-policy", _CONTENT_SECURITY_POLICY.encode()))
    elif "json" in accept:
        problem = {"title": text.title, "status": refusal.status, "reference": refusal.reference}
        kind, body = "application/problem+json", json.dumps(problem, ensure_ascii=False)
    else:
        kind, body = "text/plain; charset=utf-8", f"{text.title}. Reference: {refusal.reference}\n"
    page = body.encode()
    headers += [(b"content-type", kind.encode()), (b"content-length", str(len(page)).encode())]

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
        await send({"type": "http.response.body", "body": page})

    return app


def _html(language: str, refusal: Refusal) -> str:
    words = _LANGUAGES[language]
    text = words.texts[refusal.status]
    return _PAGE.format(
        language=language,
        style=_STYLE,
        icon=_ICONS.get(refusal.status, _TOOLS),
        title=text.title,
        lead=text.lead,
        list="ol" if refusal.status == 401 else "ul",
        steps="".join(f"<li>{step}</li>" for step in text.steps),
        again=words.again,
        help=words.help,
        reference_is=words.reference_is,
        reference=escape(refusal.reference),
    )


def _header(scope: Scope, name: bytes) -> str:
    return ",".join(value.decode("latin-1") for key, value in scope["headers"] if key == name).lower()


def _language(accepted: str) -> str:
    """The first language that we have; browsers send the one their user likes best first."""
    for each in accepted.split(","):
        tag = each.partition(";")[0].strip().partition("-")[0]
        if tag in _LANGUAGES:
            return tag
    return "en"
