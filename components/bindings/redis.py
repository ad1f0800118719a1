"""`bindings.redis`: keys of a Redis server by operations `create`, `get`, `delete` and `increment`.

Source: components-contrib bindings/redis @1.18.4; differs: a start without the server is a start.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from components._redis import Client, RedisFields
from components.bindings._go import ttl
from edge.component import Context, Feature
from edge.errors import Invalid, Unsupported
from edge.model import BindingResult
from edge.record import record


@record
class Fields(RedisFields):
    """Metadata of the component."""


class Binding:
    """See the module."""

    Metadata: ClassVar[type] = Fields
    features: ClassVar[frozenset[Feature]] = frozenset({Feature.OUTPUT_BINDING})
    operations: ClassVar[tuple[str, ...]] = ("create", "delete", "get", "increment")
    journal_out: ClassVar[bool] = False

    def __init__(self, metadata: Fields, context: Context) -> None:
        self._client = Client(metadata, context)

    async def open(self) -> None:
        """Raises ComponentError (address, TLS material, refused login); a server that is away is none."""
        await self._client.open()

    async def close(self) -> None:
        await self._client.close()

    def unhealthy(self) -> str | None:
        return self._client.server.unhealthy()

    async def invoke(self, operation: str, data: bytes, metadata: Mapping[str, str]) -> BindingResult | None:
        """metadata: `key`; `ttlInSeconds` to create and increment; `delete` = true to get and delete. Raises Invalid, Unavailable."""
        key = metadata.get("key", "")
        if not key:
            raise Invalid("redis binding: missing key in request metadata")
        redis = self._client.redis
        match operation:
            case "get":
                command = redis.getdel if metadata.get("delete") == "true" else redis.get
                return BindingResult(await self._client.run(lambda: command(key)) or b"")
            case "delete":
                await self._client.run(lambda: redis.delete(key))
            case "create":
                await self._write(key, lambda pipe: pipe.set(key, data), ttl(metadata))
            case "increment":
                await self._write(key, lambda pipe: pipe.incr(key), ttl(metadata))
            case _:
                raise Unsupported(f"invalid operation type: {operation}")
        return None

    async def _write(self, key: str, command: Any, seconds: int | None) -> None:
        """The value and how long it lives, together."""

        async def write() -> None:
            pipe = self._client.redis.pipeline(transaction=True)
            command(pipe)
            if seconds is not None:
                pipe.expire(key, seconds)
            for result in await pipe.execute(raise_on_error=False):  # the errors as Redis says them
                if isinstance(result, Exception):
                    raise result

        await self._client.run(write)
