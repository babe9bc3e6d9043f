"""A load of so many requests a second, whatever the server does with them, and how long each one took.

    python -m benchmarks.paced PORT TOKENS RATE SECONDS even|random CONNECTIONS

Law: a request's time counts from when it was due, not from when a connection was free for it, so that a server that
stalls can't hide it. It spins, so it needs a core of its own. Prints JSON: microseconds, sorted.
"""

import gc
import json
import random
import select
import socket
import sys
from collections import deque
from pathlib import Path
from time import perf_counter

from benchmarks.bare import BODY, PATH


def requests(file: Path, count: int) -> list[bytes]:
    """What goes over the wire, one for each line of the file."""
    lines = file.read_text().splitlines()[:count]
    if len(lines) < count:
        raise RuntimeError(f"{count} tokens are needed, there are {len(lines)}")
    return [f"GET {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: {line}\r\n\r\n".encode() for line in lines]


def due(count: int, rate: float, arrivals: str) -> list[float]:
    """Seconds from the beginning: evenly apart, or as independent users come (a Poisson process)."""
    if arrivals == "even":
        return [index / rate for index in range(count)]
    times, at, dice = [], 0.0, random.Random(count)
    for _ in range(count):
        at += dice.expovariate(rate)
        times.append(at)
    return times


def latencies(port: int, sent: list[bytes], times: list[float], connections: int) -> list[float]:
    """Microseconds from each request's time to the last byte of its answer."""
    sockets = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(connections)]
    poll = select.epoll()
    by_number = {each.fileno(): each for each in sockets}
    for each in sockets:
        each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        each.setblocking(False)
        poll.register(each, select.EPOLLIN)
    idle, waiting, since, parts = deque(sockets), deque[float](), dict[int, float](), dict[int, bytes]()
    took: list[float] = []
    issued = asked = 0
    gc.disable()
    began = perf_counter()
    while len(took) < len(sent):
        now = perf_counter() - began
        if now > times[-1] + 30:
            raise RuntimeError(f"{len(sent) - len(took)} requests weren't answered within 30 s")
        while issued < len(times) and times[issued] <= now:
            waiting.append(times[issued])
            issued += 1
        while waiting and idle:
            free = idle.popleft()
            since[free.fileno()] = waiting.popleft()
            free.send(sent[asked])
            asked += 1
        for number, _ in poll.poll(0):
            answer = parts.pop(number, b"") + by_number[number].recv(65536)
            if not answer.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"the answer was {answer[:200]!r}")
            if answer.endswith(BODY):
                took.append((perf_counter() - began - since.pop(number)) * 1e6)
                idle.append(by_number[number])
            else:
                parts[number] = answer
    for each in sockets:
        each.close()
    return took


def main() -> None:
    port, file, rate, seconds, arrivals, connections = sys.argv[1:]
    count = int(float(rate) * float(seconds))
    times = due(count, float(rate), arrivals)
    took = latencies(int(port), requests(Path(file), count), times, int(connections))
    print(json.dumps([round(each, 1) for each in sorted(took)]))


if __name__ == "__main__":
    main()
