"""What the campaign of real users serves."""

from negotiate_mw import NegotiateMiddleware
from tests.integration.apps import bare

app = NegotiateMiddleware(bare, exempt=("/public/*",), connection_bound=True)
