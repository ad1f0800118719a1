"""One Redis client for a component: connections on demand, retries as Dapr's, errors in its words."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from components._redis.fields import RedisFields, addresses
from components._redis.tls import tls_context
from components._server import Server
from edge.clock import blamed
from edge.component import Context
from edge.errors import Closed, ComponentError, Unavailable

T = TypeVar("T")
PER_CPU = 10
CODES = {
    "AuthenticationError": "WRONGPASS",
    "NoPermissionError": "NOPERM",
    "OutOfMemoryError": "OOM",
    "ReadOnlyError": "READONLY",
    "ExecAbortError": "EXECABORT",
}


class Client:
    """`redis` is the package's asyncio client (node, cluster, or the sentinels' master); `run` is how it is called.

    prepare: what else the component does when the server has been reached, at start or later.
    """

    def __init__(self, fields: RedisFields, context: Context, prepare: Callable[[], Awaitable[None]] | None = None) -> None:
        self._fields, self._context, self._more = fields, context, prepare
        self._addresses = addresses(fields)
        self.cluster = fields.redis_type == "cluster"
        self.server = Server(context, self._prepare)
        self.version: tuple[int, ...] = ()
        self.modules: frozenset[str] = frozenset()
        self.replicas = 0
        self.redis: Any = None
        self._errors: tuple[type[Exception], ...] = ()
        self._sentinel: Any = None
        self._apart: Callable[[], Any] | None = None
        self._closed = False

    async def open(self) -> None:
        """Connect if the server is there, else go on trying. Raises ComponentError (TLS material, refused login)."""
        import redis.asyncio  # the extra `redis`
        import redis.exceptions

        self._errors = (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, OSError)
        self.redis = self._connect(redis.asyncio)
        await self.server.open()

    async def close(self) -> None:
        self._closed = True
        await self.server.close()
        for one in (self.redis, *(self._sentinel.sentinels if self._sentinel is not None else ())):
            if one is not None:
                with suppress(*self._errors):
                    await one.aclose()

    async def run(self, call: Callable[[], Awaitable[T]]) -> T:
        """Call Redis; a broken connection is tried again. Raises Unavailable, Closed, ComponentError with the server's text."""
        if self._closed:
            raise Closed(f"{self._context.name} is closed")
        self.server.spare()
        pause = float(self._fields.redis_min_retry_interval)
        for _ in range(max(self._fields.redis_max_retries, 0)):
            try:
                return await self.attempt(call)
            except Unavailable as error:
                if self.server.unhealthy() or "timeout" in str(error):
                    self.server.failed(error)
                    raise
                await asyncio.sleep(min(pause, self._fields.redis_max_retry_interval))
                pause = min(pause * 2, self._fields.redis_max_retry_interval)
        try:
            return await self.attempt(call)
        except Unavailable as error:
            self.server.failed(error)
            raise

    async def attempt(self, call: Callable[[], Awaitable[T]]) -> T:
        """As `run`, once."""
        from redis.exceptions import AuthenticationError, RedisError  # loaded by open()

        try:
            return await call()
        except AuthenticationError as error:
            raise ComponentError(self._server_text(error)) from error
        except self._errors as error:
            raise Unavailable(self._network_text(error)) from error
        except RedisError as error:
            raise ComponentError(self._server_text(error)) from error

    async def _prepare(self) -> None:
        """Learn what the server can."""
        info: dict[str, Any] = await self.attempt(lambda: self.redis.info())
        info = info if "redis_version" in info else next(iter(info.values()))
        self.version = tuple(int(part) for part in str(info["redis_version"]).split(".") if part.isdigit())
        self.replicas = int(info.get("connected_slaves", 0))
        found = info.get("modules", ())
        self.modules = frozenset(str(one.get("name", "")).lower() for one in found if isinstance(one, dict))
        if self._more is not None:
            await self._more()

    def _connect(self, asyncio_redis: Any) -> Any:
        """The client, without a connection yet."""
        fields, shared = self._fields, self._options()
        if fields.enable_tls and (self.cluster or fields.failover):
            shared |= {"ssl": True, "ssl_cert_reqs": "none" if fields.insecure_skip_tls_verify else "required"}
        if self.cluster:
            nodes = [asyncio_redis.cluster.ClusterNode(host, port) for host, port in self._addresses]
            return asyncio_redis.cluster.RedisCluster(startup_nodes=nodes, **shared)
        shared |= {"db": fields.redis_db}
        if fields.failover:
            login = {"username": fields.sentinel_username or None, "password": fields.sentinel_password or None}
            self._sentinel = asyncio_redis.sentinel.Sentinel(self._addresses, sentinel_kwargs=login, **shared)
            return self._sentinel.master_for(fields.sentinel_master_name)
        kind = asyncio_redis.Connection
        host, port = self._addresses[0]
        if fields.enable_tls:
            kind, shared = self._tls(asyncio_redis, shared)
        most = fields.pool_size or PER_CPU * (os.cpu_count() or 1)
        shared |= {"connection_class": kind, "host": host, "port": port}
        self._apart = lambda: asyncio_redis.Redis.from_pool(asyncio_redis.ConnectionPool(**shared))
        return asyncio_redis.Redis.from_pool(
            asyncio_redis.BlockingConnectionPool(max_connections=most, timeout=fields.pool_timeout or None, **shared)
        )

    @asynccontextmanager
    async def pubsub(self) -> AsyncIterator[Any]:
        """A subscriber on a connection beside the pool, so that many of them hinder no call."""
        client = self._apart() if self._apart is not None else self.redis
        pubsub = client.pubsub()
        try:
            yield pubsub
        finally:
            with suppress(*self._errors):
                await pubsub.aclose()
                if client is not self.redis:
                    await client.aclose()

    def _options(self) -> dict[str, Any]:
        from redis.asyncio.retry import Retry  # loaded by open()
        from redis.backoff import NoBackoff

        fields = self._fields
        return {
            "username": fields.redis_username or None,
            "password": fields.redis_password or None,
            "socket_timeout": _timeout(fields.read_timeout),
            "socket_connect_timeout": _timeout(fields.dial_timeout),
            "socket_keepalive": True,
            "health_check_interval": max(fields.idle_timeout, 0),
            "retry": Retry(NoBackoff(), 0),
        }

    def _tls(self, asyncio_redis: Any, shared: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        context = tls_context(self._fields)

        class Tls(asyncio_redis.SSLConnection):  # type: ignore[misc]  # the package takes PEM from files only
            def _connection_arguments(self) -> Any:
                return {**super()._connection_arguments(), "ssl": context}

        return Tls, shared

    def _network_text(self, error: BaseException) -> str:
        """As Go says it, so that scripts find it."""
        host, port = self._addresses[0]
        where = f"{host}:{port}"
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, ConnectionRefusedError):
                return f"dial tcp {where}: connect: connection refused"
            if isinstance(cause, TimeoutError | asyncio.TimeoutError):
                return f"dial tcp {where}: i/o timeout"
            cause = cause.__cause__ or cause.__context__
        text = str(error) or type(error).__name__
        if "111" in text:
            return f"dial tcp {where}: connect: connection refused"
        if "imeout" in text:
            return f"dial tcp {where}: i/o timeout"
        return f"{where}: {blamed(text)}"

    @staticmethod
    def _server_text(error: Exception) -> str:
        """The server's own words; of some errors the package cuts the leading code off."""
        text = str(error)
        if text.split(" ", 1)[0].isupper():
            return text
        return f"{CODES.get(type(error).__name__, 'ERR')} {text}"


def _timeout(seconds: float) -> float | None:
    return seconds if seconds > 0 else None
