"""Pictures of the pages that people see, taken of a real Chromium: ``python -m tests.parity.screenshots [FOLDER]``.

Law: what is shown is served by the examples themselves; names and numbers in it are this realm's.
"""

import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from negotiate_mw.testing import KerberosRealm
from tests.integration.samba_ad import SambaAD
from tests.integration.serving import ROOT, Server, serve

from .chromium import chromium, window

IMAGES = ROOT / "docs" / "images"
HTTP = "HTTP/localhost"


@contextmanager
def whoami(realm: KerberosRealm | SambaAD, **options: str) -> Iterator[Server]:
    """``examples/whoami`` with sessions, as ``scripts/demo`` serves it; ``options`` are its environment's."""
    keys = {"KRB5_KTNAME": str(realm.keytab(HTTP)), "SESSION_KEY": secrets.token_urlsafe(32)}
    with serve("whoami:app", "--app-dir", str(ROOT / "examples"), env=realm.environ() | keys | options) as server:
        yield server


def take(realm: KerberosRealm | SambaAD, folder: Path, **options: str) -> list[Path]:
    """Write the pictures; which ones there are."""
    folder.mkdir(parents=True, exist_ok=True)
    taken = []
    with whoami(realm, **options) as server:
        for name, env in (("whoami", realm.environ(realm.kinit("alice"))), ("refused", realm.environ())):
            with chromium(env) as url, window(url, private=False) as browser:
                for dark in (False, True):
                    browser.look(dark=dark, width=900, height=880)
                    browser.visit(server.url)
                    path = folder / f"{name}-{'dark' if dark else 'light'}.png"
                    path.write_bytes(browser.picture())
                    taken.append(path)
    return taken


if __name__ == "__main__":
    with SambaAD() as realm:
        for path in take(realm, Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES, GROUPS="pac"):
            print(path)
