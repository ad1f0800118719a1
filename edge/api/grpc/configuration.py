"""The configuration RPCs; the stable and the alpha names are the same calls (grpc-api.md §8)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from typing import Any

from edge.api.grpc.call import Call, Streaming, Unary, only_message
from edge.model import ConfigItem
from edge.rpc.pb import configuration_pb2

MOST_WAITING = 256


class Changes:
    """What a subscriber has not been told yet; for one that reads too slowly, changes are put together."""

    def __init__(self) -> None:
        self._waiting: deque[Mapping[str, ConfigItem]] = deque()
        self._changed = asyncio.Event()
        self._ended = False

    async def add(self, id_: str, items: Mapping[str, ConfigItem]) -> None:
        """For the block to call."""
        if len(self._waiting) >= MOST_WAITING:
            merged: dict[str, ConfigItem] = {}
            for each in self._waiting:
                merged.update(each)
            self._waiting = deque((merged,))
        self._waiting.append(items)
        self._changed.set()

    def end(self) -> None:
        """The subscription ended."""
        self._ended = True
        self._changed.set()

    async def next(self) -> Mapping[str, ConfigItem] | None:
        """The next change; None at the end."""
        while not self._waiting:
            if self._ended:
                return None
            self._changed.clear()
            await self._changed.wait()
        return self._waiting.popleft()


def _items(items: Mapping[str, ConfigItem]) -> dict[str, Any]:
    return {key: {"value": item.value, "version": item.version, "metadata": item.metadata} for key, item in items.items()}


async def get(call: Call, request: Any) -> Any:
    found = await call.blocks.configuration.get(call.app, request.store_name, list(request.keys), dict(request.metadata))
    return configuration_pb2.GetConfigurationResponse(items=_items(found))


async def subscribe(call: Call, requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """First the subscription's id alone, then what changes, until the client goes or somebody unsubscribes."""
    request = await only_message(requests)
    changes, block = Changes(), call.blocks.configuration
    keys, metadata = list(request.keys), dict(request.metadata)
    id_ = await block.subscribe(call.app, request.store_name, keys, metadata, changes.add, changes.end)
    try:
        yield configuration_pb2.SubscribeConfigurationResponse(id=id_)
        while (items := await changes.next()) is not None:
            yield configuration_pb2.SubscribeConfigurationResponse(id=id_, items=_items(items))
    finally:
        await block.unsubscribe(call.app, id_)


async def unsubscribe(call: Call, request: Any) -> Any:
    """An unknown id (or store) is told in the answer, not as an error."""
    if await call.blocks.configuration.unsubscribe(call.app, request.id):
        return configuration_pb2.UnsubscribeConfigurationResponse(ok=True)
    text = f"failed to unsubscribe to configuration request {request.id}: subscription does not exist"
    return configuration_pb2.UnsubscribeConfigurationResponse(ok=False, message=text)


_UNARY: dict[str, tuple[type, Unary]] = {
    "GetConfiguration": (configuration_pb2.GetConfigurationRequest, get),
    "UnsubscribeConfiguration": (configuration_pb2.UnsubscribeConfigurationRequest, unsubscribe),
}
_SUBSCRIBE: tuple[type, Streaming] = (configuration_pb2.SubscribeConfigurationRequest, subscribe)
RPCS: dict[str, tuple[type, Unary]] = {f"{name}{suffix}": rpc for name, rpc in _UNARY.items() for suffix in ("", "Alpha1")}
STREAMS: dict[str, tuple[type, Streaming]] = {"SubscribeConfiguration": _SUBSCRIBE, "SubscribeConfigurationAlpha1": _SUBSCRIBE}
