"""A page that tells its visitors who they are, and how that is known.

    KRB5_KTNAME=http.keytab uvicorn whoami:app --app-dir examples

With GROUPS=pac it shows the groups of an Active Directory's ticket; with SESSION_KEY=… it remembers a log-in, and has a
button that ends it. Browsers get a page, everybody else JSON.
"""

import os

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from negotiate_mw import Acceptor, CookieSessions, NegotiateMiddleware, helpful_page
from whoami import page

key = os.environ.get("SESSION_KEY")
sessions = CookieSessions(keys=[key]) if key else None


async def whoami(request: Request) -> Response:
    user = request.user
    if "text/html" in request.headers.get("accept", ""):
        has_session = sessions is not None
        by_session = has_session and "authorization" not in request.headers
        return HTMLResponse(page.of(user, has_session=has_session, by_session=by_session), headers=page.HEADERS)
    return JSONResponse(
        {
            "principal": user.principal,
            "username": user.username,
            "realm": user.realm,
            "mechanism": user.mechanism,
            "expires_at": user.expires_at and user.expires_at.isoformat(),
        }
    )


async def logout(request: Request) -> Response:
    if sessions is not None:
        await sessions.logout(request.scope)
    return RedirectResponse("bye", 303)


async def bye(request: Request) -> Response:
    return HTMLResponse(page.BYE, headers=page.HEADERS)


def behind(acceptor: Acceptor) -> NegotiateMiddleware:
    """The app, with log-ins that this acceptor accepts. Who has just logged out needs a page without a log-in."""
    routes = [Route("/", whoami), Route("/logout", logout, methods=["POST"]), Route("/bye", bye)]
    return NegotiateMiddleware(
        Starlette(routes=routes),
        acceptor=acceptor,
        groups=os.environ.get("GROUPS"),
        sessions=sessions,
        exempt=("/bye",),
        on_refused=helpful_page,
    )


app = behind(Acceptor())
