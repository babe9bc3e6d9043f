"""Real browsers that find a page's files where the page says they belong.

Law: nothing of this machine's /etc is touched: a browser sees the test's files laid over it, in a mount namespace of
its own, which takes root. What was started is ended by its pid, and its helpers by their group.
"""

import json
import os
import re
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from tests.parity.chromium import Browser

SECONDS = 90.0  # for a browser to start, or a page to load; a loaded CI machine takes long

OVER_ETC = 'mount -t overlay overlay -o "lowerdir=$0:/etc" /etc; exec "$@"'
CHROMIUM = r"""#!/bin/bash
# the browser of tests/parity, without its option that does what the policy has to do
options=({options})
for option in "$@"; do [[ $option == --auth-server-allowlist=* ]] || options+=("$option"); done
exec unshare --mount bash -euc '{over}' {etc} {chromium} "${options[@]}"
"""


def lay_over_etc(folder: Path, files: Mapping[str, str]) -> Path:
    """Files, by their names as a page has them (``/etc/…``), in a directory that stands for /etc."""
    for name, text in files.items():
        path = folder / name.removeprefix("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "etc"


def chromium_with(etc: Path, folder: Path, options: str = "") -> str:
    """A PATH whose ``chromium`` sees ``etc`` laid over /etc, and is started with more options."""
    script = folder / "bin" / "chromium"
    script.parent.mkdir()
    words = {"{over}": OVER_ETC, "{options}": options, "{etc}": str(etc), "{chromium}": str(shutil.which("chromium"))}
    text = CHROMIUM
    for word, value in words.items():
        text = text.replace(word, value)
    script.write_text(text)
    script.chmod(stat.S_IRWXU)
    return f"{script.parent}{os.pathsep}{os.environ['PATH']}"


class FirstPage(Browser):
    """The page that a browser starts with; in an incognito one, further pages would be of the ordinary profile."""

    def _do(self, method: str, **parameters: object) -> dict[str, Any]:
        if method != "Target.createTarget":
            return super()._do(method, **parameters)
        deadline = time.monotonic() + SECONDS
        while True:
            pages = [target for target in super()._do("Target.getTargets")["targetInfos"] if target["type"] == "page"]
            if pages:
                return {"targetId": pages[0]["targetId"]}
            assert time.monotonic() < deadline
            time.sleep(0.05)


def firefox_program() -> str | None:
    return shutil.which("firefox-esr") or shutil.which("firefox")


@contextmanager
def firefox(etc: Path, env: Mapping[str, str], *, private: bool = False, preferences: str = "") -> Iterator["Firefox"]:
    """A Firefox without a window, which sees ``etc`` laid over /etc, for a ``with`` block.

    Args:
        private: in a private window.
        preferences: the profile's ``user.js``.
    """
    profile = Path(tempfile.mkdtemp(prefix="negotiate-mw-firefox-"))
    (profile / "user.js").write_text(preferences)
    log = profile / "log"
    window = ["-private-window"] if private else []
    options = ["--headless", "--no-remote", "--profile", str(profile), "--remote-debugging-port=0", *window]
    unwanted = ("DBUS_SESSION_BUS_ADDRESS", "DISPLAY")
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["unshare", "--mount", "bash", "-euc", OVER_ETC, str(etc), str(firefox_program()), *options, "about:blank"],
            env={name: value for name, value in env.items() if name not in unwanted} | {"HOME": str(profile)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # its helpers are in its group, and in no other's
        )
    try:
        deadline = time.monotonic() + SECONDS
        while not (found := re.search(r"WebDriver BiDi listening on (ws://\S+)", log.read_text(errors="replace"))):
            assert process.poll() is None, log.read_text(errors="replace")
            assert time.monotonic() < deadline, log.read_text(errors="replace")
            time.sleep(0.1)
        with connect(f"{found[1]}/session", max_size=None, proxy=None, open_timeout=SECONDS) as socket:
            yield Firefox(socket)
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


class Firefox:
    """A browser with one page, spoken to by WebDriver BiDi."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._ids = 0
        self._do("session.new", capabilities={"alwaysMatch": {"unhandledPromptBehavior": {"default": "dismiss"}}})
        self._page: str = self._do("browsingContext.getTree")["contexts"][0]["context"]

    def visit(self, url: str) -> str:
        """Go to a page; its source, as it came."""
        self._do("browsingContext.navigate", context=self._page, url=url, wait="complete")
        found = self._do(
            "script.evaluate",
            expression="document.documentElement.textContent",
            target={"context": self._page},
            awaitPromise=False,
        )
        return str(found["result"]["value"])

    def _do(self, method: str, **parameters: object) -> dict[str, Any]:
        self._ids += 1
        self._socket.send(json.dumps({"id": self._ids, "method": method, "params": parameters}))
        while True:
            message: dict[str, Any] = json.loads(self._socket.recv(SECONDS))
            if message.get("id") == self._ids:
                assert message["type"] == "success", message
                result: dict[str, Any] = message["result"]
                return result
