"""FastAPI: the identity as a dependency.

uvicorn fastapi_app:app
"""

from typing import Annotated

from fastapi import Depends, FastAPI, Request

from negotiate_mw import Identity, NegotiateMiddleware

app = FastAPI()
app.add_middleware(NegotiateMiddleware, exempt=("/docs", "/openapi.json"))


def current_user(request: Request) -> Identity:
    user: Identity = request.user
    return user


User = Annotated[Identity, Depends(current_user)]


@app.get("/")
def home(user: User) -> dict[str, str]:
    return {"username": user.username, "principal": user.principal, "mechanism": user.mechanism}
