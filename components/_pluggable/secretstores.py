"""Secret stores behind a socket."""

from __future__ import annotations

from collections.abc import Mapping

from components._pluggable.remote import Remote
from edge.rpc.pb import components_pb2 as pb

SERVICE = "SecretStore"


class Store(Remote):
    """See edge.component.SecretStore."""

    async def open(self) -> None:
        """Raises ComponentError."""
        await self._start(SERVICE, features=True)

    async def get(self, name: str, metadata: Mapping[str, str]) -> dict[str, str]:
        request = pb.GetSecretRequest(key=name, metadata=dict(metadata))
        return dict(pb.GetSecretResponse.FromString(await self.ask(SERVICE, "Get", request)).data)

    async def get_all(self, metadata: Mapping[str, str]) -> dict[str, dict[str, str]]:
        answer = await self.ask(SERVICE, "BulkGet", pb.BulkGetSecretRequest(metadata=dict(metadata)))
        return {name: dict(one.secrets) for name, one in pb.BulkGetSecretResponse.FromString(answer).data.items()}


def make(socket: str, services: frozenset[str]) -> type:
    """The class of the store behind a socket."""
    return type("Store", (Store,), {"socket": socket, "services": services})
