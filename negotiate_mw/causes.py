"""What goes wrong in a deployment, and what to type: one catalogue for the log, ``negotiate-mw check`` and the docs.

Law: pure data. A cause is written here once; whoever finds one gives its slug and what it saw, and gets the sentence
and the cure in words, so that log, check and ``docs/troubleshooting.md`` can't say different things.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One thing that goes wrong. ``{names}`` in its texts stand for what was seen.

    Attributes:
        slug: its name, for programs: ``negotiate_cause`` of a log record.
        symptom: what people notice.
        sentence: what is wrong.
        cure: what to type or do.
        told: the refusal's own words say all of it, so the log doesn't repeat it.
        logged: the log can say it; False: only ``negotiate-mw check`` can see it.
    """

    slug: str
    symptom: str
    sentence: str
    cure: str
    told: bool = False
    logged: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A cause that was found, in words."""

    cause: str
    sentence: str
    cure: str
    told: bool = False

    def __str__(self) -> str:
        return f"Cause: {self.sentence}. Cure: {self.cure}"


def finding(slug: str, **seen: str) -> Finding:
    """The cause ``slug`` with what was seen of it: ``finding("wrong-key", spn="HTTP/www.corp.example", …)``.

    Raises:
        KeyError: there is no such cause, or it needs something more to be seen.
    """
    cause = CAUSES[slug]
    return Finding(
        cause=slug, sentence=cause.sentence.format_map(seen), cure=cause.cure.format_map(seen), told=cause.told
    )


EXAMPLE: Mapping[str, str] = MappingProxyType(
    {
        "spn": "HTTP/www.corp.example",
        "host": "www.corp.example",
        "service": "HTTP",
        "keytab": "/etc/http.keytab",
        "held": "HTTP/web1.corp.example",
        "asked": "HTTP/intranet.corp.example",
        "spelled": "HTTP/WWW.corp.example",
        "other": "host/www.corp.example",
        "address": "192.0.2.7",
        "file": "/run/http/krb5_1000.rcache2",
        "limit": "16384",
        "kvno": "7",
        "kvnos": "5 and 6",
        "enctype": "aes256-cts-hmac-sha1-96",
        "enctypes": "rc4-hmac",
        "realm": "CORP.EXAMPLE",
        "realms": "EXAMPLE.COM",
        "offered": "NegoEx",
        "now": "2026-01-05 09:30:00 UTC",
        "account": "HTTP/www.corp.example@CORP.EXAMPLE",
        "answer": "401 Unauthorized",
        "error": "KeyError('x')",
        "extra": "kerberos",
        "kdc": "dc1.corp.example",
        "location": "https://login.corp.example/",
        "mode": "0644",
        "number": "120",
        "off": "6 min 10 s ahead of",
        "package": "gssapi",
        "policy": "allkeys-lru",
        "reference": "5f2c9e07d1b4",
        "said": "what the other side says",
        "schemes": "Basic",
        "seconds": "15",
        "size": "12000",
        "skew": "600",
        "theme": "clock",
        "until": "2026-01-01",
        "url": "https://www.corp.example/",
        "value": "none:",
        "version": "1.20.1",
        "what": "sessions",
        "who": "every user of this machine can read",
        "why": "browsers follow its CNAME",
        "workers": "4",
    }
)
"""What the docs put in the place of what was seen."""

_PASSWORD_BOX = "a password box pops up, or a user of the domain gets 401"  # noqa: S105 - a symptom
_EVERYONE = "nobody can log in; every answer is 503"
_EXPORT = (
    "Active Directory: `ktpass /princ {spn}@{realm} /mapuser ACCOUNT /crypto AES256-SHA1 /ptype KRB5_NT_PRINCIPAL "
    "/pass * /out http.keytab` or `msktutil update`; MIT: `kadmin -q 'ktadd -k {keytab} {spn}'`"
)

_ALL = (
    # Which mechanism
    Cause(
        slug="ntlm-not-kerberos",
        symptom=_PASSWORD_BOX,
        sentence="the browser sent NTLM, not Kerberos: it found no SPN {spn}, or the site isn't in its intranet zone, "
        "or its user isn't logged in to the domain",
        cure="`setspn -S {spn} ACCOUNT`, where ACCOUNT is the one that this service's keytab is of; and put the site "
        "into the browsers' intranet zone (Edge, Chrome: policy AuthServerAllowlist={host}; Firefox: "
        "network.negotiate-auth.trusted-uris)",
    ),
    Cause(
        slug="ntlm-by-address",
        symptom="logging in works by name, and not by IP address",
        sentence="the browser sent NTLM, not Kerberos: it asked for {address}, and there are no tickets for addresses",
        cure="use the name that the keytab has a key for, {held}, in links and bookmarks",
    ),
    Cause(
        slug="other-mechanism",
        symptom="a client that logs in elsewhere gets 401 here",
        sentence="the client offers {offered} and no mechanism that this acceptor takes",
        cure='for NTLM, Acceptor(mechanisms=("kerberos", "ntlm"), ntlm_users=…); for Kerberos, join the client to the '
        "domain or `kinit` there",
    ),
    # Names and keys
    Cause(
        slug="alias",
        symptom="logging in works under one name of the site, and not under another",
        sentence="the ticket is for {asked}, the keytab holds {held}: the site is used under a name without a key",
        cure="give that name a key, `setspn -S {asked} ACCOUNT` (MIT: `kadmin -q 'addprinc -randkey {asked}'`), and "
        "add it to {keytab}; or make the other name a CNAME only where clients canonicalise names",
    ),
    Cause(
        slug="name-spelling",
        symptom=_PASSWORD_BOX,
        sentence="the ticket is for {spelled}, the keytab holds {spn}: Kerberos minds capitals, and these differ",
        cure="export the keytab under the ticket's spelling, {spelled}",
    ),
    Cause(
        slug="other-service",
        symptom="a script or a proxy gets 401, while browsers log in",
        sentence="the ticket is for {other}, and only names of {service}/… are taken here",
        cure="have the client ask for {service}@HOST; or, if this is no web service, Acceptor(service=…)",
    ),
    Cause(
        slug="hostname-option",
        symptom="logging in works under one name of the site, and not under another",
        sentence="the ticket is for {asked}, which Acceptor(hostname=…) doesn't list; it lists {held}",
        cure="add that host to Acceptor(hostname=[…]), or leave the option out to take every name of the keytab",
    ),
    Cause(
        slug="other-realm",
        symptom=_PASSWORD_BOX,
        sentence="the ticket is for {asked}, the keytab's key of that name is of {realms}",
        cure="export the keytab from realm {realm}, or map the host to the right one in the clients' krb5.conf "
        "[domain_realm]",
    ),
    Cause(
        slug="kvno-old",
        symptom="logging in worked until the service's password was changed or its keytab exported elsewhere",
        sentence="the ticket of {spn} is for kvno {kvno}, the keytab holds {kvnos}: it is out of date",
        cure="was it exported anew elsewhere, copy that file to {keytab}; else export it again, and copy it to every "
        f"node, since this makes all other copies useless. Nothing has to be restarted. {_EXPORT}",
    ),
    Cause(
        slug="kvno-new",
        symptom="after a new keytab, those who were logged in before get 401 until they log in anew",
        sentence="the ticket of {spn} is for kvno {kvno}, the keytab holds {kvnos}: the keytab is newer",
        cure="the client gets a new ticket by `klist purge` (MIT: `kdestroy; kinit`) or within hours by itself; next "
        "time keep the old keys in the keytab for a day (MIT: `cpw -keepold`)",
    ),
    Cause(
        slug="enctype-missing",
        symptom="401 after a domain's hardening, or after a keytab was made with one encryption type only",
        sentence="the ticket of {spn} is encrypted with {enctype}, the keytab holds {enctypes} of that kvno",
        cure="export the keytab with the ticket's type too (AES, ktpass: `/crypto AES256-SHA1`), and have the account "
        "say which it has: `Set-ADUser ACCOUNT -KerberosEncryptionType AES128,AES256`",
    ),
    Cause(
        slug="rc4-ticket",
        symptom="401 since RC4 was turned off, or since the keytab was made with AES alone",
        sentence="the ticket of {spn} is encrypted with RC4, the keytab holds {enctypes}: the account isn't known to "
        "do AES",
        cure="`Set-ADUser ACCOUNT -KerberosEncryptionType AES128,AES256`, change its password, export the keytab again",
    ),
    Cause(
        slug="wrong-key",
        symptom="401 for everyone, though keytab and kvno look right",
        sentence="right name, kvno {kvno} and type {enctype}, wrong key: the password was set anew, the salt isn't the "
        "one of the keytab (renamed account or UPN), or another account holds the SPN too",
        cure="`setspn -X` and `setspn -Q {spn}` must name one account; then export the keytab of that one again, to "
        "{keytab}",
    ),
    Cause(
        slug="gssproxy",
        symptom="log-ins fail or hang on a machine with gssproxy",
        sentence="GSS_USE_PROXY hands every step to gssproxy, which has a keytab and rules of its own or doesn't "
        "answer",
        cure="unset GSS_USE_PROXY for this service, or give gssproxy.conf a [service/…] section with its euid and "
        "cred_store = keytab:{keytab}",
    ),
    # Time
    Cause(
        slug="clock-skew",
        symptom="401 for one computer, or for everyone since a machine was moved or resumed",
        sentence="the client's clock and this machine's ({now}) are more than the allowed 5 minutes apart; by how much "
        "is sealed inside the ticket",
        cure="compare with `date -u` on the client, or with the KDC by `negotiate-mw check`; then turn on time "
        "synchronisation where it is wrong: `timedatectl set-ntp true`, Windows: `w32tm /resync`",
    ),
    Cause(
        slug="clock-behind",
        symptom="401 for everyone who logged in a moment ago",
        sentence="the ticket begins after this machine's time ({now}): this machine's clock is behind the KDC's",
        cure="`timedatectl set-ntp true` on this machine; `chronyc tracking` says how far it is off",
    ),
    Cause(
        slug="ticket-expired",
        symptom="401 after a night, until the user locks and unlocks the screen",
        sentence="the ticket has ended by this machine's clock ({now})",
        cure="`kinit -R` or `kinit` on the client (Windows renews by itself); if it happens to everyone, this "
        "machine's clock is ahead: `timedatectl set-ntp true`",
    ),
    # Replays
    Cause(
        slug="replayed",
        symptom="401 for a request that should log in, now and then or always",
        sentence="this very token was accepted before: an outer layer of the app checks tickets too (nested "
        "middleware), the client sent it twice, or somebody copied it",
        cure="check tickets in one layer only, the outermost NegotiateMiddleware: others find its result in "
        'scope["user"]; a client makes a new token for each request',
    ),
    Cause(
        slug="replayed-by-proxy",
        symptom="401 behind a proxy, now and then or always",
        sentence="this very token was accepted before, and the request came through a proxy: it sent the request "
        "again, or checks tickets itself and hands the used one on",
        cure="nginx: `proxy_next_upstream off`, HAProxy: `retries 0` without `option redispatch`; where the proxy logs "
        "users in (mod_auth_gssapi), have it take Authorization off: `RequestHeader unset Authorization`",
    ),
    Cause(
        slug="replay-cache",
        symptom=_EVERYONE,
        sentence="the replay cache can't be used",
        cure="give it a directory of its own: Acceptor(rcache=…), KRB5RCACHEDIR=… or, under systemd, "
        "RuntimeDirectory=…",
        told=True,
    ),
    Cause(
        slug="replay-cache-locked",
        symptom="log-ins hang, then answer 503",
        sentence="another process holds the lock of the replay cache {file}",
        cure="`fuser {file}` names it; give this service a replay cache of its own: Acceptor(rcache=…)",
    ),
    # The way in
    Cause(
        slug="bad-bindings",
        symptom="401 over https for clients that bind tickets to the TLS channel (Windows, recent curl)",
        sentence="the client sees another TLS certificate than this server's: a proxy (or a virus scanner) in between "
        "ends TLS and encrypts anew, or the token was made for somebody else's connection",
        cure='name the certificate that clients see: Policy(channel_binding=ChannelBinding.when_present(certfile="'
        'proxy.pem")); or have the proxy pass TLS through (HAProxy: `mode tcp`)',
    ),
    Cause(
        slug="bad-bindings-certfile",
        symptom="401 over https since a proxy's certificate was renewed",
        sentence="the client sees another TLS certificate than the one in ChannelBinding(certfile=…)",
        cure="copy the proxy's certificate there, with every renewal: `openssl s_client -connect {host}:443 "
        "</dev/null | openssl x509` prints the one that clients see",
    ),
    Cause(
        slug="not-bound",
        symptom="401 over https for some clients, while others log in",
        sentence="ChannelBinding.required() wants proof of the TLS channel, and the client gave none: it can't, or its "
        "request came without TLS",
        cure="use https and a client that binds (Windows browsers, curl from 8.10 on, with krb5 1.19 or newer), or "
        "ChannelBinding.when_present()",
        told=True,
    ),
    Cause(
        slug="second-leg",
        symptom="NTLM, or Kerberos in several legs, ends with 401 behind a balancer or proxy",
        sentence="a later leg of the handshake came over another connection than its first, or too late: a proxy in "
        "between spreads one client's requests over several connections",
        cure="HAProxy: leave out `option http-server-close` and `option httpclose`, or `mode tcp`; nginx: its `stream` "
        "module, for no client has an http upstream to itself (docs/proxies.md); or have clients use Kerberos, which "
        "takes one leg",
    ),
    Cause(
        slug="no-connection",
        symptom="NTLM, or Kerberos in several legs, ends with 401 on this server",
        sentence="the handshake takes several legs, and this server gives connections no identity: HTTP/2, HTTP/1.0 "
        "from a proxy, a server without an adapter, or a layer that hides `receive`",
        cure="`uvicorn --http negotiate_mw.servers.uvicorn:Auto` (docs/servers.md); behind nginx its `stream` module "
        "(docs/proxies.md); NegotiateMiddleware as the outermost layer; or have clients use Kerberos, which takes one "
        "leg",
    ),
    Cause(
        slug="host-rewritten",
        symptom="401 behind a proxy, while direct requests log in",
        sentence="the request asks for {host} and the ticket is for {asked}: a proxy in between rewrote the "
        "Host header",
        cure="nginx: `proxy_set_header Host $host;`, Apache: `ProxyPreserveHost On`; HAProxy keeps it",
    ),
    Cause(
        slug="token-too-large",
        symptom="431 for users in many groups",
        sentence="the token is larger than Limits(token_bytes=…) allows",
        cure="Acceptor(limits=Limits(token_bytes=…)); or fewer groups in the ticket",
        told=True,
    ),
    Cause(
        slug="head-too-large",
        symptom="400 for users in many groups, and no line of ours in the log",
        sentence="the server cuts request heads at {limit} bytes, before any app sees them; a ticket with many groups "
        "takes up to 64 KiB",
        cure="`uvicorn --h11-max-incomplete-event-size 131072`, or `--http httptools`; nginx: "
        "`large_client_header_buffers 4 64k;`, HAProxy: `tune.bufsize 65536`",
        logged=False,
    ),
    Cause(
        slug="token-damaged",
        symptom="401 or 400 for some users, mostly those in many groups",
        sentence="the token isn't whole or isn't one: something in between cut or changed the Authorization header, or "
        "the client isn't one",
        cure="raise the header limits of whatever is in between (nginx: `large_client_header_buffers 4 64k;`, HAProxy: "
        "`tune.bufsize 65536`); `negotiate-mw decode` says what a token is",
    ),
    Cause(
        slug="two-authorizations",
        symptom="400 behind a proxy",
        sentence="the request has two Authorization headers: a proxy added its own to the client's",
        cure="have it set the header rather than add it (HAProxy: `http-request set-header`), or leave it alone",
    ),
    Cause(
        slug="tls-required",
        symptom="403 for everyone over http",
        sentence="the request came without TLS, and Policy(require_tls=True) wants it",
        cure="use https: `uvicorn --ssl-certfile … --ssl-keyfile …`, and redirect http to it",
    ),
    Cause(
        slug="tls-ends-at-proxy",
        symptom="403 for everyone behind a proxy with https",
        sentence="the request came without TLS through a proxy, and Policy(require_tls=True) wants TLS",
        cure="where that proxy takes https alone and nobody gets past it, Policy(tls_terminated_by_proxy=True)",
    ),
    Cause(
        slug="preflight-refused",
        symptom="a page of another origin reports a CORS error",
        sentence="a preflight carries no ticket by design, and its page isn't trusted to use the user's credentials",
        cure="Policy(trusted_origins=[…]) with the origin that the line names, if it is one of yours",
        told=True,
    ),
    Cause(
        slug="cross-origin",
        symptom="403 for forms, scripts or websockets of another site's page",
        sentence="a page of another origin sent a request that may change something, with the user's credentials",
        cure="Policy(trusted_origins=[…]) with the origin that the line names, if it is one of yours; behind a proxy "
        "it must hand on the Host header as it came",
        told=True,
    ),
    # Who may in
    Cause(
        slug="realm-not-allowed",
        symptom="403 for the users of one domain",
        sentence="the user's realm isn't one that may log in",
        cure="paste the Policy(realms=…) that the line prints, if that realm's users may in",
        told=True,
    ),
    Cause(
        slug="domain-not-allowed",
        symptom="403 for the NTLM users of one domain",
        sentence="the user's NTLM domain isn't one that may log in",
        cure="Policy(ntlm_domains=[…]) with that domain",
        told=True,
    ),
    Cause(
        slug="name-mismatch",
        symptom="403 for one user",
        sentence="the name in the ticket isn't the account's that it belongs to: somebody logged in under a name they "
        "took, or under an alias",
        cure="have the user log in as the account that the line names; look at who made an account of the other name",
        told=True,
    ),
    Cause(
        slug="computer-account",
        symptom="403 for a scheduled task or a service that logs in",
        sentence="a computer's or a service's account logged in, and only people may",
        cure="Policy(services=True), if such may in",
        told=True,
    ),
    Cause(
        slug="name-forbidden",
        symptom="403 for one client",
        sentence="the name is one of the realm's own machinery or anonymous, or has no usable form",
        cure="log in as a user; no option lets these in",
        told=True,
    ),
    Cause(
        slug="pac-stripped",
        symptom="403 for everyone of Active Directory, or for one client",
        sentence="the ticket came without the PAC that says whose account it is: the service's account has "
        "NO_AUTH_DATA_REQUIRED set, or the client asked for a ticket without",
        cure="`Set-ADAccountControl`'s userAccountControl bit 0x2000000 must be off on the service's account; then "
        "`klist purge` on the client",
    ),
    Cause(
        slug="flags-missing",
        symptom="403 for some clients, while others log in",
        sentence="the client didn't establish what Policy(required_flags=…) wants",
        cure="configure the client (mutual authentication, delegation), or ask for less",
        told=True,
    ),
    Cause(
        slug="indicators-missing",
        symptom="403 for those who log in with a password, while others get in",
        sentence="the user didn't log in by the means that Policy(required_indicators=…) wants",
        cure="log in by those means, such as a smart card, and get a new ticket; or ask for less",
        told=True,
    ),
    Cause(
        slug="ntlm-refused",
        symptom="401 and a password box for an NTLM user",
        sentence="the NTLM log-in failed: unknown user, wrong password, or an answer too weak or tampered with",
        cure="`negotiate-mw ntlm-hash DOMAIN USER` makes the user's line; Windows clients need "
        "LmCompatibilityLevel 3 or more",
        told=True,
    ),
    Cause(
        slug="ntlm-domain-refused",
        symptom="401 and a password box for an NTLM user of the domain",
        sentence="the domain controller turned the user's NTLM log-in down, for what the line has in brackets",
        cure="a right password may be refused as well: `wbinfo -a 'CORP\\alice'` asks the same; look for an account "
        'that is locked or in Protected Users, and at the domain\'s policy "Restrict NTLM"',
    ),
    Cause(
        slug="winbind",
        symptom="503 for those who log in by NTLM",
        sentence="winbind, which asks the domain controller whether an NTLM log-in is good, can't be asked",
        cure="`systemctl status winbind`; `wbinfo -t` and `net ads testjoin` say whether the machine is still joined; "
        "nothing has to be restarted here",
    ),
    # Passwords
    Cause(
        slug="password-without-tls",
        symptom="403 for those who log in by password",
        sentence="a password came over plain http, where anybody on the way can read it",
        cure="serve TLS (uvicorn --ssl-certfile … --ssl-keyfile …), or, where a proxy ends it and is the only way in, "
        "Policy(tls_terminated_by_proxy=True); whoever typed that password should change it",
    ),
    Cause(
        slug="password-refused",
        symptom="401 for one user who logs in by password",
        sentence="the KDC turned the user down, for what the line has in brackets: mostly a wrong password, or a name "
        "that it doesn't know",
        cure="`kinit` as that user says the same anywhere; an account may also be locked or disabled, its password may "
        "have expired, or it needs a second factor, which a password alone can't give",
    ),
    Cause(
        slug="too-many-tries",
        symptom="401 for a user or an office, the right password too, and minutes later all is well",
        sentence="too many wrong passwords came for one account, or from one address, so the KDC isn't asked for now",
        cure="wait, for as long as the line says; find the client that keeps sending an old password; a proxy in front "
        "has to hand on who its clients are (uvicorn --forwarded-allow-ips), or all are of one address",
    ),
    Cause(
        slug="password-kdc",
        symptom="503 for those who log in by password, while tickets log in",
        sentence="the KDC, which passwords are asked of, doesn't answer or gives no ticket for this service",
        cure="what the line has in brackets; `KRB5_TRACE=/dev/stderr kinit USER` on this machine shows which KDC is "
        "asked, and krb5.conf or DNS say which ones there are",
    ),
    # Ours
    Cause(
        slug="keytab",
        symptom=_EVERYONE,
        sentence="the keytab is missing, can't be read or holds no key of this service",
        cure="what the line says; it works without a restart",
        told=True,
    ),
    Cause(
        slug="not-acquired",
        symptom=_EVERYONE,
        sentence="the acceptor couldn't be acquired",
        cure="what the line, or an ERROR line before it, says",
        told=True,
    ),
    Cause(
        slug="overloaded",
        symptom="503 for some while many log in",
        sentence="steps that run in threads wait too long: all are busy, or something that they ask doesn't answer",
        cure="look at what they wait for (gssproxy, a domain controller, a slow disk under the replay cache); "
        "Limits(threads=…, queue=…, step_seconds=…) are the bounds",
    ),
    Cause(
        slug="groups-failed",
        symptom="503 for those who log in, or people have no groups",
        sentence="the source of groups failed",
        cure="mend what the line names; Policy(groups_optional=True) lets people in without groups meanwhile",
        told=True,
    ),
    Cause(
        slug="groups-missing",
        symptom="403 for some users since groups are asked for",
        sentence="whoever vouches for the user says nothing of groups, or nothing that may be believed",
        cure="what the line says; Policy(groups_optional=True) lets such users in without groups",
        told=True,
    ),
    Cause(
        slug="directory-down",
        symptom="503 for those who log in, while the directory is down or slow",
        sentence="the LDAP directory can't be asked for the user's groups",
        cure="what the line says; Policy(groups_optional=True) lets people in without groups meanwhile",
        told=True,
    ),
    Cause(
        slug="replay-store",
        symptom="503 for those who log in, while Redis is down",
        sentence="whether another node accepted this log-in before can't be told, since Redis can't be asked",
        cure='mend what the line names; RedisReplayCache(when_down="local") goes on with the node\'s own replay cache',
        told=True,
    ),
    Cause(
        slug="username-failed",
        symptom="503 for some users",
        sentence="the function in Policy(username=…) failed for this user",
        cure="mend it; it has to return a name for every identity",
        told=True,
    ),
    # What nobody can see but `negotiate-mw check`
    Cause(
        slug="package-missing",
        symptom="the server doesn't start, or every answer is 503",
        sentence="{package} isn't installed in this environment",
        cure="`apt-get install gcc python3-dev libkrb5-dev` (dnf: gcc python3-devel krb5-devel; brew: krb5), for it is "
        "compiled on Linux; then `pip install 'negotiate-mw[{extra}]'`",
        logged=False,
    ),
    Cause(
        slug="negoex-old-krb5",
        symptom="the server process ends without a word",
        sentence="a mechanism that is negotiated by NegoEx is installed, and krb5 {version} isn't safe with one",
        cure="update krb5 to 1.22.3 or later, or remove the mechanism's file from /etc/gss/mech.d",
        logged=False,
    ),
    Cause(
        slug="krb5conf",
        symptom=_EVERYONE,
        sentence="the Kerberos library can't use its configuration: {what}",
        cure="mend that file, or name another one: KRB5_CONFIG=…; accepting log-ins needs none, KRB5_CONFIG=/dev/null",
        logged=False,
    ),
    Cause(
        slug="clockskew-differs",
        symptom="a copied token can be used once more, long after it was made",
        sentence="krb5.conf's clockskew is {skew} s, and RedisReplayCache remembers log-ins for less than it allows",
        cure="RedisReplayCache(clockskew={skew}, …), or leave clockskew out of krb5.conf",
        logged=False,
    ),
    Cause(
        slug="keytab-exposed",
        symptom="none, until somebody uses it",
        sentence="{who} the keytab {keytab} (mode {mode}); whoever has its keys can log in here as anybody",
        cure="`chmod 0600 {keytab}`, or 0440 with a group that only the service is in; then change the account's "
        "password and export the keytab again",
        logged=False,
    ),
    Cause(
        slug="hostname-without-key",
        symptom="the server doesn't start, or every answer is 503",
        sentence="the keytab {keytab} holds no key of {spn}, which users are to ask for; it holds {held}",
        cure="export that key too, or correct the host's name",
        logged=False,
    ),
    Cause(
        slug="keytab-weak",
        symptom="401 since weak encryption was turned off in the domain",
        sentence="the keytab holds no key of {spn} but {enctypes}, which is weak: domains turn it off, and who gets a "
        "ticket of it can guess the password behind",
        cure="`Set-ADUser ACCOUNT -KerberosEncryptionType AES128,AES256`, change its password, and export the keytab "
        "with AES; MIT: `kadmin -q 'cpw -randkey -keepold {spn}'` and `ktadd`",
        logged=False,
    ),
    Cause(
        slug="keytab-weak-too",
        symptom="none; whoever gets a ticket of the weak type can guess the password behind it",
        sentence="beside AES, the keytab holds {enctypes} for {spn}: tickets of that weak type are accepted too",
        cure="`Set-ADUser ACCOUNT -KerberosEncryptionType AES128,AES256`, and export the keytab with AES alone "
        "(`ktpass /crypto AES256-SHA1`)",
        logged=False,
    ),
    Cause(
        slug="keytab-large",
        symptom="log-ins are slow",
        sentence="the keytab {keytab} holds {number} keys, and each log-in tries them in turn",
        cure="give this service a keytab of its own names and last two versions: `ktutil`, or export it again",
        logged=False,
    ),
    Cause(
        slug="keytab-realm-not-allowed",
        symptom="403 for everyone of the service's own realm",
        sentence="the keytab is of {realm}, which Policy(realms=…) doesn't list; it lists {realms}",
        cure="add it to the list, unless only users of other realms are to log in",
        logged=False,
    ),
    Cause(
        slug="keytab-key-refused",
        symptom="401 for everyone, though the keytab looks right",
        sentence="the KDC refuses the key that the keytab has of {spn} ({said}): the password was changed since, or "
        "the key is another account's",
        cure="export the keytab again, to {keytab}",
        logged=False,
    ),
    Cause(
        slug="account-locked",
        symptom="users get no ticket for the service, and a password box instead",
        sentence="the account of {account} is locked, disabled or expired",
        cure="`Enable-ADAccount`, `Unlock-ADAccount`; MIT: `kadmin -q 'modprinc +allow_tix -expire never …'`",
        logged=False,
    ),
    Cause(
        slug="spn-missing",
        symptom=_PASSWORD_BOX,
        sentence="the KDC of {realm} knows no {spn}, so nobody gets a ticket for it",
        cure="`setspn -S {spn} ACCOUNT`, MIT: `kadmin -q 'addprinc -randkey {spn}'`; then export the keytab",
        logged=False,
    ),
    Cause(
        slug="spn-duplicate",
        symptom=_PASSWORD_BOX,
        sentence="more than one account holds {spn}, so the KDC gives nobody a ticket for it",
        cure="`setspn -Q {spn}` names them; `setspn -D {spn} ACCOUNT` takes it from all but the keytab's",
        logged=False,
    ),
    Cause(
        slug="pac-optional",
        symptom="none, until somebody asks for a ticket that doesn't say whose account it is",
        sentence="tickets of {realm} say whose account they are, but this policy also takes tickets that don't, at "
        "least until one that does was seen",
        cure='Policy(pac="required"), in every Active Directory',
        logged=False,
    ),
    Cause(
        slug="no-ticket",
        symptom=_PASSWORD_BOX,
        sentence="the KDC gave no ticket for {spn}: {said}",
        cure="`kinit` anew and try `kvno {spn}`; KRB5_TRACE=/dev/stderr shows which KDC says so",
        logged=False,
    ),
    Cause(
        slug="not-acquired-because",
        symptom=_EVERYONE,
        sentence="the acceptor can't be acquired: {what}",
        cure="mend what it names; `negotiate-mw check` says more line by line",
        logged=False,
    ),
    Cause(
        slug="kdc-unreachable",
        symptom="users of this machine get no tickets; log-ins of others go on",
        sentence="no KDC of {realm} answers ({kdc})",
        cure="mend its address in krb5.conf or DNS, or let port 88 through; a server needs no KDC to accept log-ins",
        logged=False,
    ),
    Cause(
        slug="clock-off",
        symptom="401 for everyone, or soon",
        sentence="this machine's clock is {off} that of {realm}'s KDC, {kdc}; 5 minutes are allowed",
        cure="`timedatectl set-ntp true` where it is wrong, or `w32tm /resync` on the KDC",
        logged=False,
    ),
    Cause(
        slug="canonical-name",
        symptom="a password box pops up, or 401, for some clients",
        sentence="clients that go to {host} want a ticket for {asked}, since {why}; the keytab has no key of it",
        cure="add that name, `setspn -S {asked} ACCOUNT`, to {keytab}; or make {host} an address record instead of a "
        "CNAME, and correct its reverse record (MIT clients: `rdns = false`)",
        logged=False,
    ),
    Cause(
        slug="replay-cache-off",
        symptom="none; whoever copies a token can log in with it again",
        sentence="the replay cache is {value}, so this service may accept a token again and again",
        cure="leave out Acceptor(rcache=…) and KRB5RCACHENAME, or name a directory",
        logged=False,
    ),
    Cause(
        slug="dev-acceptor",
        symptom="everybody is the same user",
        sentence="the app uses the acceptor for laptops, which asks nobody for a proof",
        cure="leave acceptor= out, or give Acceptor(keytab=…), wherever others than you can connect",
        logged=False,
    ),
    Cause(
        slug="token-bytes-low",
        symptom="431 for users in many groups",
        sentence="Limits(token_bytes={limit}) is less than the 48,000 that Windows' tickets may take",
        cure="leave it at its default, 65536",
        logged=False,
    ),
    Cause(
        slug="no-adapter",
        symptom="every request logs in again",
        sentence="NegotiateMiddleware(connection_bound=True) needs a server that tells when a connection ends",
        cure="`uvicorn --http negotiate_mw.servers.uvicorn:Auto` (docs/servers.md)",
        logged=False,
    ),
    Cause(
        slug="forwarded-from-anybody",
        symptom="the log shows addresses that clients made up",
        sentence="the server believes forwarded headers of every client, so anyone can name another address or scheme",
        cure="`uvicorn --forwarded-allow-ips ADDRESS-OF-THE-PROXY`, or `--no-proxy-headers`",
        logged=False,
    ),
    Cause(
        slug="generated-key",
        symptom="users log in again and again, or the server doesn't start",
        sentence="{workers} worker processes would each make a key of its own for CookieSessions(keys=None), and "
        "refuse the others' sessions",
        cure='make one for all: `python -c "import secrets; print(secrets.token_urlsafe(32))"`, and give it as '
        "keys=[…]",
        logged=False,
    ),
    Cause(
        slug="directory-refused",
        symptom="the server doesn't start",
        sentence="the directory of {realm} can't be used as LdapDirectory(…) says: {said}",
        cure="the account has to be able to log in, `kinit -k -t KEYTAB PRINCIPAL`, and to find the bases, "
        "`ldapsearch -H SERVER -b BASE -s base`; a server by its name, and certificates by ca_file=",
        logged=False,
    ),
    Cause(
        slug="session-store",
        symptom="users log in with each request",
        sentence="Redis for the sessions can't be asked: {said}",
        cure="mend its address, its password, or the network; then nothing has to be restarted",
        logged=False,
    ),
    Cause(
        slug="redis-evicts",
        symptom="sessions end early, or a copied token is accepted again",
        sentence="Redis for the {what} throws keys away when it is full ({policy})",
        cure="`maxmemory-policy noeviction` in redis.conf, and enough memory (docs/scaling.md)",
        logged=False,
    ),
    Cause(
        slug="certificate",
        symptom="the server doesn't start, or 401 over https",
        sentence="the certificate's file can't be used",
        cure="name the PEM file of the certificate that clients see",
        told=True,
        logged=False,
    ),
    Cause(
        slug="certificate-expired",
        symptom="browsers warn of the page",
        sentence="the certificate in {file} ended on {until}",
        cure="renew it; where a proxy ends TLS, copy the proxy's there",
        logged=False,
    ),
    Cause(
        slug="certificate-ends-soon",
        symptom="none yet",
        sentence="the certificate in {file} ends on {until}",
        cure="renew it; where a proxy ends TLS, copy the proxy's there",
        logged=False,
    ),
    Cause(
        slug="certificate-name",
        symptom="browsers warn of the page",
        sentence="the certificate in {file} isn't for {host}",
        cure="get one with that name among its subject alternative names",
        logged=False,
    ),
    Cause(
        slug="binding-unprovable",
        symptom="the server doesn't start",
        sentence="ChannelBinding.required() needs a certificate to bind to, and none is known here",
        cure="check with --server 'uvicorn … --ssl-certfile …', or name the proxy's: "
        "ChannelBinding.required(certfile=…)",
        logged=False,
    ),
    Cause(
        slug="url-unreachable",
        symptom="the page doesn't load",
        sentence="{url} doesn't answer: {said}",
        cure="start the server, or correct name and port",
        logged=False,
    ),
    Cause(
        slug="url-certificate",
        symptom="browsers warn of the page",
        sentence="the certificate of {url} can't be believed: {said}; no ticket was sent",
        cure="renew it, or trust who signed it: SSL_CERT_FILE=ca.pem",
        logged=False,
    ),
    Cause(
        slug="url-no-negotiate",
        symptom="no client tries to log in",
        sentence="{url} answers 401 without WWW-Authenticate: Negotiate ({schemes})",
        cure="look at what asks there instead: another layer, a proxy that takes the header off, or "
        "NegotiateMiddleware(challenge=…)",
        logged=False,
    ),
    Cause(
        slug="url-elsewhere",
        symptom="clients are sent somewhere else",
        sentence="{url} sends clients to {location}, where this doesn't follow",
        cure="check that URL instead, by the name that users type",
        logged=False,
    ),
    Cause(
        slug="url-open",
        symptom="the page shows no user",
        sentence="{url} answers {answer} to who has no ticket",
        cure="check a path that isn't in exempt=; with required=False, one that asks for a log-in",
        logged=False,
    ),
    Cause(
        slug="url-error",
        symptom="the page doesn't load",
        sentence="{url} answers {answer} to who has no ticket",
        cure="look into the log of the server, and of every proxy before it",
        logged=False,
    ),
    Cause(
        slug="url-refused",
        symptom="a user with a ticket is refused",
        sentence="{url} answers {answer}",
        cure="`grep {reference}` in the server's log: it names the cause",
        logged=False,
    ),
    Cause(
        slug="url-head-refused",
        symptom="400 or 431 for users in many groups",
        sentence="a request with a ticket of {size} bytes is answered {answer}, by the server or a proxy before it",
        cure="`uvicorn --h11-max-incomplete-event-size 131072`, or `--http httptools`; nginx: "
        "`large_client_header_buffers 4 64k;`, HAProxy: `tune.bufsize 65536`",
        logged=False,
    ),
    Cause(
        slug="url-no-proof",
        symptom="clients that ask for mutual authentication fail",
        sentence="{url} accepts the ticket, and its answer doesn't prove the server: a proxy takes WWW-Authenticate "
        "off answers, or another layer answers for the middleware",
        cure="let WWW-Authenticate of answers through (nginx: no `proxy_hide_header WWW-Authenticate`)",
        logged=False,
    ),
    Cause(
        slug="url-impostor",
        symptom="clients that ask for mutual authentication fail",
        sentence="the server at {url} accepts the ticket and can't prove that it holds its key: {said}",
        cure="find out who answers there; don't log in to it",
        logged=False,
    ),
    Cause(
        slug="no-answer",
        symptom="none of users",
        sentence="the check of {theme} had no answer within {seconds} s",
        cure="see whether KDC, DNS or Redis, whichever it asks, can be reached; `--seconds` gives it more time",
        logged=False,
    ),
    Cause(
        slug="check-failed",
        symptom="none of users",
        sentence="the check of {theme} failed by a mistake of its own: {error}",
        cure="report it, with this line",
        logged=False,
    ),
)

CAUSES: Mapping[str, Cause] = MappingProxyType({cause.slug: cause for cause in _ALL})
"""Every cause by its slug, in the order of the docs."""
