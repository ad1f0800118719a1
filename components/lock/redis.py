"""`lock.redis`: locks in a Redis server, as daprd keeps them: a key that expires, whose value is the owner."""

from __future__ import annotations

from typing import Any, ClassVar

from components._redis import Client, RedisFields
from edge.component import Context, Feature
from edge.errors import ComponentError
from edge.model import UnlockStatus
from edge.record import record

UNLOCK = """
local owner = redis.call('GET', KEYS[1])
if not owner then return -1 end
if owner ~= ARGV[1] then return -2 end
return redis.call('DEL', KEYS[1])
"""
STATUSES = {-1: UnlockStatus.DOES_NOT_EXIST, -2: UnlockStatus.BELONGS_TO_OTHERS}


@record
class Fields(RedisFields):
    """Fields of the component."""


class Store:
    """One database of one server; a cluster or replicas could grant a lock twice and are refused."""

    Metadata: ClassVar[type] = Fields
    features: ClassVar[frozenset[Feature]] = frozenset()

    def __init__(self, metadata: Fields, context: Context) -> None:
        if metadata.redis_type == "cluster":
            raise ComponentError("this component does not support connecting to Redis Cluster")
        self._failover = metadata.failover
        self._client = Client(metadata, context, self._check)
        self._script: Any = None

    async def open(self) -> None:
        """Raises ComponentError; a server that is away is none."""
        await self._client.open()

    async def close(self) -> None:
        await self._client.close()

    def unhealthy(self) -> str | None:
        return self._client.server.unhealthy()

    async def _check(self) -> None:
        if self._client.replicas and not self._failover:
            raise ComponentError("replication is not supported")

    async def try_lock(self, resource: str, owner: str, expiry: float) -> bool:
        """Take the lock for so many seconds; False if somebody has it."""
        return bool(await self._client.run(lambda: self._client.redis.set(resource, owner, nx=True, px=round(expiry * 1000))))

    async def unlock(self, resource: str, owner: str) -> UnlockStatus:
        """Give the lock back, if this owner has it."""
        if self._script is None:
            self._script = self._client.redis.register_script(UNLOCK)
        code: int = await self._client.run(lambda: self._script([resource], [owner]))
        return STATUSES.get(code, UnlockStatus.SUCCESS)
