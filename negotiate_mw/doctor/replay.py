"""The replay cache of this node, and the one that nodes share."""

from collections.abc import Iterator

from negotiate_mw.doctor.deployed import Deployed
from negotiate_mw.doctor.report import Line, ok, problem, told, warning


def examine(deployed: Deployed) -> Iterator[Line]:
    """Whether it can be used, by whoever runs this."""
    file = deployed.replay_file
    if not file.is_known:
        yield warning("replay-cache-off", value=file.store_value)
        return
    if sentence := file.problem():
        yield told("replay-cache", sentence)
        return
    if locked := file.locked():
        yield problem("replay-cache-locked", file=locked)
        return
    yield ok(f"the replay cache {file.store_value.removeprefix('file2:')} is ours to write")
    if deployed.replay is not None:
        yield ok("nodes share one besides: RedisReplayCache")
