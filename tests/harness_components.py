"""Components opened as the daemon opens them, on a real file, for tests of components alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from edge.component import Context
from edge.database import Database
from edge.model import Message
from edge.registry import load
from edge.spec import parse
from edge.tasks import Tasks


@asynccontextmanager
async def opened(
    type_: str,
    folder: Path,
    raw: dict[str, str] | None = None,
    *,
    name: str = "c",
    app_ids: tuple[str, ...] = ("app",),
    version: str = "v1",
) -> AsyncIterator[Any]:
    """An open component of that type with the metadata `raw`; its daemon's file is edged.db in the folder."""
    async with AsyncExitStack() as up:
        files: list[Database] = []

        async def database() -> Database:
            if not files:
                files.append(await up.enter_async_context(Database.open(folder / "edged.db")))
            return files[0]

        tasks = await up.enter_async_context(Tasks("test"))
        class_ = load(type_, version)
        metadata, problems = parse(class_.Metadata, raw or {})
        assert metadata is not None, problems
        component = class_(metadata, Context(name, app_ids, "default", folder, tasks, database))
        await component.open()
        try:
            yield component
        finally:
            await component.close()


class Sink:
    """A subscriber. failures: so many deliveries raise first. gate: while it is not set, deliveries wait."""

    def __init__(self, failures: int = 0) -> None:
        self.got: list[Message] = []
        self.attempts = 0
        self.failures = failures
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, message: Message) -> None:
        self.attempts += 1
        await self.gate.wait()
        if self.failures:
            self.failures -= 1
            raise OSError("the disk is full")
        self.got.append(message)

    @property
    def payloads(self) -> list[bytes]:
        return [message.data for message in self.got]

    @property
    def topics(self) -> list[str]:
        return [message.topic for message in self.got]
