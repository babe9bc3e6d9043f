"""Two nodes behind HAProxy, one Redis, one KDC, and many users who ask at a steady rate, whatever happens to the rest.

Law: a request that fails is counted, and by whose fault; what happens meanwhile is what operators do. By hand, longer
and faster than in the tests: ``python -m tests.cluster.running --rate 300 --seconds 60``.
"""

import argparse
import asyncio
import random
import re
import tempfile
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import gssapi

from negotiate_mw.testing import KerberosRealm
from tests.integration.serving import Server
from tests.proxies.running import free_ports, haproxy
from tests.store.server import RedisServer

SERVICE = "HTTP/localhost"
USERS = 10
CLIENTS = 60  # browsers, each with cookies of its own
PATIENCE = 10.0  # seconds for one answer

_BALANCING = """\
frontend all
  bind 127.0.0.1:{port}
  default_backend nodes
backend nodes
  balance roundrobin
  option httpchk GET /healthz
  http-check send hdr Host localhost
  option redispatch 1
  retries 3
  retry-on conn-failure empty-response
  timeout connect 1s
  default-server check inter 200ms fall 1 rise 1
  server a 127.0.0.1:{a}
  server b 127.0.0.1:{b}
"""


class Cluster:
    """What there is, and what an operator does to it."""

    def __init__(self, realm: KerberosRealm, redis: RedisServer, directory: Path) -> None:
        self.realm = realm
        self.redis = redis
        self._directory = directory
        self.port, self._a, self._b = free_ports(3)
        self._ports = {"a": self._a, "b": self._b}
        self._keys = ["the-first-key-0123456789-abcdefghijklm"]
        self._keytab = realm.keytab(SERVICE)
        self._nodes: dict[str, Server] = {}
        self._credentials: dict[str, gssapi.Credentials] = {}

    @contextmanager
    def running(self) -> Iterator[None]:
        for user in range(USERS):
            self.realm.add_user(f"user{user}")
        self.renew_tickets()
        try:
            for name in self._ports:
                (self._directory / name).mkdir()
                self.start(name)
            lines = _BALANCING.format(port=self.port, a=self._a, b=self._b)
            with haproxy(self._directory, [self.port], lines):
                yield
        finally:
            for node in self._nodes.values():
                node.stop()

    def start(self, name: str) -> None:
        env = self.realm.environ() | {
            "KRB5_KTNAME": str(self._keytab),
            "NODE": name,
            "REDIS_URL": self.redis.url,
            "RCACHE": str(self._directory / name),
            "SESSION_KEYS": " ".join(self._keys),
        }
        port = str(self._ports[name])
        self._nodes[name] = Server("tests.cluster.app:app", ["--port", port, "--timeout-keep-alive", "60"], env)

    def kill(self, name: str) -> None:
        self._nodes[name].process.kill()
        self._nodes[name].process.wait()
        self._nodes[name].stop()

    def restart_redis(self) -> None:
        self.redis.stop()
        time.sleep(0.5)
        self.redis.start()

    def rotate_keys(self) -> None:
        """A new key goes in behind the old one on every node; then in front; then the old one goes."""
        new = f"the-next-key-{random.getrandbits(128):032x}"
        for keys in ([*self._keys, new], [new, *self._keys]):
            self._keys = keys
            for name in self._ports:
                self._nodes[name].stop()
                self.start(name)
                time.sleep(0.5)

    def rotate_keytab(self) -> None:
        self.realm.rotate(SERVICE, keep_old=True)
        self.realm.keytab(SERVICE, path=self._keytab)
        self.renew_tickets()

    def renew_tickets(self) -> None:
        for number in range(USERS):
            ccache = self.realm.kinit(f"user{number}")
            self.realm.token(SERVICE, ccache)  # so that the service's ticket is in it
            self._credentials[f"user{number}"] = gssapi.Credentials(
                usage="initiate", store={"ccache": f"FILE:{ccache}"}
            )

    def token(self, user: str) -> bytes:
        name = gssapi.Name(f"{SERVICE}@{self.realm.name}", gssapi.NameType.kerberos_principal)
        context = gssapi.SecurityContext(name=name, creds=self._credentials[user], usage="initiate")
        return context.step() or b""


class Browser:
    """One user's, with its cookie."""

    def __init__(self, cluster: Cluster, user: str) -> None:
        self._cluster = cluster
        self._user = user
        self._cookie: bytes | None = None

    async def ask(self) -> str:
        """What a page view came to."""
        try:
            async with asyncio.timeout(PATIENCE):
                status, name = await self._request(None)
                kind = "session"
                for _ in range(2):  # a token that went lost with its node is a replay on the next
                    if status == 401:
                        kind = "log-in"
                        status, name = await self._request(self._cluster.token(self._user))
        except (TimeoutError, OSError, asyncio.IncompleteReadError) as error:
            return f"no answer: {type(error).__name__}"
        if status == 200:
            return kind if name == f"{self._user}@{self._cluster.realm.name}" else f"WRONG: {name} for {self._user}"
        return f"{status} of {'the app' if name != 'haproxy' else 'haproxy'}"

    async def _request(self, token: bytes | None) -> tuple[int, str]:
        lines = [b"GET / HTTP/1.1", b"Host: localhost", b"Connection: close"]
        if self._cookie is not None:
            lines.append(b"Cookie: negotiate-mw=" + self._cookie)
        if token is not None:
            lines.append(b"Authorization: Negotiate " + b64encode(token))
        reader, writer = await asyncio.open_connection("127.0.0.1", self._cluster.port)
        try:
            writer.write(b"\r\n".join([*lines, b"", b""]))
            head, _, body = (await reader.read(-1)).partition(b"\r\n\r\n")
        finally:
            writer.close()
        if not head:
            raise ConnectionResetError
        if cookie := re.search(rb"(?i)set-cookie: negotiate-mw=([^;]*);", head):
            self._cookie = cookie.group(1) or None
        if (length := re.search(rb"(?i)content-length: (\d+)", head)) and len(body) < int(length[1]):
            raise ConnectionResetError  # its node was killed between the answer's head and its body
        is_ours = b"x-node:" in head.lower() or b"Reference:" in body
        return int(head.split(b" ", 2)[1]), body.decode(errors="replace") if is_ours else "haproxy"


async def put_under_load(
    cluster: Cluster, *, rate: float, seconds: float, events: list[Callable[[], None]]
) -> Counter[str]:
    """What became of ``rate`` requests a second, while the events happen one after the other."""
    browsers = [Browser(cluster, f"user{number % USERS}") for number in range(CLIENTS)]
    outcomes: Counter[str] = Counter()
    under_way: set[asyncio.Task[None]] = set()

    async def one(browser: Browser) -> None:
        outcomes[await browser.ask()] += 1

    async def happen() -> None:
        for event in events:
            await asyncio.sleep(seconds / (len(events) + 1))
            await asyncio.to_thread(event)

    happening = asyncio.create_task(happen())
    begun, asked = time.monotonic(), 0
    while not happening.done() or time.monotonic() - begun < seconds:
        if asked < (time.monotonic() - begun) * rate:
            task = asyncio.create_task(one(random.choice(browsers)))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
            asked += 1
        else:
            await asyncio.sleep(1 / rate)
        if happening.done() and not happening.cancelled():
            happening.result()
    if under_way:
        await asyncio.wait(under_way)
    return outcomes


def run(realm: KerberosRealm, directory: Path, *, rate: float, seconds: float) -> Counter[str]:
    """Everything that can happen, happens once."""
    with ExitStack() as stack:
        cluster = Cluster(realm, stack.enter_context(RedisServer()), directory)
        stack.enter_context(cluster.running())
        events = [
            lambda: cluster.kill("a"),
            lambda: cluster.start("a"),
            cluster.restart_redis,
            cluster.rotate_keys,
            cluster.rotate_keytab,
        ]
        return asyncio.run(put_under_load(cluster, rate=rate, seconds=seconds, events=events))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rate", type=float, default=300)
    parser.add_argument("--seconds", type=float, default=60)
    options = parser.parse_args()
    with KerberosRealm() as own, tempfile.TemporaryDirectory() as scratch, own.apply():
        own.add_service(SERVICE)
        found = run(own, Path(scratch), rate=options.rate, seconds=options.seconds)
    for what, how_often in found.most_common():
        print(f"{how_often:8} {what}")
