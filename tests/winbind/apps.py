"""What the tests of winbind serve; the keytab comes from ``KRB5_KTNAME``."""

from negotiate_mw import Acceptor, NegotiateMiddleware
from tests.basic.apps import bare

app = NegotiateMiddleware(bare, acceptor=Acceptor(mechanisms=("kerberos", "ntlm")), groups="pac")
