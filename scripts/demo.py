"""The demo: boots a throwaway realm and the example app, logs in to it with curl, and shows how a browser does.

Law: whatever it starts it ends, by pid, and its files live in the realm's temporary directory.
"""

import argparse
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from negotiate_mw.testing import KerberosRealm, RealmError

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
SPN = "HTTP/localhost"
START_SECONDS = 20.0

BROWSE = """
To see it in a browser on this machine, in another terminal:

  export KRB5_CONFIG={krb5_conf} KRB5CCNAME=FILE:{directory}/browser.ccache
  echo {password} | {kinit} alice
  {chromium} --user-data-dir={profile} --auth-server-allowlist=localhost {url}

or with Firefox, from that same terminal: `firefox --no-remote --profile {firefox} {url}`,
which has in about:config, network.negotiate-auth.trusted-uris: localhost
"""


@contextmanager
def app_server(realm: KerberosRealm, keytab: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The example app on uvicorn, and its URL; stopped at the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    app = ["uvicorn", "demo_app:app", "--app-dir", str(EXAMPLES), "--port", str(port), "--log-level", "warning"]
    server = subprocess.Popen(
        [sys.executable, "-m", *app],
        env=realm.environ() | {"KRB5_KTNAME": str(keytab)},
        stdin=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for us, who then end it in order
    )
    try:
        deadline = time.monotonic() + START_SECONDS
        while server.poll() is None:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            if time.monotonic() > deadline:
                raise RealmError("uvicorn", f"does not answer on 127.0.0.1:{port}")
            time.sleep(0.05)
        else:
            raise RealmError("uvicorn", "ended before it served anything; what it said is above")
        yield f"http://localhost:{port}/", server
    finally:
        server.terminate()
        try:
            server.wait(5)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def log_in(realm: KerberosRealm, url: str) -> str:
    """What the app answers to curl with alice's ticket."""
    command = ["curl", "--silent", "--show-error", "--fail", "--noproxy", "localhost", "--negotiate", "-u", ":", url]
    done = subprocess.run(command, env=realm.environ(realm.kinit("alice")), capture_output=True, text=True, timeout=30)
    if done.returncode != 0:
        features = subprocess.run(["curl", "--version"], capture_output=True, text=True).stdout
        cure = "" if "GSS-API" in features else " (this curl is built without GSS-API)"
        raise RealmError(shlex.join(command), done.stderr + done.stdout + cure)
    return done.stdout


def browsing(realm: KerberosRealm, password: str, url: str) -> str:
    """The commands to type, with profiles made for them."""
    profile, firefox = realm.directory / "chromium", realm.directory / "firefox"
    profile.mkdir()
    firefox.mkdir()
    # without this, a fresh profile leaves its first Negotiate challenge unanswered
    (profile / "Local State").write_text(json.dumps({"net": {"received_http_auth_negotiate_headers": True}}))
    (firefox / "user.js").write_text('user_pref("network.negotiate-auth.trusted-uris", "localhost");\n')
    return BROWSE.format(
        krb5_conf=realm.env["KRB5_CONFIG"],
        directory=realm.directory,
        password=shlex.quote(password),
        kinit=shutil.which("kinit", path=realm.env["PATH"]),
        chromium="chromium --no-sandbox" if os.geteuid() == 0 else "chromium",
        profile=profile,
        firefox=firefox,
        url=url,
    )


def demo(*, once: bool) -> None:
    with KerberosRealm() as realm:
        password = realm.add_user("alice")
        realm.add_service(SPN)
        print(f"A Kerberos realm {realm.name} is up, with the user alice and a key for {SPN}.")
        with app_server(realm, realm.keytab(SPN)) as (url, server):
            print(f"examples/demo_app.py is up at {url}\n")
            print(f"  $ curl --negotiate -u : {url}")
            answer = log_in(realm, url)
            print(f"  {answer}")
            print(f"alice sent a ticket and no password; the app sees {json.loads(answer)['principal']}.")
            if once:
                return
            print(browsing(realm, password, url))
            print("Ctrl-C ends it all.", flush=True)
            if server.wait():
                raise RealmError("uvicorn", "ended by itself; what it said is above")


def end(signum: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + signum)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="scripts/demo", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--once", action="store_true", help="end after the request")
    arguments = parser.parse_args()
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, end)
    try:
        demo(once=arguments.once)
    except KeyboardInterrupt:
        print()
    except RealmError as exc:
        sys.exit(f"demo: {exc}")
