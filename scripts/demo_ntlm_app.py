"""The example ``whoami`` behind NTLM, for where there is no KDC; the file of users is named by ``NTLM_USERS``."""

import os

from whoami import behind

from negotiate_mw import Acceptor

app = behind(Acceptor(mechanisms=("ntlm",), ntlm_users=os.environ["NTLM_USERS"]))
