"""What is examined: the options of an app's middleware, or those of the command line.

Law: nothing is acquired, served or asked here; importing the app is all that happens to it.
"""

import importlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from negotiate_mw.accept import Acceptor
from negotiate_mw.backends.keytab import Keytab
from negotiate_mw.backends.replay_file import ReplayFile
from negotiate_mw.errors import ConfigurationError
from negotiate_mw.middleware import NegotiateMiddleware
from negotiate_mw.policy import Limits, Policy

_MAX_DEPTH = 20  # layers around an app
_INNER = ("app", "application", "asgi", "asgi_app", "_app")  # what wrappers call the app inside


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """One middleware's options, as far as checks look at them.

    Attributes:
        keytab_path: as the option has it; None: the environment says which.
        replay_file: the replay cache on this node.
        service: first component of the names, ``"HTTP"``.
        hosts: host names of ``Acceptor(hostname=…)``, or those asked about.
        mechanisms: what clients may use.
        accepts: False: it isn't an ``Acceptor``, so there are neither keys nor names.
        is_dev: it is the one for laptops, which asks for no proof.
        basic: it takes passwords too.
    """

    keytab_path: str | os.PathLike[str] | None
    replay_file: ReplayFile
    service: str = "HTTP"
    hosts: tuple[str, ...] = ()
    mechanisms: frozenset[str] = frozenset({"kerberos"})
    accepts: bool = True
    is_dev: bool = False
    limits: Limits = field(default_factory=Limits)
    policy: Policy | None = None
    ntlm_users: str | os.PathLike[str] | None = None
    replay: Any = None
    sessions: Any = None
    groups: Any = None
    basic: bool = False
    connection_bound: bool = False

    @property
    def keytab(self) -> Keytab:
        """The keytab as it is now; a new object each time, for checks run at once."""
        keytab = Keytab(self.keytab_path, self.service)
        keytab.look_again()
        return keytab

    @property
    def names_hosts(self) -> tuple[str, ...]:
        """The hosts that clients ask for, as far as options or keytab tell, in order."""
        held = {entry.components[1] for entry in self.keytab.entries if self._is_ours(entry.components)}
        return self.hosts or tuple(sorted(held))

    def _is_ours(self, components: tuple[str, ...]) -> bool:
        return len(components) == 2 and components[0] == self.service


def of_options(
    *, keytab: str | None = None, service: str = "HTTP", hostname: tuple[str, ...] = (), rcache: str | None = None
) -> Deployed:
    """What ``Acceptor`` with these options would use."""
    Acceptor(service=service, hostname=hostname or None)  # which checks them
    return Deployed(keytab_path=keytab, replay_file=ReplayFile(rcache), service=service, hosts=hostname)


def of_app(app: object) -> list[Deployed]:
    """The options of every NegotiateMiddleware that is found in or around an app.

    Raises:
        ConfigurationError: there is none.
    """
    deployed = [_of(middleware) for middleware in _middlewares(app, 0)]
    if not deployed:
        raise ConfigurationError(
            f"no NegotiateMiddleware was found in {type(app).__name__}: name the outermost app, or leave the app out "
            "and give --keytab"
        )
    return deployed


def load(path: str) -> object:
    """The app at ``"module:attribute"``, imported as servers do it, from the current directory too.

    Raises:
        ConfigurationError: there is none.
    """
    module, colon, attribute = path.partition(":")
    if not module or not colon or not attribute:
        raise ConfigurationError(f"{path!r}: name the app as servers do, module:attribute, such as main:app")
    sys.path.insert(0, os.getcwd())
    try:
        app: object = importlib.import_module(module)
        for name in attribute.split("."):
            app = getattr(app, name)
    except ConfigurationError as error:
        raise ConfigurationError(f"{path} can't be imported, since an option is wrong: {error}") from error
    except Exception as error:  # the app's own code
        raise ConfigurationError(f"{path} can't be imported: {type(error).__name__}: {error}") from error
    return app


def _middlewares(app: Any, depth: int) -> Iterator[NegotiateMiddleware]:
    if app is None or depth > _MAX_DEPTH:
        return
    if isinstance(app, NegotiateMiddleware):
        yield app
    for layer in getattr(app, "user_middleware", None) or ():  # Starlette's, built at the first request only
        if isinstance(layer.cls, type) and issubclass(layer.cls, NegotiateMiddleware):
            yield layer.cls(_nothing, *layer.args, **layer.kwargs)
    for route in getattr(app, "routes", None) or ():
        if hasattr(route, "app"):
            yield from _middlewares(route.app, depth + 1)
    inner = next((vars(app)[name] for name in _INNER if name in getattr(app, "__dict__", {})), None)
    if inner is not app and callable(inner):
        yield from _middlewares(inner, depth + 1)


async def _nothing(scope: Any, receive: Any, send: Any) -> None:
    """The app inside of a middleware that serves nobody."""


def _of(middleware: NegotiateMiddleware) -> Deployed:
    acceptor = middleware._acceptor
    options: dict[str, Any] = acceptor._options if isinstance(acceptor, Acceptor) else {}
    service = options.get("service", "HTTP")
    return Deployed(
        keytab_path=options.get("keytab"),
        replay_file=ReplayFile(options.get("rcache")),
        service=service,
        hosts=tuple(options.get("hosts", ())),
        mechanisms=acceptor.mechanisms,
        accepts=isinstance(acceptor, Acceptor),
        is_dev=acceptor.presumed is not None,
        limits=acceptor.limits,
        policy=middleware._policy,
        ntlm_users=getattr(acceptor, "_ntlm_users", None),
        replay=getattr(acceptor, "_replay", None),
        sessions=middleware._sessions,
        groups=middleware._groups,
        basic=middleware._passwords is not None,
        connection_bound=middleware._bound is not None,
    )
