"""The common part of a pluggable component: its connection, its start, its errors."""

from __future__ import annotations

from typing import Any, ClassVar

from edge.component import Context, Feature
from edge.errors import Closed, ComponentError, Grpc, Unavailable
from edge.rpc.client import Channel, StreamReply, Target
from edge.rpc.pb import components_pb2 as pb
from edge.rpc.status import RpcError
from edge.spec import Raw

SERVICE = "/dapr.proto.components.v1."
LARGEST = 64 << 20
FEATURES = {feature.value: feature for feature in Feature}


class Remote:
    """socket, services: set on each class that `make` gives. The component's name goes along as metadata, as daprd does."""

    Metadata: ClassVar[type] = Raw
    features: frozenset[Feature] = frozenset()
    socket: ClassVar[str] = ""
    services: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, metadata: Raw, context: Context) -> None:
        self.metadata = metadata
        self._context = context
        target = Target(unix=self.socket)
        self._channel = Channel(target, max_receive=LARGEST, max_send=LARGEST)
        self._instance = (("x-component-instance", context.name),)
        self._started: set[str] = set()
        self._closed = False

    async def _start(self, service: str, *, features: bool) -> None:
        """Init, then what it can do. Raises ComponentError."""
        request = pb.InitRequest(metadata=pb.MetadataRequest(properties=dict(self.metadata.values)))
        await self.ask(service, "Init", request)
        self._started.add(service)
        if features:
            answer = pb.FeaturesResponse.FromString(await self.ask(service, "Features", pb.FeaturesRequest()))
            self.features = frozenset(FEATURES[name] for name in answer.features if name in FEATURES)

    async def close(self) -> None:
        self._closed = True
        await self._channel.close()

    async def ask(self, service: str, method: str, request: Any) -> bytes:
        """One call. Raises Closed, Unavailable, ComponentError."""
        if self._closed:
            raise Closed(f"{self._context.name} is closed")
        try:
            answer = await self._channel.unary(f"{SERVICE}{service}/{method}", request.SerializeToString(), self._instance)
        except RpcError as error:
            raise self.translated(error) from error
        return answer.message

    async def stream(self, service: str, method: str) -> StreamReply:
        """A call with messages both ways. Raises RpcError."""
        return await self._channel.stream(f"{SERVICE}{service}/{method}", self._instance)

    def translated(self, error: RpcError) -> ComponentError:
        """The server's own words."""
        if error.code in (Grpc.UNAVAILABLE, Grpc.DEADLINE_EXCEEDED):
            return Unavailable(error.message)
        return ComponentError(f"rpc error: code = {_go_name(error.code)} desc = {error.message}")


def _go_name(code: int) -> str:
    name = Grpc(code).name if 0 <= code <= 16 else str(code)
    return "OK" if name == "OK" else "Canceled" if name == "CANCELLED" else "".join(part.capitalize() for part in name.split("_"))
