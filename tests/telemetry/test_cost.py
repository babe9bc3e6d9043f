"""A log-in that succeeds pays for no refusal's explanation and, unless somebody listens, for no metric."""

import asyncio
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest

from negotiate_mw import Acceptor, NegotiateMiddleware, telemetry
from negotiate_mw.testing import KerberosRealm
from tests.shell.driving import Client, Site

HTTP = "HTTP/localhost"


@contextmanager
def calls() -> Iterator[Counter[str]]:
    """Which functions of the package are called, as ``"telemetry.logged_in"``."""
    seen: Counter[str] = Counter()

    def note(frame: FrameType, event: str, _: object) -> None:
        package, _, module = frame.f_globals.get("__name__", "").partition(".")
        if event == "call" and package == "negotiate_mw":
            seen[f"{module}.{frame.f_code.co_name}"] += 1

    sys.setprofile(note)
    try:
        yield seen
    finally:
        sys.setprofile(None)


def test_a_log_in_calls_three_functions_that_tell_of_it_and_nothing_that_explains_refusals(
    kerberos_realm: KerberosRealm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telemetry, "_metrics", False)
    monkeypatch.setattr(telemetry._LOG, "isEnabledFor", lambda level: False)  # whatever other tests have set
    acceptor = Acceptor(keytab=kerberos_realm.keytab(HTTP), rcache=tmp_path, offload="never")
    app = NegotiateMiddleware(Site(), acceptor=acceptor)
    alice = kerberos_realm.kinit("alice")

    async def log_in() -> Counter[str]:
        first, second = kerberos_realm.token(HTTP, alice), kerberos_realm.token(HTTP, alice)
        assert (await Client(app).get(first)).status == 200  # it looks around
        with calls() as seen:
            assert (await Client(app).get(second)).status == 200
        return seen

    seen = asyncio.run(log_in())

    telling = {name: count for name, count in seen.items() if name.startswith("telemetry.")}
    modules = {name.partition(".")[0] for name in seen}
    assert telling == {"telemetry.stepped": 1, "telemetry.logged_in": 1}
    assert not modules & {"refusal", "refusal_log", "refusal_page", "diagnosis", "causes", "decoding", "metrics"}
    assert "accept" in modules
