"""`nameresolution.nameformat`: the address is the app id put into a text, for networks whose DNS knows the sidecars."""

from __future__ import annotations

from typing import ClassVar

from edge.component import Context, Feature
from edge.errors import ComponentError, NotFound
from edge.model import Address
from edge.record import record
from edge.spec import meta

PLACE = "{appid}"
PORT = 443  # grpc-go's, where the text gives none


@record
class Fields:
    """Fields of the component."""

    format: str = meta("", doc="`{appid}` is replaced; `host:port`.", example="{appid}.mesh.local:50002")


class Resolver:
    """One format."""

    Metadata: ClassVar[type] = Fields
    features: ClassVar[frozenset[Feature]] = frozenset()

    def __init__(self, metadata: Fields, context: Context) -> None:
        if not metadata.format:
            raise ComponentError("format is required in metadata")
        if PLACE not in metadata.format:
            raise ComponentError("format must contain {appid} placeholder")
        self._format = metadata.format.removeprefix("dns:///")

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""

    async def register(self, app_id: str, address: Address) -> None:
        """The network's DNS does that."""

    async def resolve(self, app_id: str, namespace: str) -> Address:
        """Raises NotFound for an empty id."""
        if not app_id:
            raise NotFound("empty ID not allowed")
        text = self._format.replace(PLACE, app_id)
        host, colon, port = text.rpartition(":")
        if not colon or not port.isdigit():
            return Address(text.strip("[]"), PORT)
        return Address(host.strip("[]"), int(port))
