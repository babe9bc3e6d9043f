"""Quart: the identity is in the request's scope.

uvicorn quart_app:app
"""

from quart import Quart, request

from negotiate_mw import Identity, NegotiateMiddleware

app = Quart(__name__)
app.asgi_app = NegotiateMiddleware(app.asgi_app)  # type: ignore[method-assign, assignment, arg-type] # Quart's way


def current_user() -> Identity:
    user: Identity = request.scope["user"]  # type: ignore[typeddict-item] # whose keys are the server's alone
    return user


@app.get("/")
async def home() -> dict[str, str]:
    user = current_user()
    return {"username": user.username, "principal": user.principal, "mechanism": user.mechanism}
