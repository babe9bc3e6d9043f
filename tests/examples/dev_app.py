"""An app on a laptop without a realm, as the README has it."""

from negotiate_mw import NegotiateMiddleware
from negotiate_mw.testing.dev import DevAcceptor
from tests.integration.apps import bare

app = NegotiateMiddleware(bare, acceptor=DevAcceptor("alice@DEV", groups=["HR"]))
