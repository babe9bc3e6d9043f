"""Which requests need no authentication, by their path.

Law: a pattern can only ever match the path that the app routes by, and nothing that some layer might read as another
path; when in doubt, a request isn't exempt.
"""

import re
from collections.abc import Callable, Collection, MutableMapping
from typing import Any

from negotiate_mw import telemetry
from negotiate_mw.errors import ConfigurationError

Scope = MutableMapping[str, Any]

# decoded once already: what is left of an encoded slash, backslash, dot or NUL was meant for the next layer
_AMBIGUOUS = re.compile(r"\.\.|//|/\./|[\\\0]|%(?:2[fFeE5]|5[cC]|00)")
_PERCENT = ord("%")  # looking for a number in bytes takes a quarter of the time
_AMBIGUOUS_RAW = (b"%2f", b"%2e", b"%5c", b"%00", b"%25")


def compile_exempt(exempt: Collection[str] | Callable[[Scope], bool]) -> Callable[[Scope], bool]:
    """Make one predicate of the ``exempt`` option.

    Args:
        exempt: exact paths (``"/healthz"``) and whole segments (``"/static/*"``), or a function of the scope; one
            that raises means no.

    Raises:
        ConfigurationError: a pattern that could never match, or would match more than it says.
    """
    if callable(exempt):
        return _careful(exempt)
    if isinstance(exempt, str):
        raise ConfigurationError(f'NegotiateMiddleware(exempt={exempt!r}): give a tuple, exempt=("{exempt}",)')
    given: object = exempt  # the annotation is what an operator may have got wrong
    for pattern in given if isinstance(given, Collection) else (given,):
        if not _is_pattern(pattern):
            raise ConfigurationError(
                f'NegotiateMiddleware(exempt=…): {pattern!r} is no pattern; give paths such as "/healthz", '
                'or whole segments such as "/static/*"'
            )
    if not exempt:
        return _nothing
    exact = frozenset(pattern for pattern in exempt if not pattern.endswith("*"))
    prefixes = frozenset(pattern[:-1] for pattern in exempt if pattern.endswith("*"))
    longest = max(map(len, prefixes), default=0)

    def is_exempt(scope: Scope) -> bool:
        path: str = scope["path"]
        if scope.get("root_path"):
            path = _route_path(path, scope["root_path"])
        if path in exact or (prefixes and _has_prefix(path, prefixes, longest)):
            raw = scope.get("raw_path")
            return raw is None or _PERCENT not in raw or not any(code in raw.lower() for code in _AMBIGUOUS_RAW)
        return False

    return is_exempt


def _is_pattern(pattern: object) -> bool:
    if not isinstance(pattern, str):
        return False
    path = pattern.removesuffix("*")
    whole = path == pattern or path.endswith("/")
    return path.startswith("/") and "*" not in path and whole and not _is_ambiguous(path)


def _nothing(_: Scope) -> bool:
    return False


def _careful(exempt: Callable[[Scope], bool]) -> Callable[[Scope], bool]:
    def is_exempt(scope: Scope) -> bool:
        try:
            return exempt(scope) is True
        except Exception as error:  # noqa: BLE001 - the app's own code
            telemetry.app_failed("NegotiateMiddleware(exempt=…)", error)
            return False

    return is_exempt


def _route_path(path: str, root: str) -> str:
    """The path below the root path and mounts, by which Starlette routes as well."""
    if path.startswith(root) and path[len(root) : len(root) + 1] in ("", "/"):
        return path[len(root) :]
    return path


def _has_prefix(path: str, prefixes: frozenset[str], longest: int) -> bool:
    # no further than the longest prefix: a path of a million slashes would take minutes
    end = path.find("/", 1, longest)
    while end != -1:
        if path[: end + 1] in prefixes:
            return not _is_ambiguous(path)
        end = path.find("/", end + 1, longest)
    return "/" in prefixes and not _is_ambiguous(path)


def _is_ambiguous(path: str) -> bool:
    return _AMBIGUOUS.search(path) is not None
