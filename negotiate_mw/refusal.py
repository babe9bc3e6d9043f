"""What a refused client is told: a status and a reference that finds the log line, and nothing else."""

from dataclasses import dataclass, field
from secrets import token_hex


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """One refusal, as ``on_refused`` gets it.

    Attributes:
        status: the HTTP status: 400, 401, 403, 431 or 503.
        reference: random; the log line of this refusal carries the same.
    """

    status: int
    reference: str = field(default_factory=lambda: token_hex(6))
