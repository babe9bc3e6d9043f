"""The look-up process: one server, one connection that is kept, one question at a time.

Law: it reads a line of JSON and writes one, on the socket that is its standard input, and ends when that does. It
knows nothing of caches or of who asks; a name goes into a filter only through ``escape``, a SID only if it looks like
one.
"""

import itertools
import json
import re
import signal
import socket
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from negotiate_mw.extras import to_install
from negotiate_mw.wire.pac import read_sid

SIDS_PER_QUERY = 200  # of 46 octets each
PAGE = 100  # OpenLDAP answers 500 entries at once by default, Active Directory 1,000
_SID = re.compile(r"S-1-5-21(-\d{1,10}){3,5}")
_BASE, _ONE, _SUBTREE = 0, 1, 2
_UNAVAILABLE = frozenset({51, 52})  # LDAP_BUSY, LDAP_UNAVAILABLE (RFC 4511, appendix A)

Options = dict[str, Any]
Group = tuple[str, str | None]  # name and SID
Search = Callable[..., list[Any]]


class Failed(Exception):
    """A question has no answer.

    ``why``: ``"missing"`` (nobody, or not one), ``"down"``, ``"refused"`` (this question) or ``"unwelcome"`` (any).
    """

    def __init__(self, why: str, detail: str) -> None:
        super().__init__(why, detail)
        self.why = why
        self.detail = detail


def escape(value: str) -> str:
    """``value`` as a filter's assertion value (RFC 4515): every octet but letters and digits of ASCII as hex."""
    octets = value.encode("utf-8", "surrogatepass")
    return "".join(chr(o) if o < 128 and chr(o).isalnum() else f"\\{o:02x}" for o in octets)


def groups_by_sid(search: Search, options: Options, sids: Iterable[str]) -> list[Group]:
    """The names of Active Directory groups."""
    ours = sorted({sid for sid in sids if _SID.fullmatch(sid)})
    found: list[Group] = []
    for chunk in _chunks(ours, SIDS_PER_QUERY):
        either = "".join(f"(objectSid={sid})" for sid in chunk)
        query = f"(&(objectClass=group)(|{either}))"
        for entry in search(options["base"], _SUBTREE, query, ["sAMAccountName", "objectSid"]):
            sid = read_sid(entry["objectSid"][0])
            if sid in chunk:
                found.append((entry["sAMAccountName"][0], sid))
    return found


def sids_of(search: Search, options: Options, sid: str | None, name: str) -> list[str]:
    """The SIDs of an Active Directory account's groups, nested ones too (``tokenGroups``, MS-ADTS 3.1.1.4.5.19)."""
    if sid is None:
        query = f"(&(objectClass=user)(sAMAccountName={escape(name)}))"
        entries = search(options["base"], _SUBTREE, query, ["sAMAccountName", "objectSid"])
        # the directory's idea of "equal" is wider: it may ignore spaces, widths and accents
        same = [entry for entry in entries if entry["sAMAccountName"][0].casefold() == name.casefold()]
        sid = read_sid(_the_one(same, name)["objectSid"][0])
    if not _SID.fullmatch(sid):
        raise Failed("missing", f"{sid} is no account's SID")
    entry = _the_one(search(f"<SID={sid}>", _BASE, "(objectClass=user)", ["tokenGroups"]), sid)
    return [read_sid(value) for value in entry.get("tokenGroups", [])]


def groups_by_member(search: Search, options: Options, name: str) -> list[Group]:
    """The groups of a user of FreeIPA, 389 Directory Server or OpenLDAP, with the groups that those are in.

    ``memberOf`` of the user, where the server keeps it (FreeIPA: with nested groups), and whatever has the user, or a
    group found so far, as ``member``; or the user's name as ``memberUid``.
    """
    entries = search(options["users"], _SUBTREE, f"(uid={escape(name)})", ["uid", "memberOf"])
    # Kerberos names differ by case and spaces, a directory's don't; nor do bonsai's own lists of values
    user = _the_one([entry for entry in entries if name in list(entry.get("uid", []))], name)
    direct = [str(group) for group in user.get("memberOf", [])]
    asked = {str(user.dn), *direct}
    clauses = [f"(memberUid={escape(name)})", *(f"(entryDN={escape(group)})" for group in direct)]
    clauses += [f"(member={escape(dn)})" for dn in asked]
    names: dict[str, str] = {}
    while clauses:
        for chunk in _chunks(clauses, SIDS_PER_QUERY):
            for entry in search(options["groups"], _ONE, f"(|{''.join(chunk)})", ["cn"]):
                names[str(entry.dn)] = _name_in(entry)
        clauses = [f"(member={escape(dn)})" for dn in names.keys() - asked]
        asked |= names.keys()
    return [(name, None) for name in names.values()]


def answer(search: Search, options: Options, question: dict[str, Any]) -> list[Group]:
    """The groups that a question is about: of ``sids``, or else of the account ``sid`` or ``name``."""
    if question.get("probe"):
        bases = [options[key] for key in ("base", "users", "groups") if options[key]]
        for base in bases:
            if not search(base, _BASE, "(objectClass=*)", ["objectClass"]):
                raise Failed("refused", f"there is no {base}, or {_who(options)} may not see it")
        return []
    if not options["base"]:
        return groups_by_member(search, options, question["name"])
    sids = question["sids"]
    if sids is None:
        sids = sids_of(search, options, question["sid"], question["name"])
    return groups_by_sid(search, options, sids)


def _name_in(entry: Any) -> str:
    """The one ``cn``, if the entry is called by it alone, which makes it unique there; else nothing."""
    cn, rdn = list(entry.get("cn", [])), entry.dn.rdns[0]
    by_cn = len(rdn) == 1 and rdn[0][0].casefold() == "cn"
    return cn[0] if len(cn) == 1 and by_cn else ""


def _the_one(entries: list[Any], what: str) -> Any:
    if len(entries) != 1:
        raise Failed("missing", f"{len(entries)} entries are {what!r}")
    return entries[0]


def _chunks(items: list[str], size: int) -> Iterator[list[str]]:
    return (items[at : at + size] for at in range(0, len(items), size))


def _who(options: Options) -> str:
    return str(options["bind_dn"] or options["principal"])


class Connection:
    """The connection to the directory: made when first needed, kept, and made again where it broke."""

    def __init__(self, options: Options) -> None:
        import bonsai

        self._library = bonsai
        self._options = options
        self._open: Any = None
        self._ccaches = (f"MEMORY:negotiate-mw-{number}" for number in itertools.count(1))

    def ask(self, question: dict[str, Any]) -> list[Group]:
        kept = self._open is not None
        try:
            return self._ask(question)
        except self._library.LDAPError:
            if not kept:
                raise
            return self._ask(question)  # it was closed from afar, or its ticket ended

    def _ask(self, question: dict[str, Any]) -> list[Group]:
        if self._open is None:
            try:
                self._open = self._bind()
            except self._library.LDAPError as error:
                raise Failed("down" if _is_down(error) else "unwelcome", str(error)) from error
        try:
            return answer(self._search, self._options, question)
        except self._library.LDAPError:
            self._open = None
            raise

    def _search(self, base: str, scope: int, query: str, attributes: list[str]) -> list[Any]:
        try:
            found = self._open.paged_search(base, scope, query, attributes, page_size=PAGE)
            return [entry for entry in found if hasattr(entry, "dn")]  # no referrals
        except self._library.NoSuchObjectError:
            if scope == _BASE:  # what is asked for, and not where to look
                return []
            raise

    def _bind(self) -> Any:
        options = self._options
        client = self._library.LDAPClient(options["server"])
        is_tls = options["server"].startswith("ldaps")
        client.set_cert_policy("demand")
        if options["ca_file"]:
            client.set_ca_cert(options["ca_file"])
        client.set_ignore_referrals(True)
        client.set_auto_page_acquire(True)
        client.set_raw_attributes(["objectSid", "tokenGroups"])
        if options["bind_dn"]:
            password = Path(options["password_file"]).read_text().rstrip("\r\n")
            if not password:
                raise Failed("unwelcome", f"{options['password_file']} is empty")  # RFC 4513 5.1.2: that is nobody
            client.set_credentials("SIMPLE", user=options["bind_dn"], password=password)
        else:
            from negotiate_mw.directory.login import NoTicket, log_in

            try:
                log_in(options["principal"], options["keytab"], next(self._ccaches))
            except NoTicket as error:
                raise Failed("down" if error.is_down else "unwelcome", str(error)) from error
            client.set_credentials("GSSAPI")
            # signed and sealed by Kerberos, or by TLS: Active Directory refuses both at once (MS-ADTS 5.1.1.1.2)
            client.set_sasl_security_properties(min_ssf=0 if is_tls else 56, max_ssf=0 if is_tls else 65536)
        return client.connect()


def _is_down(error: Any) -> bool:
    import bonsai

    no_answer = isinstance(error, bonsai.ConnectionError | bonsai.TimeoutError | bonsai.ClosedConnection)
    return no_answer or error.code in _UNAVAILABLE


def _reply(connection: Connection, question: dict[str, Any]) -> dict[str, Any]:
    import bonsai

    try:
        return {"groups": connection.ask(question)}
    except Failed as error:
        return {"failed": error.why, "detail": error.detail}
    except bonsai.LDAPError as error:
        return {"failed": "down" if _is_down(error) else "refused", "detail": str(error)}
    except Exception as error:  # noqa: BLE001 - the library's, translated here
        return {"failed": "refused", "detail": f"{type(error).__name__}: {error}"}


def main() -> None:
    """Answer what comes in on file descriptor 0."""
    with socket.socket(fileno=0) as channel, channel.makefile("rw", encoding="utf-8") as lines:
        options = json.loads(lines.readline())
        connection = None
        while line := lines.readline():
            question = json.loads(line)
            signal.alarm(question["seconds"])  # whoever asked is gone, and nobody would end us
            try:
                connection = connection or Connection(options)
                reply = _reply(connection, question)
            except ImportError as error:
                reply = {"failed": "refused", "detail": f"{error}: {to_install('ldap')}"}
            signal.alarm(0)
            lines.write(json.dumps(reply) + "\n")
            lines.flush()


if __name__ == "__main__":
    main()
