"""A stand-in for sspilib on Windows: the calls, buffers and results of its type stubs, and what Microsoft documents of
AcceptSecurityContext. A script says what each call gives; what was asked is kept for the test to look at."""

from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, NamedTuple

NEVER = 0x7FFF_FFFF_FFFF_FFFF


class WindowsError(OSError):
    def __init__(self, code: int) -> None:
        super().__init__(code, f"Received SSPI Error 0x{code:08X}")
        self.winerror = code - (1 << 32) if code & 0x8000_0000 else code  # an HRESULT is signed


class CtxtHandle:
    pass


class SecBuffer:
    def __init__(self, data: bytearray | memoryview | None, buffer_type: int, buffer_flags: int = 0) -> None:
        assert data is None or not memoryview(data).readonly
        self._data = data
        self.buffer_type = buffer_type

    @property
    def data(self) -> bytes:
        return bytes(self._data or b"")


class SecBufferDesc:
    def __init__(self, buffers: list[SecBuffer], *, version: int = 0) -> None:
        self._buffers = buffers

    def __getitem__(self, key: int) -> SecBuffer:
        return self._buffers[key]

    def __len__(self) -> int:
        return len(self._buffers)


class SecChannelBindings:
    def __init__(self, *, application_data: bytes | None = None) -> None:
        self.application_data = application_data

    def get_sec_buffer_copy(self) -> SecBuffer:
        return SecBuffer(bytearray(self.application_data or b""), 14)


class AcceptContextResult(NamedTuple):
    context: CtxtHandle
    attributes: int
    expiry: int
    status: int


class AcquireCredentialsResult(NamedTuple):
    credential: object
    expiry: int


@dataclass
class Leg:
    """What one AcceptSecurityContext gives, or the code it fails with."""

    status: int = 0
    token: bytes = b""
    attributes: int = 0
    expiry: int = NEVER
    error: Exception | None = None


@dataclass
class Windows:
    legs: list[Leg]
    name: str = "CORP\\alice"
    package: str = "NTLM"
    acquire_error: Exception | None = None
    calls: list[dict[str, Any]] = field(default_factory=list)
    acquired: list[tuple[Any, ...]] = field(default_factory=list)
    completed: list[tuple[object, bytes]] = field(default_factory=list)
    CREDENTIAL = object()

    def module(self) -> ModuleType:
        """``sspilib.raw``."""
        raw = ModuleType("sspilib.raw")
        vars(raw).update(
            SecBuffer=SecBuffer,
            SecBufferDesc=SecBufferDesc,
            SecChannelBindings=SecChannelBindings,
            SecPkgContextNames=type("SecPkgContextNames", (), {}),
            SecPkgContextPackageInfo=type("SecPkgContextPackageInfo", (), {}),
        )
        for call in (
            self.accept_security_context,
            self.acquire_credentials_handle,
            self.complete_auth_token,
            self.query_context_attributes,
        ):
            setattr(raw, call.__name__, self._bound(call))
        return raw

    @staticmethod
    def _bound(call: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args, **kwargs: call(*args, **kwargs)

    def acquire_credentials_handle(
        self, principal: str | None, package: str, credential_use: int, *, auth_data: object = None
    ) -> AcquireCredentialsResult:
        self.acquired.append((principal, package, credential_use, auth_data))
        if self.acquire_error:
            raise self.acquire_error
        return AcquireCredentialsResult(self.CREDENTIAL, NEVER)

    def accept_security_context(
        self,
        credential: object,
        context: CtxtHandle | None,
        input_buffers: SecBufferDesc,
        context_req: int,
        target_data_rep: int,
        output_buffers: SecBufferDesc,
    ) -> AcceptContextResult:
        assert credential is self.CREDENTIAL
        self.calls.append({
            "context": context,
            "request": context_req,
            "drep": target_data_rep,
            "buffers": [(input_buffers[n].buffer_type, input_buffers[n].data) for n in range(len(input_buffers))],
        })  # fmt: skip
        leg = self.legs[len(self.calls) - 1]
        if leg.error:
            raise leg.error
        output_buffers[0]._data = bytearray(leg.token)
        return AcceptContextResult(context or CtxtHandle(), leg.attributes, leg.expiry, leg.status)

    def complete_auth_token(self, context: CtxtHandle, token: SecBufferDesc) -> None:
        self.completed.append((context, token[0].data))

    def query_context_attributes(self, context: CtxtHandle, attribute: type) -> Any:
        found = attribute()
        if attribute.__name__ == "SecPkgContextNames":
            found.username = self.name
        else:
            found.name = self.package
        return found
