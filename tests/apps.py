"""A real HTTP app on loopback whose answers a test scripts and whose requests it keeps as they came over the wire."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self


@dataclass(frozen=True)
class Answer:
    """What the app says. after: seconds before it does. hangup: close the connection instead. torn: or in the middle of the body."""

    status: int = 200
    body: bytes = b""
    headers: Sequence[tuple[str, str]] = ()
    after: float = 0.0
    hangup: bool = False
    torn: bool = False

    @classmethod
    def json(cls, value: Any, status: int = 200, after: float = 0.0) -> Answer:
        return cls(status, json.dumps(value).encode(), (("Content-Type", "application/json"),), after)

    @classmethod
    def recorded(cls, value: Any) -> Answer:
        """From a recording's `answer`."""
        if not isinstance(value, dict):
            return cls(hangup=True)
        headers = [(name, text) for name, text in value.get("headers", ())]
        return cls(value.get("status", 200), value.get("body", "").encode(), headers)


@dataclass(frozen=True)
class Seen:
    """One request: header names and order as sent; chunks: None unless the body came chunked. at: monotonic seconds."""

    method: str
    target: str
    headers: list[list[str]]
    body: bytes
    chunks: int | None
    at: float

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name), None)

    def json(self) -> Any:
        return json.loads(self.body)


Script = Answer | list[Answer] | Callable[[Seen], "Answer | Awaitable[Answer]"]


@dataclass
class ScriptedApp:
    """`answers`: (method, path) or path → what to say; a list is used up one by one, its last answer stays."""

    answers: dict[Any, Script] = field(default_factory=dict)
    default: Script = field(default_factory=lambda: Answer(404))
    port: int = 0
    tls: ssl.SSLContext | None = None
    seen: list[Seen] = field(default_factory=list)
    busy: int = 0
    most_busy: int = 0
    _server: asyncio.Server | None = None
    _writers: dict[asyncio.StreamWriter, asyncio.Task[Any] | None] = field(default_factory=dict)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        await self.up()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.down()

    async def up(self) -> None:
        """Listen, on the same port as before if there was one."""
        self._server = await asyncio.start_server(self._connection, "127.0.0.1", self.port, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def down(self) -> None:
        """Refuse connections and cut those that are open."""
        if self._server is None:
            return
        self._server.close()
        for writer, task in tuple(self._writers.items()):
            writer.transport.abort()
            if task is not None:
                task.cancel()
        await self._server.wait_closed()
        while self._writers:
            await asyncio.sleep(0.005)
        self._server = None

    def on(self, path: str, method: str = "") -> list[Seen]:
        """The requests to that path (without query), in order."""
        return [s for s in self.seen if s.target.partition("?")[0] == path and method in ("", s.method)]

    async def until(self, condition: Callable[[], object], timeout: float = 5.0) -> None:
        """Wait until `condition()` holds; it is looked at after each request."""
        async with asyncio.timeout(timeout):
            while not condition():
                self._changed.clear()
                try:
                    async with asyncio.timeout(0.05):
                        await self._changed.wait()
                except TimeoutError:
                    continue

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers[writer] = asyncio.current_task()
        try:
            while (request := await _read(reader)) is not None:
                if not await self._reply(request, writer):
                    return
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # a cancelled one is an answer still held when the app goes down
        finally:
            self._writers.pop(writer, None)
            writer.close()

    async def _reply(self, request: Seen, writer: asyncio.StreamWriter) -> bool:
        self.seen.append(request)
        self._changed.set()
        self.busy += 1
        self.most_busy = max(self.most_busy, self.busy)
        try:
            answer = await self._answer(request)
            if answer.after:
                await asyncio.sleep(answer.after)
        finally:
            self.busy -= 1
        if answer.hangup:
            return False
        writer.write(_encode(request, answer))
        await writer.drain()
        return not answer.torn

    async def _answer(self, request: Seen) -> Answer:
        path = request.target.partition("?")[0]
        script = self.answers.get((request.method, path), self.answers.get(path, self.default))
        if isinstance(script, list):
            script = script.pop(0) if len(script) > 1 else script[0]
        if isinstance(script, Answer):
            return script
        answer = script(request)
        return answer if isinstance(answer, Answer) else await answer


async def _read(reader: asyncio.StreamReader) -> Seen | None:
    line = await reader.readline()
    if not line:
        return None
    method, target, _ = line.decode().split()
    headers: list[list[str]] = []
    while (text := (await reader.readline()).decode("utf-8", "replace").rstrip("\r\n")) != "":
        name, _, value = text.partition(":")
        headers.append([name, value.strip()])
    by_name = {name.lower(): value for name, value in headers}
    chunks, body = None, b""
    if by_name.get("transfer-encoding") == "chunked":
        chunks, body = await _read_chunks(reader)
    elif "content-length" in by_name:
        body = await reader.readexactly(int(by_name["content-length"]))
    return Seen(method, target, headers, body, chunks, time.monotonic())


def _cut() -> str:
    raise ConnectionError("the request ended early")


async def _read_chunks(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    pieces: list[bytes] = []
    while size := int((await reader.readline()).strip() or _cut(), 16):
        pieces.append(await reader.readexactly(size))
        await reader.readline()
    await reader.readline()
    return len(pieces), b"".join(pieces)


def _encode(request: Seen, answer: Answer) -> bytes:
    phrase = HTTPStatus(answer.status).phrase if answer.status in HTTPStatus._value2member_map_ else "X"
    head = f"HTTP/1.1 {answer.status} {phrase}\r\n" + "".join(f"{name}: {value}\r\n" for name, value in answer.headers)
    if answer.status not in (204, 304):
        head += f"Content-Length: {len(answer.body) + answer.torn}\r\n"
    return (head + "\r\n").encode() + (b"" if request.method == "HEAD" or answer.status in (204, 304) else answer.body)


def plain(seen: Seen, port: int, **placeholders: str) -> dict[str, Any]:
    """A request in the form of the recordings: ports, tokens and such replaced by their placeholders."""
    headers = []
    for name, value in seen.headers:
        for text, placeholder in ((f":{port}", ":<app-port>"), *((v, f"<{k.replace('_', '-')}>") for k, v in placeholders.items())):
            value = value.replace(text, placeholder)
        headers.append([name, value])
    return {
        "method": seen.method,
        "target": seen.target,
        "version": "HTTP/1.1",
        "headers": headers,
        "body": seen.body.decode("utf-8", "replace"),
    }
