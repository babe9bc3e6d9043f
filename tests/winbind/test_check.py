"""``negotiate-mw check`` of NTLM by a real winbindd."""

from typing import Any

from negotiate_mw import Acceptor, NegotiateMiddleware
from negotiate_mw.doctor.deployed import of_app
from negotiate_mw.doctor.ntlm import examine
from negotiate_mw.doctor.report import Level

from .domain import WinbindDomain


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Nothing."""


def test_a_winbind_that_answers_is_in_order_and_its_domain_is_named(domain: WinbindDomain) -> None:
    (deployed,) = of_app(NegotiateMiddleware(app, acceptor=Acceptor(mechanisms=("kerberos", "ntlm"))))

    (line,) = examine(deployed)

    assert line.level is Level.OK
    assert "winbind answers" in line.sentence
    assert "ADTEST" in line.sentence
