"""Single sign-on with a way in for the rest: who has no ticket sees a form, and logs in to the app's own session.

    KRB5_KTNAME=http.keytab GUEST_PASSWORD=... uvicorn login_form_app:app

It needs the package itsdangerous. Whoever has a ticket never sees the form: a browser answers the 401 with the ticket
before it shows what the 401 says. Kerberos alone, for with NTLM the browser's own password box would come first.
"""

import hmac
import os
import secrets
from base64 import b64encode
from hashlib import sha256
from html import escape
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Scope

from negotiate_mw import NegotiateMiddleware, Refusal

LOGIN = "/login"
MOST_BYTES = 4096  # of the form

STYLE = """
:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif }
body { display: grid; place-items: center; min-height: 90vh; margin: 1rem }
main { width: min(22rem, 100%) }
label { display: block; margin-top: 1rem }
input, button { box-sizing: border-box; width: 100%; padding: .6rem; font: inherit }
button { margin-top: 1.5rem; cursor: pointer }
small { opacity: .75 }
"""
PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Sign in</title>
<style>{style}</style></head>
<body><main>
<h1>Sign in</h1>
{note}
<form method="post" action="{login}">
<input type="hidden" name="next" value="{next}">
<label for="name">Name</label>
<input id="name" name="name" autocomplete="username" autocapitalize="none" required autofocus>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required>
<button>Sign in</button>
</form>
{reference}
</main></body>
</html>
"""
SECURITY = {
    "content-security-policy": "default-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    f"style-src 'sha256-{b64encode(sha256(STYLE.encode()).digest()).decode()}'"
}


def is_right(name: str, password: str) -> bool:
    """Here goes your own check, with salted hashes and a limit on tries; this one knows one guest."""
    return hmac.compare_digest(f"{name}:{password}".encode(), f"guest:{os.environ['GUEST_PASSWORD']}".encode())


def form(status: int, next: str, note: str, reference: str = "") -> Response:
    page = PAGE.format(style=STYLE, note=note, login=LOGIN, next=escape(next), reference=reference)
    return HTMLResponse(page, status, SECURITY)


def refused(scope: Scope, refusal: Refusal) -> ASGIApp:
    """What stands below a refusal; its status and its challenge are the middleware's."""
    reference = f"<p><small>Reference: {refusal.reference}</small></p>"
    if refusal.status != 401:
        return PlainTextResponse(f"This didn't work. Reference: {refusal.reference}\n")
    url = Request(scope).url
    here = f"{url.path}?{url.query}" if url.query else url.path
    note = "<p>Your computer didn't sign you in by itself. You can do it here:</p>"
    return form(401, here if scope["method"] == "GET" else "/", note, reference)


async def login(request: Request) -> Response:
    if request.method == "GET":
        return form(200, "/", "<p>Welcome.</p>")
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            raise HTTPException(413)
    fields = dict(parse_qsl(body.decode(errors="replace")))
    name, next = fields.get("name", ""), fields.get("next", "/")
    if not next.startswith("/") or next.startswith(("//", "/\\")):
        next = "/"  # to ourselves, and nowhere else
    if not is_right(name, fields.get("password", "")):
        return form(403, next, '<p role="alert">Name or password is wrong.</p>')
    request.session.clear()
    request.session["name"] = name
    return RedirectResponse(next, 303)


def logout(request: Request) -> Response:
    request.session.clear()
    return RedirectResponse(LOGIN, 303)


def home(request: Request) -> Response:
    name = request.user.username if request.user.is_authenticated else request.session["name"]
    how = "ticket" if request.user.is_authenticated else "password"
    return PlainTextResponse(f"Hello {name}, known by {how}\n")


def is_the_apps_own(scope: Scope) -> bool:
    """What the middleware leaves to the app: the form, and whoever logged in by it.

    A page of another site that sends one of these gets no exemption, so the middleware refuses it as it would without.
    """
    request = HTTPConnection(scope)
    same_site = request.headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")
    if not same_site and scope.get("method") not in ("GET", "HEAD"):
        return False
    return scope["path"] == LOGIN or "name" in request.session


app = Starlette(
    routes=[
        Route("/", home),
        Route(LOGIN, login, methods=["GET", "POST"]),
        Route("/logout", logout, methods=["POST"]),
    ],
    middleware=[
        # on TLS, say https_only=True; without a key of your own, sessions end when the server does
        Middleware(
            SessionMiddleware, secret_key=os.environ.get("SESSION_KEY") or secrets.token_hex(), max_age=8 * 3600
        ),
        Middleware(NegotiateMiddleware, exempt=is_the_apps_own, on_refused=refused),
    ],
)
