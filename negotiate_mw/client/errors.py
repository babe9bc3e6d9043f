"""Everything the client raises on purpose, besides ConfigurationError for options.

::

    NegotiateError
    └── AuthenticationError              a log-in can't be made, or can't be believed
        ├── CredentialError              ours: no ticket, a wrong password, a service that the KDC doesn't know
        ├── MutualAuthenticationError    theirs: the server didn't prove who it is; its answer isn't given
        ├── ChannelError                 the connection: not the one, or not the TLS channel, that the log-in is for
        └── BodySentError                the request's body would have to be sent again, and can't be

A refusal is no error: the server's 401 is the response, as with any other ``httpx.Auth``.
"""

from negotiate_mw.errors import NegotiateError


class AuthenticationError(NegotiateError):
    """A log-in can't be made, or can't be believed; the one sentence says why, and what to do."""


class CredentialError(AuthenticationError):
    """There is nothing to log in with: no ticket, a wrong password, a service that the KDC doesn't know."""


class MutualAuthenticationError(AuthenticationError):
    """The server took our token and didn't prove who it is: perhaps another server. Its answer is not given."""


class ChannelError(AuthenticationError):
    """The legs of a log-in can't be kept on the one connection, or TLS channel, that they are for."""


class BodySentError(AuthenticationError):
    """The server wants the request again, and its body, which can be read only once, is gone."""
