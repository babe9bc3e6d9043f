"""Litestar: ``request.user`` is the identity, and a guard asks for a group.

uvicorn litestar_app:app
"""

from litestar import Litestar, Request, get
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.exceptions import PermissionDeniedException
from litestar.handlers import BaseRouteHandler
from starlette.authentication import AuthCredentials

from negotiate_mw import Identity, NegotiateMiddleware

UserRequest = Request[Identity, AuthCredentials, State]


def in_hr(connection: ASGIConnection[BaseRouteHandler, Identity, AuthCredentials, State], _: BaseRouteHandler) -> None:
    if "HR" not in connection.user.groups:
        raise PermissionDeniedException("for HR alone")


@get("/", sync_to_thread=False)
def home(request: UserRequest) -> dict[str, str]:
    user = request.user
    return {"username": user.username, "principal": user.principal, "mechanism": user.mechanism}


@get("/personnel", guards=[in_hr], sync_to_thread=False)
def personnel(request: UserRequest) -> str:
    return f"the personnel, for {request.user.username}"


app = NegotiateMiddleware(Litestar([home, personnel]))  # type: ignore[arg-type] # its messages are TypedDicts
