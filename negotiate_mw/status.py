"""The outcomes and attributes of accepting a security context, under the numbers that Windows gives them.

Law: numbers are those of winerror.h and sspi.h, so that a status in our log means what it means in everybody
else's; the few that are ours carry the customer bit and can never collide.
"""

from enum import IntEnum, IntFlag


class SecStatus(IntEnum):
    """What came of one step (winerror.h, ``SEC_E_*`` and ``SEC_I_*``).

    ``OK`` and ``CONTINUE_NEEDED`` are returned in an ``AcceptResult``; all others are raised as ``AcceptError``.
    ``BUSY`` and ``TIMEOUT`` are this package's own: the pool's queue is full, a step missed its deadline.
    """

    OK = 0
    CONTINUE_NEEDED = 0x00090312
    INSUFFICIENT_MEMORY = 0x80090300
    INVALID_HANDLE = 0x80090301
    UNSUPPORTED_FUNCTION = 0x80090302
    INTERNAL_ERROR = 0x80090304
    INVALID_TOKEN = 0x80090308
    LOGON_DENIED = 0x8009030C
    NO_CREDENTIALS = 0x8009030E
    NO_AUTHENTICATING_AUTHORITY = 0x80090311
    CONTEXT_EXPIRED = 0x80090317
    INCOMPLETE_MESSAGE = 0x80090318
    WRONG_PRINCIPAL = 0x80090322
    TIME_SKEW = 0x80090324
    BAD_BINDINGS = 0x80090346
    BUSY = 0xA0090001
    TIMEOUT = 0xA0090002

    @classmethod
    def _missing_(cls, value: object) -> "SecStatus | None":
        # The documentation page of AcceptSecurityContext prints SEC_E_INVALID_HANDLE as 0x80100003.
        return cls.INVALID_HANDLE if value == 0x80100003 else None


class ContextFlag(IntFlag):
    """Attributes of an established context (sspi.h, ``ASC_RET_*``).

    ``CHANNEL_BOUND`` is ours, above the 32 bits of those, and set only where the library itself proved that client and
    server saw the same TLS channel.
    """

    DELEGATE = 0x1
    MUTUAL_AUTH = 0x2
    REPLAY_DETECT = 0x4
    SEQUENCE_DETECT = 0x8
    CONFIDENTIALITY = 0x10
    INTEGRITY = 0x20000
    IDENTIFY = 0x80000
    CHANNEL_BOUND = 0x1_0000_0000


NO_FLAGS = ContextFlag(0)
