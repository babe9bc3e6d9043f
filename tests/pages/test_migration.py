"""``docs/migration.md`` and its sisters: every setting of theirs is there, every option of ours is one.

What Apache did and we do is in ``test_apache``.
"""

import ast
import asyncio
import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest

import negotiate_mw
from negotiate_mw import NegotiateMiddleware
from negotiate_mw.ldap import LdapDirectory
from negotiate_mw.testing.scripted import ScriptedAcceptor, user
from tests.client.web_servers import MODULES
from tests.shell.driving import Client

from . import apache
from .write import DOCS

PAGES = ["how-it-works.md", "sspi.md", "migration.md", "when-not-to-use.md"]
PAGE = (DOCS / "migration.md").read_text()
NAMES = ("Acceptor", "NegotiateMiddleware", "Policy", "CookieSessions", "PacGroups", "LdapGroups", "Limits")
CALLABLES: dict[str, Callable[..., Any]] = {name: getattr(negotiate_mw, name) for name in NAMES}
CALLABLES |= {"LdapDirectory": LdapDirectory}
CALLABLES |= {
    f"ChannelBinding.{name}": getattr(negotiate_mw.ChannelBinding, name) for name in ("off", "when_present", "required")
}

# NegotiateOptions, LdapSettings and NegotiateEvents, as Microsoft lists their own properties
ASP_NET = {
    "PersistKerberosCredentials", "PersistNtlmCredentials", "EnableLdap", "Domain", "MachineAccountName",
    "MachineAccountPassword", "IgnoreNestedGroups", "ClaimsCacheSlidingExpiration", "ClaimsCacheAbsoluteExpiration",
    "ClaimsCacheSize", "OnAuthenticated", "OnAuthenticationFailed", "OnChallenge", "OnRetrieveLdapClaims",
    "KRB5_KTNAME", "Kestrel",
}  # fmt: skip
# windowsAuthentication's attributes and children
IIS = {
    "useKernelMode", "useAppPoolCredentials", "authPersistSingleRequest", "authPersistNonNTLM", "extendedProtection",
    "tokenChecking", "None", "Allow", "Require", "Proxy", "NoServiceNameCheck", "AllowDotlessSpn", "Negotiate",
    "NTLM", "Negotiate:Kerberos", "anonymousAuthentication",
}  # fmt: skip
FASTAPI_SPNEGO = {
    "SPNEGO_SERVICE", "SPNEGO_HOSTNAME", "SPNEGO_KEYTAB", "SPNEGO_ALLOW_DELEGATION", "SPNEGO_CCACHE_DIR",
    "SPNEGO_AUTO_ERROR", "SPNEGO_ACCEPT_ANY_PRINCIPAL", "exclude_paths", "backend", "principal",
    "username", "realm", "delegated_ccache", "ticket_lifetime",
}  # fmt: skip
ASGI_GSSAPI = {
    "service", "hostname", "service_principal", "auth_required_callback", "gssapi_mech", "unauthorized", "forbidden",
    "principal", "delegate_creds", "token",
}  # fmt: skip
FLASK_GSSAPI = {"GSSAPI_SERVICE_NAME", "GSSAPI_HOSTNAME", "require_auth", "require_user", "username"}
NGINX = {
    "auth_gss", "auth_gss_keytab", "auth_gss_realm", "auth_gss_service_name", "auth_gss_format_full",
    "auth_gss_force_realm", "auth_gss_authorized_principal", "auth_gss_map_to_local", "auth_gss_delegate_credentials",
    "auth_gss_constrained_delegation", "auth_gss_service_ccache", "auth_gss_allow_basic_fallback",
}  # fmt: skip
LIGHTTPD = {"auth.backend.gssapi.keytab", "auth.backend.gssapi.principal", "auth.backend.gssapi.store-creds"}


def there(section: str) -> str:
    """The first cells of a section's tables."""
    (text,) = re.findall(rf"^## {re.escape(section)}\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    return "\n".join(line.split(" | ")[0] for line in text.splitlines() if line.startswith("|"))


@pytest.mark.parametrize(
    ("section", "settings"),
    [
        ("ASP.NET Core", ASP_NET),
        ("IIS", IIS),
        ("fastapi-spnego", FASTAPI_SPNEGO),
        ("asgi-gssapi", ASGI_GSSAPI),
        ("flask-gssapi", FLASK_GSSAPI),
        ("lighttpd and nginx", NGINX | LIGHTTPD),
    ],
)
def test_every_setting_of_theirs_has_a_row(section: str, settings: set[str]) -> None:
    cells = there(section)

    assert {name for name in settings if not re.search(rf"(?<!\w){re.escape(name)}(?!\w)", cells)} == set()


def test_every_directive_of_the_installed_apache_module_has_a_row() -> None:
    module = MODULES / "modules" / "mod_auth_gssapi.so"
    if not module.exists():
        pytest.skip(f"{module} isn't installed")
    strings = re.findall(rb"Gssapi[A-Za-z0-9]+(?=\0)", module.read_bytes())
    directives = {name.decode() for name in strings}

    rows = set(re.findall(r"Gssapi\w+", there("Apache: mod_auth_gssapi")))

    assert len(directives) > 20
    assert directives <= rows


def test_every_setting_that_runs_beside_apache_is_on_the_page() -> None:
    lines = "\n".join(apache.SETTINGS.values())

    assert set(re.findall(r"Gssapi\w+", lines)) <= set(re.findall(r"Gssapi\w+", there("Apache: mod_auth_gssapi")))


def spans(text: str) -> list[str]:
    """Code in blocks and between backticks, but for what others call theirs: a table's first cells."""
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    ours = re.sub(r"^\|.*? \| ", "", re.sub(r"```.*?```", "", text, flags=re.DOTALL), flags=re.MULTILINE)
    return blocks + re.findall(r"`([^`\n]+)`", ours)


def options(text: str) -> list[tuple[str, str]]:
    """What is called, and which options are named; an option by itself is the middleware's."""
    found: list[tuple[str, str]] = []
    for span in spans(text):
        try:
            tree = ast.parse(span.replace("…", "...").strip())
        except SyntaxError:
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                name = "NegotiateMiddleware" if name == "app.add_middleware" else name
                found += [(name, keyword.arg) for keyword in node.keywords if keyword.arg]
        if "\n" not in span and isinstance(tree.body[0], ast.Assign) and isinstance(tree.body[0].targets[0], ast.Name):
            found.append(("NegotiateMiddleware", tree.body[0].targets[0].id))
    return found


@pytest.mark.parametrize("page", PAGES)
def test_every_option_that_the_page_names_is_one_of_ours(page: str) -> None:
    ours = [(name, option) for name, option in options((DOCS / page).read_text()) if name in CALLABLES]

    assert ours
    assert [each for each in ours if each[1] not in inspect.signature(CALLABLES[each[0]]).parameters] == []


def test_an_option_that_is_none_would_be_found() -> None:
    text = "Say `Acceptor(keytap=…)`.\n\n| `theirs=1` | `basics=True` | `Policy(pac=…)` |\n"

    assert options(text) == [("Acceptor", "keytap"), ("NegotiateMiddleware", "basics"), ("Policy", "pac")]


# asgiref looks whether a server's send is an ``async def``, and warns where it only returns what can be awaited
def test_a_flask_app_finds_the_user_where_apache_put_it(monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = (block for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "WsgiToAsgi" in block)
    acceptor = ScriptedAcceptor({b"Alice": (user("alice@CORP.EXAMPLE"), None)}, realms=frozenset({"CORP.EXAMPLE"}))
    names: dict[str, Any] = {
        "Acceptor": lambda **_: acceptor,
        "NegotiateMiddleware": NegotiateMiddleware,
    }

    exec(compile(block, "docs/migration.md", "exec"), names)
    nobody, alice = (asyncio.run(Client(names["app"]).get(token)) for token in (None, b"Alice"))

    assert (nobody.status, alice.status, alice.body) == (401, 200, b"Hello alice@CORP.EXAMPLE")
