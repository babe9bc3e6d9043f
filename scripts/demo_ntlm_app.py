"""The example app behind NTLM, for where there is no KDC; the file of users is named by ``NTLM_USERS``."""

import os

from demo_app import whoami
from starlette.applications import Starlette
from starlette.routing import Route

from negotiate_mw import Acceptor, NegotiateMiddleware

acceptor = Acceptor(mechanisms=("ntlm",), ntlm_users=os.environ["NTLM_USERS"])
app = NegotiateMiddleware(Starlette(routes=[Route("/", whoami)]), acceptor=acceptor)
