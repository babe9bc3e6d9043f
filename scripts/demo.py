"""The demo: boots a throwaway realm and the example app, logs in to it with curl, and shows how a browser does.

Without a KDC it makes a file of users instead, and the log-in is NTLM. Law: whatever it starts it ends, by pid, and its
files live in a temporary directory that goes when it ends.
"""

import argparse
import json
import os
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from types import FrameType

from negotiate_mw.testing import KerberosRealm, RealmError, RealmUnavailable

SCRIPTS = Path(__file__).resolve().parent
EXAMPLES = SCRIPTS.parent / "examples"
SPN = "HTTP/localhost"
DOMAIN = "DEMO"
START_SECONDS = 20.0

BROWSE = """
To see it in a browser on this machine, in another terminal:

  export KRB5_CONFIG={krb5_conf} KRB5CCNAME=FILE:{directory}/browser.ccache
  echo {password} | {kinit} alice
  {chromium} --user-data-dir={profile} --auth-server-allowlist=localhost {url}

or with Firefox, from that same terminal: `firefox --no-remote --profile {firefox} {url}`,
which has in about:config, network.negotiate-auth.trusted-uris: localhost
"""


BROWSE_NTLM = """
To see it in a browser on this machine, open {url} and type

  user      {user}
  password  {password}
"""


@contextmanager
def app_server(app: str, env: Mapping[str, str]) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """An app on uvicorn, and its URL; stopped at the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["uvicorn", app, "--app-dir", str(EXAMPLES), "--port", str(port), "--log-level", "warning"]
    server = subprocess.Popen(
        [sys.executable, "-m", *command],
        env=dict(env),
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


def log_in(url: str, scheme: str, user: str, env: Mapping[str, str]) -> str:
    """What the app answers to a real client, which is shown first."""
    print(f"  $ {shlex.join(['curl', scheme, '-u', user, url])}")
    command = ["curl", "--silent", "--show-error", "--fail", "--noproxy", "localhost", scheme, "-u", user, url]
    done = subprocess.run(command, env=dict(env), capture_output=True, text=True, timeout=30)
    if done.returncode != 0:
        features = subprocess.run(["curl", "--version"], capture_output=True, text=True).stdout
        needed = {"--negotiate": "GSS-API", "--ntlm": "NTLM"}[scheme]
        cure = "" if needed in features.split() else f" (this curl is built without {needed})"
        raise RealmError(f"curl {scheme}", done.stderr + done.stdout + cure)
    print(f"  {done.stdout}")
    return str(json.loads(done.stdout)["principal"])


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


def kerberos_demo(*, once: bool) -> bool:
    """False where there is no KDC to show it with."""
    try:
        realm = KerberosRealm().__enter__()
    except RealmUnavailable as exc:
        print(f"{exc}\nSo there is no KDC here; without one, NTLM with a file of users:", file=sys.stderr)
        return False
    with closing(realm):
        password = realm.add_user("alice")
        realm.add_service(SPN)
        print(f"A Kerberos realm {realm.name} is up, with the user alice and a key for {SPN}.")
        env = realm.environ() | {"KRB5_KTNAME": str(realm.keytab(SPN)), "SESSION_KEY": secrets.token_urlsafe(32)}
        with app_server("whoami:app", env) as (url, server):
            print(f"examples/whoami is up at {url}\n")
            principal = log_in(url, "--negotiate", ":", realm.environ(realm.kinit("alice")))
            print(f"alice sent a ticket and no password; the app sees {principal}.")
            if not once:
                print(browsing(realm, password, url))
                stay(server)
    return True


def ntlm_demo(*, once: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="negotiate-mw-demo-") as directory:
        users, password = Path(directory) / "users.txt", secrets.token_urlsafe(12)
        users.touch(0o600)
        make = [sys.executable, "-m", "negotiate_mw.cli", "ntlm-hash", DOMAIN, "alice", "-"]
        users.write_bytes(subprocess.run(make, input=password.encode(), capture_output=True, check=True).stdout)
        print(f"A file of NTLM users is there, with alice of {DOMAIN} (negotiate-mw ntlm-hash {DOMAIN} alice).")
        keys = {"NTLM_USERS": str(users), "SESSION_KEY": secrets.token_urlsafe(32)}
        env = {**os.environ, **keys, "PYTHONPATH": str(SCRIPTS)}
        with app_server("demo_ntlm_app:app", env) as (url, server):
            print(f"scripts/demo_ntlm_app.py is up at {url}\n")
            user = f"{DOMAIN}\\alice"
            principal = log_in(url, "--ntlm", f"{user}:{password}", os.environ)
            print(f"alice proved that she knows her password, and didn't send it; the app sees {principal}.")
            if not once:
                print(BROWSE_NTLM.format(url=url, user=user, password=password))
                stay(server)


def stay(server: subprocess.Popen[bytes]) -> None:
    """Until Ctrl-C."""
    print("Ctrl-C ends it all.", flush=True)
    if server.wait():
        raise RealmError("uvicorn", "ended by itself; what it said is above")


def end(signum: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + signum)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="scripts/demo", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--once", action="store_true", help="end after the request")
    parser.add_argument("--ntlm", action="store_true", help="show NTLM with a file of users, without a KDC")
    arguments = parser.parse_args()
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, end)
    try:
        if not arguments.ntlm and kerberos_demo(once=arguments.once):
            sys.exit()
        ntlm_demo(once=arguments.once)
    except KeyboardInterrupt:
        print()
    except RealmError as exc:
        sys.exit(f"demo: {exc}")
