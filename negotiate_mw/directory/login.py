"""The service's own ticket, by its keytab. Law: runs in the child process only, whose environment is its own."""

import os

import gssapi

_NO_KDC = frozenset({2529639068, 2529639132})  # KRB5_KDC_UNREACH, KRB5_REALM_CANT_RESOLVE, unsigned


class NoTicket(Exception):
    """The KDC gave none, and says why; ``is_down``: there is none that answers."""

    def __init__(self, sentence: str, *, is_down: bool) -> None:
        super().__init__(sentence)
        self.is_down = is_down


def log_in(principal: str, keytab: str, ccache: str) -> None:
    """Get a ticket into ``ccache`` and make that this process's default.

    Raises:
        NoTicket: there is none to be had.
    """
    os.environ.pop("KRB5CCNAME", None)
    store: dict[bytes | str, bytes | str] = {"ccache": ccache, "client_keytab": keytab}
    try:
        name = gssapi.Name(principal, gssapi.NameType.kerberos_principal)
        lifetime = gssapi.Credentials(name=name, usage="initiate", store=store).lifetime
    except gssapi.raw.GSSError as error:
        raise NoTicket(str(error), is_down=error.min_code in _NO_KDC) from error
    if not lifetime:
        raise NoTicket(f"the ticket of {principal} is over before it began", is_down=False)
    os.environ["KRB5CCNAME"] = ccache
