"""The order of the modules, and the purity of the core: imports only go up the list."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "negotiate_mw"
ORDER = [
    "extras",
    "status", "errors", "wire", "ntlm_users", "pool", "private_files", "delegation", "identity", "local_names",
    "refusal", "causes", "metrics", "telemetry", "policy", "handshake", "backends", "redis_store", "replay", "accept",
    "basic", "connection", "contexts", "bound", "bindings", "client", "origin", "exempt", "groups", "directory",
    "ldap", "sessions", "diagnosis", "refusal_log", "lifespan", "lifetime", "respond", "refusal_page", "middleware",
    "forward_auth", "servers", "testing", "decoding", "doctor", "cli",
]  # fmt: skip
LIBRARIES = {
    "backends/gssapi.py": {"gssapi"}, "backends/password.py": {"gssapi"}, "backends/winbind.py": {"gssapi"},
    "delegation.py": {"gssapi"}, "middleware.py": {"starlette"}, "servers/uvicorn.py": {"uvicorn"},
    "servers/hypercorn.py": {"hypercorn"}, "forward_auth/command.py": {"uvicorn"},
    "servers/gunicorn.py": {"uvicorn", "uvicorn_worker"}, "metrics.py": {"opentelemetry"},
    "bindings.py": {"cryptography"}, "sessions/sealing.py": {"cryptography"}, "redis_store.py": {"redis"},
    "directory/child.py": {"bonsai"}, "directory/login.py": {"gssapi"}, "backends/ntlmv2.py": {"spnego"},
    "backends/sspi.py": {"sspilib"}, "doctor/packages.py": {"gssapi"}, "doctor/ccache.py": {"gssapi"},
    "doctor/exchange.py": {"gssapi"}, "doctor/server.py": {"uvicorn"}, "doctor/tls.py": {"cryptography"},
    "client/auth.py": {"httpx"}, "client/sending.py": {"httpx"}, "client/pinned.py": {"httpx"},
    "client/offload.py": {"anyio"}, "client/kerberos.py": {"gssapi"}, "client/ntlm.py": {"spnego"},
    "testing/plugin.py": {"pytest"}, "testing/tickets.py": {"gssapi"}, "testing/realm.py": {"gssapi"},
}  # fmt: skip
IMPURE = {"asyncio", "logging", "os", "random", "secrets", "socket", "threading", "time"}
PURE = ["causes.py", "diagnosis.py", "handshake.py", "identity.py", "ntlm_users.py", "policy.py", "contexts.py", "bound.py", "origin.py", "sessions/record.py", "directory/names.py", *(f"wire/{n}.py" for n in ("ccache", "claims", "claims_compression", "delegation_info", "http", "spnego", "kerberos", "keytab", "logon_info", "ntlm", "pac"))]  # fmt: skip # noqa: E501
MODULES = sorted(PACKAGE.rglob("*.py"))


def imports(module: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join(["negotiate_mw", *module.relative_to(PACKAGE).parts[: -node.level], base]).rstrip(".")
            found |= {f"{base}.{alias.name}" if base == "negotiate_mw" else base for alias in node.names}
    return found


@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module.relative_to(PACKAGE)))
def test_a_module_imports_only_what_is_above_it_and_at_most_its_own_library(module: Path) -> None:
    name = str(module.relative_to(PACKAGE))
    place = name.removesuffix(".py").split("/")[0]

    ours = {found.split(".")[1] for found in imports(module) if found.startswith("negotiate_mw.")}
    libraries = {found.split(".")[0] for found in imports(module)} - set(sys_modules()) - {"negotiate_mw"}

    if place != "__init__":
        assert all(ORDER.index(other) <= ORDER.index(place) for other in ours), f"{name} imports {sorted(ours)}"
    assert libraries <= LIBRARIES.get(name, set())


@pytest.mark.parametrize("name", PURE)
def test_the_core_has_no_clock_socket_logger_or_await(name: str) -> None:
    module = PACKAGE / name

    impure = {found.split(".")[0] for found in imports(module)} & IMPURE
    awaits = [
        node for node in ast.walk(ast.parse(module.read_text())) if isinstance(node, ast.Await | ast.AsyncFunctionDef)
    ]

    assert not impure
    assert not awaits


def sys_modules() -> frozenset[str]:
    import sys

    return sys.stdlib_module_names
