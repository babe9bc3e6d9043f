"""The app as hypercorn's users have it: with ``install()`` in its module."""

from negotiate_mw.servers.hypercorn import install

from .telling import app

__all__ = ["app"]

install()
