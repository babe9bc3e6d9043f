"""What one theme's check says of some options."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from negotiate_mw.doctor.deployed import Deployed, of_options
from negotiate_mw.doctor.report import Level, Line


def deployed(keytab: Path | str = "/nowhere/http.keytab", **fields: Any) -> Deployed:
    """These options, and defaults for the others."""
    options = of_options(keytab=str(keytab))
    return Deployed(keytab_path=options.keytab_path, replay_file=options.replay_file, **fields)


def alarms(lines: Iterable[Line]) -> list[tuple[str, str]]:
    """Level and cause of what isn't in order."""
    return [(line.level.value, line.cause) for line in lines if line.level in (Level.WARNING, Level.PROBLEM)]
