"""Who may in: the policy an operator writes, and the rules it becomes once the keytab's realms are known.

Law: everything here is frozen and checked when it is made; a wrong value says what is wrong, what is allowed and
what to type. Nothing here reads a clock, a file or a request.
"""

import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, fields, replace
from typing import Any

from negotiate_mw.errors import AcceptError, ConfigurationError
from negotiate_mw.identity import Identity
from negotiate_mw.status import NO_FLAGS, ContextFlag, SecStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on what strangers can make us hold; every one is a count or a number of seconds above zero.

    Attributes:
        token_bytes: largest token. Apache allows 8 KiB a header line, IIS 16 KiB, Windows' MaxTokenSize is 48,000.
        legs: most legs of one handshake. Kerberos takes 1 to 3, NTLM 2.
        half_open: most half-open handshakes at once, about 1 to 3 KiB each.
        handshake_seconds: longest time from the first leg to the last.
        threads: threads of the pool for steps that may block, per backend.
        queue: steps that may wait for such a thread; one more is answered BUSY.
        step_seconds: longest time for one such step, the wait for its thread included.
    """

    token_bytes: int = 65536
    legs: int = 8
    half_open: int = 10_000
    handshake_seconds: float = 30
    threads: int = 8
    queue: int = 64
    step_seconds: float = 10

    def __post_init__(self) -> None:
        for limit in fields(self):
            value: Any = getattr(self, limit.name)
            kinds = (int, float) if limit.name.endswith("seconds") else (int,)
            if type(value) not in kinds or not 0 < value < float("inf"):
                raise ConfigurationError(
                    f"Limits({limit.name}={value!r}): give a number above 0, such as {limit.default!r}"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelBinding:
    """Whether a ticket has to belong to the TLS channel that it came over (RFC 5056, RFC 5929).

    Make one with ``off()``, ``when_present()`` or ``required()``.

    Attributes:
        mode: ``"off"``: not looked at. ``"when_present"``: a client that says which channel it is on must be on
            ours; one that says nothing passes. ``"required"``: a log-in that doesn't *prove* the channel is 401.
        certfile: PEM file of the certificate that clients see, where a proxy ends TLS; None: the certificate that
            our own server presents.
    """

    mode: str = "when_present"
    certfile: str | None = None

    def __post_init__(self) -> None:
        if self.mode not in ("off", "when_present", "required"):
            raise ConfigurationError(
                f"ChannelBinding({self.mode!r}): use ChannelBinding.off(), .when_present() or .required()"
            )
        if self.certfile is not None and (self.mode == "off" or not isinstance(self.certfile, str)):
            raise ConfigurationError(
                f'ChannelBinding(certfile={self.certfile!r}): give a path, as in .required(certfile="proxy.pem")'
            )

    @classmethod
    def off(cls) -> "ChannelBinding":
        """Don't look at it."""
        return cls(mode="off")

    @classmethod
    def when_present(cls, certfile: str | None = None) -> "ChannelBinding":
        """Refuse who is bound to another channel; the default."""
        return cls(mode="when_present", certfile=certfile)

    @classmethod
    def required(cls, certfile: str | None = None) -> "ChannelBinding":
        """Refuse who isn't provably bound to ours: relayed and stolen tokens, and clients that bind nothing."""
        return cls(mode="required", certfile=certfile)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Who may log in, and how.

    Attributes:
        realms: Kerberos realms that may log in, such as ``["CORP.EXAMPLE"]``; None: those of the keytab's keys;
            ``"*"``: any realm that the KDC trusts.
        services: let computers (``pc1$``) and service principals (``host/pc1``) log in.
        pac: ``"required"``: a Kerberos ticket has to carry the PAC that says whose account it is, else 403; set it in
            every Active Directory, where a client can ask for tickets without one, and its name is unproven then.
            ``"when_present"``: also accept realms whose KDC makes no such PAC, as plain MIT ones; a realm that was
            seen to make it is held to it from then on.
        required_flags: attributes a context must have, else 403.
        required_indicators: how a user must have logged in to the KDC, else 403: authentication indicators (RFC 8129)
            such as ``["pkinit"]``, all of them.
        groups_optional: let in without groups whoever's can't be had: else missing from the ticket is 403, and a
            directory that is down is 503.
        require_tls: refuse plain http with 403 before a token is read (loopback excepted).
        tls_terminated_by_proxy: count every request as TLS.
        trusted_origins: origins whose pages may use the user's ambient credentials, as browsers write them:
            ``["https://portal.corp.example"]``. Their preflights (OPTIONS) reach the app as nobody, over plain http
            too, and anybody can send one: have Starlette's ``CORSMiddleware`` outermost, which answers them.
        ntlm_domains: NTLM domains that may log in; None: those of the user file or the joined domain.
        channel_binding: whether a log-in has to prove the TLS channel that it came over.
        username: makes ``Identity.username``; None: the bare name if exactly one realm or domain may log in, counted
            together, else the principal. ``negotiate_mw.local_names.local_name`` goes by krb5.conf's
            ``auth_to_local``.
    """

    realms: Collection[str] | str | None = None
    services: bool = False
    pac: str = "when_present"
    required_flags: ContextFlag = NO_FLAGS
    required_indicators: Collection[str] = ()
    groups_optional: bool = False
    require_tls: bool = False
    tls_terminated_by_proxy: bool = False
    trusted_origins: Collection[str] = ()
    ntlm_domains: Collection[str] | None = None
    channel_binding: ChannelBinding = ChannelBinding.when_present()  # noqa: RUF009 - frozen
    username: Callable[[Identity], str] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.realms, str) and self.realms != "*":
            raise ConfigurationError(f'Policy(realms={self.realms!r}): give a list, realms=["{self.realms}"], or "*"')
        if self.realms is not None and not _are_names(self.realms):
            raise ConfigurationError('Policy(realms=…): name at least one realm, such as realms=["CORP.EXAMPLE"]')
        if self.ntlm_domains is not None and isinstance(self.ntlm_domains, str):
            raise ConfigurationError(
                f'Policy(ntlm_domains={self.ntlm_domains!r}): give a list, ["{self.ntlm_domains}"]'
            )
        if self.ntlm_domains is not None and not _are_names(self.ntlm_domains):
            raise ConfigurationError('Policy(ntlm_domains=…): name at least one domain, such as ntlm_domains=["CORP"]')
        if not isinstance(self.channel_binding, ChannelBinding):
            raise ConfigurationError(
                "Policy(channel_binding=…): give ChannelBinding.off(), .when_present() or .required()"
            )
        if isinstance(self.trusted_origins, str):
            raise ConfigurationError(
                f'Policy(trusted_origins={self.trusted_origins!r}): give a list, ["{self.trusted_origins}"]'
            )
        # annotated as object, for the annotation is what an operator may have got wrong
        trusted: object = self.trusted_origins
        for origin in trusted if isinstance(trusted, Collection) else (trusted,):
            if not _is_origin(origin):
                raise ConfigurationError(
                    f"Policy(trusted_origins): {origin!r} is no origin; write scheme and host, as in "
                    '"https://portal.corp.example", with a port only where it is not the usual one'
                )
        if not isinstance(self.required_flags, ContextFlag):
            raise ConfigurationError("Policy(required_flags=…): give members, as in ContextFlag.MUTUAL_AUTH")
        if isinstance(self.required_indicators, str) or (
            self.required_indicators and not _are_names(self.required_indicators)
        ):
            raise ConfigurationError('Policy(required_indicators=…): give a list of names, such as ["pkinit"]')
        if self.pac not in ("when_present", "required"):
            raise ConfigurationError(f'Policy(pac={self.pac!r}): give "when_present" or "required"')
        if self.username is not None and not callable(self.username):
            raise ConfigurationError("Policy(username=…): give a function that takes an Identity and returns a str")
        for name in ("services", "groups_optional", "require_tls", "tls_terminated_by_proxy"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigurationError(f"Policy({name}=…): give True or False")

    def rules(self, keytab_realms: Collection[str] | None, user_domains: Collection[str] | None = None) -> "Rules":
        """The rules in force for an acceptor.

        Args:
            keytab_realms: those of its keytab's keys; None where it accepts no Kerberos.
            user_domains: the NTLM domains of its users; None where it accepts no NTLM.

        Raises:
            ConfigurationError: ``realms`` is None and the keytab's realms are unknown; or a PAC is required on Windows.
        """
        if self.pac == "required" and keytab_realms is not None and sys.platform == "win32":
            raise ConfigurationError(
                'Policy(pac="required") can\'t be honoured on Windows, since SSPI shows no PAC: nobody could log in; '
                "leave the option out there"
            )
        realms = _allowed(self.realms, keytab_realms)
        domains = _allowed(self.ntlm_domains, user_domains)
        if domains is not None:
            domains = frozenset(name.casefold() for name in domains)
        if keytab_realms is not None and realms is not None and not realms:
            raise ConfigurationError(
                "which realms may log in is unknown, since no keytab could be read: "
                'say it, as in NegotiateMiddleware(app, policy=Policy(realms=["CORP.EXAMPLE"]))'
            )
        return Rules(policy=self, realms=realms, domains=domains)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """A policy with its realms and (casefolded) NTLM domains resolved; None means any.

    ``known`` is what ``handshake.admit`` said by these rules, by the identity's ``id``: the same object gets the same
    answer, so it is worked out once.
    """

    policy: Policy
    realms: frozenset[str] | None
    domains: frozenset[str] | None = frozenset()
    known: dict[int, tuple[Identity, Any]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def refusal(self, identity: Identity) -> tuple[str, str] | None:
        """Why this identity may not in, as a slug and a sentence for the log; None if it may."""
        if identity.mechanism == "ntlm":
            if self.domains is not None and identity.realm.casefold() not in self.domains:
                return "domain-not-allowed", f"{identity.principal!r} is of no domain in Policy(ntlm_domains=…)"
        elif self.realms is not None and identity.realm not in self.realms:
            allowed = sorted({*self.realms, identity.realm})
            return "realm-not-allowed", f"{identity.principal!r} may not log in; to let it, Policy(realms={allowed!r})"
        if self.policy.pac == "required" and identity.mechanism in ("kerberos", "basic") and identity.upn is None:
            return "pac-missing", (
                f"the ticket of {identity.principal!r} doesn't say whose account it is (it has no UPN_DNS_INFO); "
                'where the KDC makes none, as in a plain MIT realm, Policy(pac="when_present")'
            )
        if identity.is_service and not self.policy.services:
            return "service-not-allowed", f"{identity.principal!r} is no person; to let it, Policy(services=True)"
        required = self.policy.required_flags
        if required is not NO_FLAGS and (missing := required & ~identity.attributes):
            return "flags-missing", f"the context of {identity.principal!r} lacks {missing!r}"
        if self.policy.required_indicators:
            has = identity.attributes_of("auth-indicators")
            if lacking := sorted(set(self.policy.required_indicators).difference(has)):
                return "indicators-missing", f"{identity.principal!r} logged in with {sorted(has)}, without {lacking}"
        return None

    def is_unproven(self, identity: Identity) -> bool:
        """True if the policy wants the TLS channel proven, and this log-in didn't."""
        return self.policy.channel_binding.mode == "required" and not identity.channel_bound

    def named(self, identity: Identity) -> Identity:
        """The identity under the name that the policy gives it.

        Raises:
            AcceptError: INTERNAL_ERROR, ``"username-failed"``: ``Policy.username`` raised, or returned no name.
        """
        if self.policy.username is not None:
            username = _app_name(self.policy.username, identity)
        elif self.realms is not None and self.domains is not None and len(self.realms) + len(self.domains) == 1:
            username = identity.bare_name
        else:
            username = identity.principal
        return identity if username == identity.username else replace(identity, username=username)


def _allowed(listed: Collection[str] | None, known: Collection[str] | None) -> frozenset[str] | None:
    """Who of ``listed``, or else of ``known``; ``"*"`` in them is anybody: None. No ``known``: nobody."""
    names = frozenset(() if known is None else known if listed is None else listed)
    return None if "*" in names else names


def _app_name(username: Callable[[Identity], str], identity: Identity) -> str:
    name: object = None
    cause: Exception | None = None
    try:
        name = username(identity)
    except Exception as error:  # noqa: BLE001 - the app's own code
        cause = error
    if isinstance(name, str) and name:
        return name
    problem = f"returned {name!r}" if cause is None else f"raised {type(cause).__name__}"
    raise AcceptError(
        SecStatus.INTERNAL_ERROR, "username-failed", detail=f"Policy.username {problem} for {identity.principal!r}"
    ) from cause


def _are_names(names: object) -> bool:
    return isinstance(names, Collection) and bool(names) and all(name and isinstance(name, str) for name in names)


def _is_origin(text: object) -> bool:
    if not isinstance(text, str):
        return False
    scheme, _, host = text.partition("://")
    return scheme in ("http", "https") and bool(host) and not set(host) & set("/?#@ \\,*") and text == text.lower()
