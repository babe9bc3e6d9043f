"""A throwaway Active Directory that can be administered from Linux: directory, KDC and password service on their ports.

Law: as for SambaAD. The programs of the page take ports 88, 389 and 464 for granted; here they are those of an address
of 127/8 that this process has to itself.
"""

from collections.abc import Sequence
from pathlib import Path

from tests.integration.samba_ad import SambaAD

ADMIN, PASSWORD = "Administrator", "Passw0rd!x"


class AdministeredAD(SambaAD):
    """AD.TEST.EXAMPLE, with what ``msktutil``, ``adcli`` and ``net ads`` ask for."""

    def __init__(self) -> None:
        super().__init__(ldap=True)
        self._services = "ldap cldap kdc"

    @property
    def smb_conf(self) -> Path:
        """What ``samba-tool … -s`` takes."""
        return self._smb_conf

    def tool(self, *arguments: str) -> None:
        """``samba-tool …``, as on the domain controller."""
        self._tool(*arguments, "-s", str(self._smb_conf))

    def _start(self) -> None:
        for path, before, after in self._ports():
            text = path.read_text()
            assert before in text
            path.write_text(text.replace(before, after))
        self._port = 88
        self.tool("spn", "add", "ldap/dc1.ad.test.example", "DC1$")  # a domain controller registers it by itself
        self.tool("domain", "passwordsettings", "set", "--min-pwd-age=0")
        super()._start()

    def _ports(self) -> Sequence[tuple[Path, str, str]]:
        conf, address = self.directory / "krb5.conf", self._address
        kdc = f"kdc = {address}:{self._port}"
        return (
            (self._smb_conf, f"krb5 port = {self._port}", "krb5 port = 88"),
            (self._smb_conf, "kpasswd port = 0", "kpasswd port = 464"),
            (conf, kdc, f"kdc = {address}:88\n    kpasswd_server = {address}:464"),
        )
