"""One pool of connections for a component: made on demand, errors in the words of Dapr's driver."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from components._postgresql.fields import PostgresFields, settings, words
from components._postgresql.tls import tls_of
from components._server import Server
from edge.clock import blamed
from edge.component import Context
from edge.errors import Closed, ComponentError, Unavailable

T = TypeVar("T")
FEWEST = 4
IDLE = 300.0
NO_CACHE = ("exec", "simple_protocol", "describe_exec")
AWAY = ("08", "57P01", "57P02", "57P03", "53300")
"""SQLSTATEs of a server that can't be used now: connection failures, shutdown, start-up, too many connections."""


async def _keep(connection: Any) -> None:
    """A connection goes back as it is: nothing here leaves session state, and asking the server to reset it costs a round trip."""


class Pool:
    """Connections of one component.

    prepare: run on a connection when the server has been reached, at start or later; until it succeeded, calls are Unavailable.
    """

    def __init__(self, fields: PostgresFields, context: Context, prepare: Callable[[Any], Awaitable[None]]) -> None:
        self._fields, self._context, self._make = fields, context, prepare
        self._words = words(fields)
        self._tls = tls_of(self._words)
        self.server = Server(context, self._prepare)
        self._how: dict[str, Any] = {}
        self._pool: Any = None
        self._closed = False

    async def open(self) -> None:
        """Connect if the server is there, else go on trying. Raises ComponentError (wrong password, missing database, tables)."""
        import asyncpg  # the extra `postgresql`

        fields = self._fields
        self._how = {
            "timeout": float(self._words.get("connect_timeout", 0)) or fields.timeout,
            "command_timeout": fields.timeout,
            "statement_cache_size": 0 if fields.query_exec_mode in NO_CACHE else 100,
            "ssl": self._tls,
            **settings(self._words),
        }
        most = fields.max_conns or int(self._words.get("pool_max_conns", 0)) or max(FEWEST, os.cpu_count() or 1)
        self._pool = asyncpg.create_pool(
            min_size=0,
            max_size=most,
            reset=_keep,
            max_inactive_connection_lifetime=fields.connection_max_idle_time or IDLE,
            **self._how,
        )
        await self.server.open()

    async def close(self) -> None:
        self._closed = True
        await self.server.close()
        if self._pool is not None:
            try:
                async with asyncio.timeout(2):
                    await self._pool.close()
            except TimeoutError:
                self._pool.terminate()

    async def run(self, call: Callable[[Any], Awaitable[T]]) -> T:
        """Call with a connection. Raises Unavailable, Closed, ComponentError with the server's text."""
        async with self.connection() as connection:
            return await call(connection)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """A connection with the errors of `run`; put back, or thrown away when it is broken."""
        if self._closed:
            raise Closed(f"{self._context.name} is closed")
        self.server.require()
        try:
            async with self._errors(), self._pool.acquire(timeout=self._fields.timeout) as connection:
                yield connection
        except Unavailable as error:
            self.server.failed(error)
            raise

    @asynccontextmanager
    async def apart(self) -> AsyncIterator[Any]:
        """A connection beside the pool, for those who keep it. Errors as of `connection`."""
        import asyncpg  # loaded by open()

        self.server.require()
        try:
            async with self._errors():
                connection = await asyncpg.connect(**self._how)
                try:
                    yield connection
                finally:
                    connection.terminate()
        except Unavailable as error:
            self.server.failed(error)
            raise

    async def _prepare(self) -> None:
        async with self._errors():
            await self._pool
            async with self._pool.acquire(timeout=self._fields.timeout) as connection:
                await self._make(connection)

    @asynccontextmanager
    async def _errors(self) -> AsyncIterator[None]:
        import asyncpg  # loaded by open()

        try:
            yield
        except asyncpg.PostgresError as error:
            text = f"{getattr(error, 'severity', None) or 'ERROR'}: {error.args[0] if error.args else error} (SQLSTATE {error.sqlstate})"
            if str(error.sqlstate).startswith(AWAY):
                raise Unavailable(self._where(text)) from error
            raise ComponentError(text) from error
        except (asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
            if self._closed or not self._lost(error):
                raise ComponentError(str(error)) from error
            raise Unavailable(self._where(str(error))) from error
        except TimeoutError as error:
            raise Unavailable(self._where("timeout: context deadline exceeded")) from error
        except OSError as error:
            raise Unavailable(self._where(self._dial(error))) from error

    @staticmethod
    def _lost(error: Exception) -> bool:
        """The connection was lost, not misused."""
        return any(word in str(error) for word in ("connection", "closed"))

    def _dial(self, error: OSError) -> str:
        refused = isinstance(error, ConnectionRefusedError) or "111" in str(error)
        reason = "connection refused" if refused else error.strerror or str(error)
        return f"dial error: dial tcp {self._address()}: connect: {blamed(reason.lower())}"

    def _address(self) -> str:
        return f"{self._words.get('host', 'localhost')}:{self._words.get('port', '5432')}"

    def _where(self, text: str) -> str:
        who = f"user={self._words.get('user', '')} database={self._words.get('database', '')}"
        return f"failed to connect to `{who}`: {self._address()}: {text}" if "dial" in text else text
