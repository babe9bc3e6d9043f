"""FastAPI: the identity as a dependency, and the log-in in the OpenAPI document.

uvicorn fastapi_app:app
"""

from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Request, Security
from fastapi.security.http import HTTPBase

from negotiate_mw import Identity, NegotiateMiddleware

app = FastAPI()
app.add_middleware(NegotiateMiddleware, exempt=("/docs", "/openapi.json"))

# for the document alone: who it is was decided before any route is looked for
negotiate = HTTPBase(scheme="negotiate", scheme_name="Negotiate", description="Kerberos (RFC 4559)", auto_error=False)


def current_user(request: Request, _: Annotated[object, Security(negotiate)]) -> Identity:
    user: Identity = request.user
    return user


User = Annotated[Identity, Depends(current_user)]


def in_hr(user: User) -> Identity:
    if "HR" not in user.groups:
        raise HTTPException(403, "for HR alone")
    return user


@app.get("/")
def home(user: User) -> dict[str, str]:
    return {"username": user.username, "principal": user.principal, "mechanism": user.mechanism}


@app.get("/personnel")
def personnel(user: Annotated[Identity, Depends(in_hr)]) -> str:
    return f"the personnel, for {user.username}"
