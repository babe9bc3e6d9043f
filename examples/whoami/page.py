"""How the page looks: HTML without scripts, for light and dark, phones and screen readers.

Law: whatever comes from a ticket is escaped.
"""

from base64 import b64encode
from datetime import UTC, datetime
from hashlib import sha256
from html import escape

from negotiate_mw import ContextFlag, Identity

STYLE = """
:root { color-scheme: light dark; --page: #eef1f5; --card: #fff; --text: #1b2430; --soft: #566273; --line: #d5dbe3;
  --key: #1f5fbf; --on: #fff; --tag: #e6edf8; --good: #17663a; font: 1.0625rem/1.5 system-ui, sans-serif }
@media (prefers-color-scheme: dark) { :root { --page: #12161c; --card: #1c222b; --text: #e8ecf2; --soft: #a5b0bf;
  --line: #36404d; --key: #8db8ff; --on: #0d1b30; --tag: #29374d; --good: #7ad3a0 } }
* { box-sizing: border-box }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 1rem; background: var(--page);
  color: var(--text) }
main { width: 100%; max-width: 44rem; background: var(--card); border: 1px solid var(--line); border-radius: .75rem }
header, section, footer { padding: 1.25rem clamp(1.25rem, 5vw, 2rem) }
section, footer { border-top: 1px solid var(--line) }
header { display: flex; gap: 1rem; align-items: center }
.face { flex: none; width: 3.5rem; height: 3.5rem; border-radius: 50%; display: grid; place-items: center;
  background: var(--key); color: var(--on); font-size: 1.6rem; font-weight: 600; text-transform: uppercase }
h1 { margin: 0; font-size: 1.6rem; line-height: 1.25; overflow-wrap: anywhere }
h2 { margin: 0 0 .75rem; font-size: 1rem; color: var(--soft); font-weight: 600 }
p { margin: 0 }
header p, footer p { color: var(--soft); overflow-wrap: anywhere }
dl { display: grid; grid-template-columns: 11rem 1fr; gap: .6rem 1rem; margin: 0 }
dt { color: var(--soft) }
dd { margin: 0; overflow-wrap: anywhere }
dd small { display: block; color: var(--soft); font-size: .9rem }
.yes::before { content: "✓ " / ""; color: var(--good); font-weight: 700 }
.tags { display: flex; flex-wrap: wrap; gap: .4rem; list-style: none; margin: 0; padding: 0 }
.tags li { background: var(--tag); padding: .15rem .6rem; border-radius: 1rem; font-size: .95rem;
  overflow-wrap: anywhere }
footer { display: flex; flex-wrap: wrap; gap: 1rem; align-items: center; justify-content: space-between }
footer p { flex: 1 1 16rem; font-size: .95rem }
button, .button { font: inherit; font-weight: 600; padding: .55rem 1.2rem; border: 0; border-radius: .4rem;
  cursor: pointer; background: var(--key); color: var(--on); text-decoration: none; display: inline-block }
button:hover, .button:hover { text-decoration: underline }
:focus-visible { outline: 3px solid var(--text); outline-offset: 3px }
@media (max-width: 32rem) { dl { grid-template-columns: 1fr; gap: 0 } dd { margin-bottom: .75rem } }
"""
FRAME = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1"><title>{title}</title>
<style>{style}</style></head>
<body><main>{content}</main></body>
</html>
"""
HEADERS = {
    "content-security-policy": "default-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    f"style-src 'sha256-{b64encode(sha256(STYLE.encode()).digest()).decode()}'"
}
MECHANISMS = {"kerberos": "Kerberos ticket", "ntlm": "NTLM: a password that wasn't sent"}
PROVEN = {
    ContextFlag.MUTUAL_AUTH: "the server proved itself too",
    ContextFlag.DELEGATE: "the server may act for you elsewhere",
}


def framed(title: str, content: str) -> str:
    return FRAME.format(title=escape(title), style=STYLE, content=content)


BYE = framed(
    "Signed out",
    "<header><div><h1>Signed out</h1><p>The session on this site has ended.</p></div></header>"
    "<footer><p>Your computer's own sign-in goes on, so the next visit knows you again.</p>"
    '<a class="button" href=".">Sign in again</a></footer>',
)


def of(user: Identity, *, has_session: bool, by_session: bool) -> str:
    """The page of somebody who is signed in."""
    return framed(
        f"You are {user.username}",
        f'<header><span class="face" aria-hidden="true">{escape(user.username[:1])}</span>'
        f"<div><h1>{escape(user.username)}</h1><p>{escape(user.principal)}</p></div></header>"
        '<section aria-labelledby="how"><h2 id="how">How you are known</h2>'
        f"{how(user, by_session=by_session)}</section>"
        f'<section aria-labelledby="groups"><h2 id="groups">Groups</h2>{groups(user)}</section>'
        f"<footer>{ending() if has_session else '<p>Every request brings its own proof; there is no session.</p>'}"
        "</footer>",
    )


def how(user: Identity, *, by_session: bool) -> str:
    rows = {
        "Known by": "the session that your log-in began" if by_session else "what this request brought",
        "Proof": escape(MECHANISMS.get(user.mechanism, user.mechanism)),
        "Vouched for by": escape(user.realm),
        "Proof ends": lifetime(user.expires_at, datetime.now(UTC)),
        "TLS channel": '<span class="yes">bound to it</span>' if user.channel_bound else "not bound to it",
    }
    if proven := [text for flag, text in PROVEN.items() if flag in user.attributes]:
        rows["Besides"] = escape(", ".join(proven))
    if user.account_id != user.principal:
        rows["Account"] = escape(user.account_id)
    return "<dl>" + "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in rows.items()) + "</dl>"


def lifetime(end: datetime | None, now: datetime) -> str:
    if end is None:
        return "never by itself"
    minutes = max(0, int((end - now).total_seconds() // 60))
    left = f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
    return f'in {left}<small><time datetime="{end.isoformat()}">{end:%d %B %Y, %H:%M} UTC</time></small>'


def groups(user: Identity) -> str:
    if not user.groups:
        return "<p>None, or nobody asked for them.</p>"
    return '<ul class="tags">' + "".join(f"<li>{escape(name)}</li>" for name in sorted(user.groups)) + "</ul>"


def ending() -> str:
    return (
        "<p>A session remembers you, so that the next requests need no proof.</p>"
        '<form method="post" action="logout"><button>Sign out</button></form>'
    )
