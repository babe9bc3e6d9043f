"""A real Chromium without a window, driven over its DevTools protocol: what would it ask its user?

Law: a profile of its own that goes with it; it talks to this machine alone; what was started is ended by its pid, and
its helpers by its group.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from base64 import b64decode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

SECONDS = 60.0  # for a page to load; a loaded CI machine takes long
MOST_PROMPTS = 5  # then the user gives up
_COLOURS = {False: "light", True: "dark"}
OPTIONS = (
    "--headless",
    "--no-sandbox",  # it won't run as root with one
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--proxy-server=direct://",
    "--remote-debugging-port=0",
    "--auth-server-allowlist=localhost",
    "--ignore-certificate-errors",
)


class Browser:
    """A browser with one page, and a user who answers its password boxes.

    Args:
        socket: leads to the browser.
        private: as a private window: it knows nothing from before, and what it learns is forgotten.
    """

    def __init__(self, socket: ClientConnection, *, private: bool) -> None:
        self._socket = socket
        self._ids = 0
        self._session: str | None = None
        self._loaded = False
        self._user, self._password = "", ""
        self.prompts = 0
        self.statuses: list[int] = []
        window = self._do("Target.createBrowserContext", disposeOnDetach=True) if private else {}
        target = self._do("Target.createTarget", url="about:blank", **window)["targetId"]
        self._session = self._do("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._do("Page.enable")
        self._do("Network.enable")
        self._do("Fetch.enable", handleAuthRequests=True)

    def visit(self, url: str, user: str = "", password: str = "") -> str:
        """Go to a page and answer each password box alike; the text that is seen in the end."""
        self.prompts, self.statuses, self._user, self._password = 0, [], user, password
        self._loaded = False
        self._do("Page.navigate", url=url)
        return self._until_loaded()

    def run(self, script: str) -> Any:
        """What a piece of JavaScript in the page comes to, in the end if it is a promise."""
        found = self._do("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def submit(self, script: str) -> str:
        """Run a script that leads to another page; the text that is seen there."""
        self.prompts, self.statuses, self._loaded = 0, [], False
        self.run(script)
        return self._until_loaded()

    def look(self, *, dark: bool = False, width: int = 900, height: int = 700) -> None:
        """Show the page as on a screen of that size, in the user's light or dark colours."""
        self._do("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": _COLOURS[dark]}])
        self._do("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def picture(self) -> bytes:
        """A PNG of what is to be seen of the page."""
        return b64decode(self._do("Page.captureScreenshot", format="png")["data"])

    def _until_loaded(self) -> str:
        deadline = time.monotonic() + SECONDS
        while not self._loaded:
            assert time.monotonic() < deadline, self.statuses
            self._hear(deadline)
        return str(self.run("document.body.innerText"))

    def _do(self, method: str, **parameters: object) -> dict[str, Any]:
        number = self._send(method, parameters)
        deadline = time.monotonic() + SECONDS
        while True:
            message = self._hear(deadline)
            if message.get("id") == number:
                assert "error" not in message, message
                result: dict[str, Any] = message["result"]
                return result

    def _send(self, method: str, parameters: Mapping[str, object]) -> int:
        self._ids += 1
        session = {} if self._session is None else {"sessionId": self._session}
        self._socket.send(json.dumps({"id": self._ids, "method": method, "params": parameters, **session}))
        return self._ids

    def _hear(self, deadline: float) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self._socket.recv(max(0.1, deadline - time.monotonic())))
        event = message.get("params", {})
        match message.get("method"):
            case "Fetch.requestPaused":
                self._send("Fetch.continueRequest", {"requestId": event["requestId"]})
            case "Fetch.authRequired":  # it would show a password box
                self.prompts += 1
                answer = {"response": "ProvideCredentials", "username": self._user, "password": self._password}
                if not self._user or self.prompts >= MOST_PROMPTS:
                    answer = {"response": "CancelAuth"}
                self._send("Fetch.continueWithAuth", {"requestId": event["requestId"], "authChallengeResponse": answer})
            case "Network.responseReceived" if event["type"] == "Document":
                self.statuses.append(event["response"]["status"])
            case "Page.loadEventFired":
                self._loaded = True
        return message


@contextmanager
def window(url: str, *, private: bool = True) -> Iterator[Browser]:
    """A window of the browser that is there, for a ``with`` block. Tickets are not for private ones."""
    with connect(url, max_size=None, proxy=None, open_timeout=SECONDS) as socket:
        yield Browser(socket, private=private)


@contextmanager
def chromium(env: Mapping[str, str]) -> Iterator[str]:
    """A browser for a ``with`` block, and where it can be reached; ``env`` says whose tickets it finds."""
    program = shutil.which("chromium") or pytest.fail("chromium isn't installed: run scripts/setup test")
    profile = Path(tempfile.mkdtemp(prefix="negotiate-mw-chromium-"))
    # without this, a fresh profile leaves its first Negotiate challenge unanswered
    (profile / "Local State").write_text(json.dumps({"net": {"received_http_auth_negotiate_headers": True}}))
    log = profile / "log"
    unwanted = ("DBUS_SESSION_BUS_ADDRESS", "DISPLAY")
    places = {"HOME": str(profile), "TMPDIR": str(profile)}  # it leaves its lock in the latter
    with log.open("wb") as output:
        process = subprocess.Popen(
            [program, *OPTIONS, f"--user-data-dir={profile}"],
            env={name: value for name, value in env.items() if name not in unwanted} | places,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # its helpers are in its group, and in no other's
        )
    try:
        deadline = time.monotonic() + SECONDS
        while not (found := re.search(r"DevTools listening on (ws://\S+)", log.read_text(errors="replace"))):
            assert process.poll() is None, log.read_text(errors="replace")
            assert time.monotonic() < deadline, log.read_text(errors="replace")
            time.sleep(0.05)
        yield found[1]
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for _ in range(100):  # until the last of its helpers has ended, one may still write
            shutil.rmtree(profile, ignore_errors=True)
            if not profile.exists():
                break
            time.sleep(0.05)
