"""Django under ASGI: who logged in becomes ``request.user``, by Django's own RemoteUser backend.

DJANGO_DB=users.sqlite3 python django_app.py migrate
DJANGO_DB=users.sqlite3 DJANGO_SECRET_KEY=... uvicorn django_app:app

In a project: ``application = NegotiateMiddleware(get_asgi_application())`` in asgi.py, the rest in settings.py.
"""

import os
import secrets
import sys
from collections.abc import Callable
from typing import Any

import django
import django.core.management
from django.conf import settings
from django.contrib.auth import authenticate
from django.core.asgi import get_asgi_application
from django.http import JsonResponse
from django.urls import path

from negotiate_mw import NegotiateMiddleware


def scope_user(get_response: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Stands in for Django's RemoteUserMiddleware, which under ASGI reads a header; no header of a client says who."""
    from django.contrib.auth.models import AnonymousUser  # once there are settings

    def middleware(request: Any) -> Any:
        who = request.scope["user"]
        # the whole principal, so that two realms' alices are two users
        known = authenticate(request, remote_user=who.principal) if who.is_authenticated else None
        request.user = known or AnonymousUser()
        return get_response(request)

    return middleware


def home(request: Any) -> Any:
    who = request.scope["user"]
    name = request.user.get_username()  # Django's user, whom the backend made at the first log-in
    return JsonResponse({"username": who.username, "principal": name, "mechanism": who.mechanism})


settings.configure(
    SECRET_KEY=os.environ.get("DJANGO_SECRET_KEY") or secrets.token_urlsafe(50),
    ALLOWED_HOSTS=os.environ.get("DJANGO_HOSTS", "localhost").split(","),
    ROOT_URLCONF=__name__,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["DJANGO_DB"]}},
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes"],
    MIDDLEWARE=["django.middleware.csrf.CsrfViewMiddleware", f"{__name__}.scope_user"],
    AUTHENTICATION_BACKENDS=["django.contrib.auth.backends.RemoteUserBackend"],
    USE_TZ=True,
)
urlpatterns = [path("", home)]

if __name__ == "__main__":
    django.setup()
    django.core.management.execute_from_command_line(sys.argv)
else:
    app = NegotiateMiddleware(get_asgi_application())
