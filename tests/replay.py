"""Plays recorded scenarios against a real sidecar: the recording's callers call, its app answers, and the sidecar must do what daprd did.

A scenario is a list of rows in the order of time. Rows *to* the runtime are sent when everything before them was seen, not before their
time; rows *from* it are waited for and compared. Scenarios run side by side: each looks only at the requests that belong to it.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
import time
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from tests.apps import Answer, ScriptedApp, Seen

DATA = Path(__file__).parent / "data"
SKIPPED = ("/v1.0/healthz", "/v1.0/metadata", "/dapr/config")
TIMED = re.compile(r"/method/(timer|remind)/|/job/")
PLACEHOLDER = re.compile(r"<T([+-][0-9.]+)s iso Z 0 frac>")
CUT = re.compile(r"… <\d+ more characters>")
COMPARED = ("Content-Type", "Dapr-Api-Call", "Dapr-Caller-Namespace", "Dapr-Reentrancy-Id")
EARLY, LATE = 0.25, 2.0  # seconds off the recorded time; the machine may be busy, the sidecar may not hurry
PATIENCE = 20.0
Row = dict[str, Any]


@cache
def scenarios(name: str) -> dict[str, list[Row]]:
    """The rows of tests/data/`name`.jsonl by scenario; probes and notes are left out."""
    found: dict[str, list[Row]] = defaultdict(list)
    for line in (DATA / f"{name}.jsonl").read_text().splitlines():
        row = json.loads(line)
        if "dir" in row and not any(skipped in row["rpc"] for skipped in SKIPPED):
            found[row["scenario"]].append(row)
    return dict(found)


@dataclass
class Held:
    """A request that the app got and does not answer yet."""

    seen: Seen
    answer: asyncio.Future[Answer]


@dataclass
class Stage:
    """The app's side: requests wait here until the scenario that they belong to takes them."""

    app: ScriptedApp
    port: int
    config: Any = None
    waiting: dict[str, asyncio.Queue[Held]] = field(default_factory=lambda: defaultdict(asyncio.Queue))

    def __post_init__(self) -> None:
        self.app.default = self._take

    def expect(self, rows: list[Row]) -> None:
        """These requests are somebody's; any other is answered at once."""
        for row in rows:
            if row["dir"] == "runtime->app":
                _ = self.waiting[row["rpc"]]

    async def _take(self, seen: Seen) -> Answer:
        if seen.target == "/dapr/config":
            return Answer(404) if self.config is None else Answer.json(self.config)
        rpc = f"{seen.method} {seen.target}"
        if rpc not in self.waiting:
            return Answer.json({})
        held = Held(seen, asyncio.get_running_loop().create_future())
        self.waiting[rpc].put_nowait(held)
        return await held.answer


class Scenario:
    """One scenario on its way."""

    def __init__(self, stage: Stage, rows: list[Row], *, timed: bool = True) -> None:
        self.stage, self.rows, self.timed = stage, rows, timed
        self.calls: dict[str, set[asyncio.Task[tuple[int, str, Any]]]] = defaultdict(set)
        self.held: dict[Any, Held] = {}
        self.names: dict[str, str] = {}
        self.shift = 0.0

    async def play(self) -> None:
        self.began = time.monotonic() - self.rows[0]["t"]
        try:
            for row in self.rows:
                await self._step(row, f"{row['scenario']} at {row['t']} {row['dir']} {row['rpc']}")
        finally:
            left = [task for tasks in self.calls.values() for task in tasks]
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    async def _step(self, row: Row, where: str) -> None:
        match row["dir"]:
            case "sdk->runtime" | "http-client->runtime":
                await self._until(row["t"])
                self.calls[row["rpc"]].add(asyncio.create_task(self._call(row)))
            case "runtime->sdk" | "runtime->http-client":
                self._compare_answer(row, await self._in_time(self._next_answer(row["rpc"]), where), where)
            case "runtime->app":
                await self._request(row, where)
            case "app->runtime":
                await self._until(row["t"] - 0.005)
                self._answer(row)

    async def _until(self, at: float) -> None:
        """Wait for a row's time; what a busy machine made late moves all that follows."""
        left = self.began + at + self.shift - time.monotonic()
        self.shift += max(0.0, -left)
        await asyncio.sleep(max(0.0, left))

    @staticmethod
    async def _in_time(awaited: Any, where: str) -> Any:
        try:
            async with asyncio.timeout(PATIENCE):
                return await awaited
        except TimeoutError:
            raise AssertionError(f"{where}: did not come") from None

    async def _next_answer(self, rpc: str) -> tuple[int, str, Any]:
        """The first answer to a call of that kind: which of several at once comes first is the network's affair."""
        done, _ = await asyncio.wait(self.calls[rpc], return_when=asyncio.FIRST_COMPLETED)
        task = done.pop()
        self.calls[rpc].discard(task)
        return task.result()

    # --- from the runtime
    async def _request(self, row: Row, where: str) -> None:
        held: Held = await self._in_time(self.stage.waiting[row["rpc"]].get(), where)
        self.held[row["call"]] = held
        if self.timed and TIMED.search(row["rpc"]):
            lateness = held.seen.at - self.began - row["t"]
            assert -EARLY < lateness < self.shift + LATE, f"{where}: {lateness:+.3f} s off"
        for name in COMPARED:
            wanted = row["headers"].get(name)
            got = held.seen.header(name.lower())
            if wanted and wanted.startswith("<uuid"):
                wanted = self.names.setdefault(wanted, got or "")
            assert got == wanted, f"{where}: {name} is {got}, not {wanted}"
        if "body" in row:
            got_body = json.loads(held.seen.body) if held.seen.body else None
            assert got_body == row["body"], f"{where}: body {held.seen.body!r}"

    def _compare_answer(self, row: Row, answer: tuple[int, str, Any], where: str) -> None:
        status, content_type, body = answer
        assert status == row["code"], f"{where}: {status} {body}"
        wanted = row.get("body", "")
        if isinstance(wanted, dict) and list(wanted) == ["text"]:
            wanted = wanted["text"]
        if _settled(wanted) and not ("text" in row and wanted):
            assert _same(body, wanted), f"{where}: {body!r} is not {wanted!r}"
        if row.get("content_type"):
            assert content_type == row["content_type"], f"{where}: {content_type}"

    # --- to the runtime
    def _answer(self, row: Row) -> None:
        held = self.held.pop(row["call"])
        body = row.get("body")
        if isinstance(body, dict) and list(body) == ["text"]:
            data = body["text"].encode()
        else:
            data = b"" if body is None and "body" not in row else json.dumps(body, separators=(",", ":")).encode()
        headers = [(name, value) for name, value in row.get("headers", {}).items() if name.lower() == "content-type"]
        if not held.answer.done():
            held.answer.set_result(Answer(row["code"] or 200, data, headers))

    async def _call(self, row: Row) -> tuple[int, str, Any]:
        method, target = row["rpc"].split(" ", 1)
        headers = {name: value for name, value in row.get("headers", {}).items() if name not in ("Host", "Transfer-Encoding")}
        headers = {name: self.names.get(value, value) for name, value in headers.items()}
        return await exchange(self.stage.port, method, target, _payload(row), headers)


async def chained(stage: Stage, chains: list[list[list[Row]]]) -> list[str]:
    """Play chains of scenarios side by side, the scenarios of a chain one after another: what went wrong in each, "" = nothing."""
    found = await asyncio.gather(*[_chain(stage, chain) for chain in chains], return_exceptions=True)
    return ["" if fault is None else repr(fault) for fault in found]


async def _chain(stage: Stage, chain: list[list[Row]]) -> None:
    for rows in chain:
        stage.expect(rows)
    for rows in chain:
        await Scenario(stage, [row for row in rows if not _foreign(row, rows)]).play()


def _foreign(row: Row, rows: list[Row]) -> bool:
    """The deactivation of an actor of an earlier scenario."""
    if not row["rpc"].startswith("DELETE /actors/"):
        return False
    actor = row["rpc"].removeprefix("DELETE ") + "/"
    return not any(actor in other["rpc"] for other in rows if other["dir"] == "runtime->app")


def _payload(row: Row) -> bytes | None:
    """The request's body: text of plain clients goes as it is, all else as JSON; times are made of now."""
    if "body" not in row:
        return None
    if row["dir"] == "http-client->runtime" and isinstance(row["body"], str):
        return str(row["body"]).encode()
    text = json.dumps(row["body"])

    def moment(match: re.Match[str]) -> str:
        return datetime.fromtimestamp(math.ceil(time.time() + float(match[1]) - row["t"]), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    return PLACEHOLDER.sub(moment, text).encode()


def _settled(value: Any) -> bool:
    """No placeholder in it."""
    return not PLACEHOLDER.search(json.dumps(value))


def _same(got: Any, wanted: Any) -> bool:
    """Equal, but for what the recorder left out of long texts."""
    pieces = CUT.split(json.dumps(wanted, ensure_ascii=False))
    pattern = ".*".join(map(re.escape, pieces))
    return got == wanted or re.fullmatch(pattern, json.dumps(got, ensure_ascii=False)) is not None


async def exchange(port: int, method: str, target: str, body: bytes | None, headers: dict[str, str]) -> tuple[int, str, Any]:
    """Status, content type and body (JSON parsed) of one request on its own connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        head = [f"{method} {target} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Connection: close"]
        head += [f"{name}: {value}" for name, value in headers.items()]
        if body is not None:
            head.append(f"Content-Length: {len(body)}")
        writer.write(("\r\n".join(head) + "\r\n\r\n").encode() + (body or b""))
        raw = await reader.read()
    finally:
        writer.close()
    top, _, rest = raw.partition(b"\r\n\r\n")
    lines = top.decode().split("\r\n")
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    if fields.get("transfer-encoding") == "chunked":
        rest = _unchunked(rest)
    try:
        answer = json.loads(rest)
    except ValueError:
        answer = rest.decode()
    return int(lines[0].split()[1]), fields.get("content-type", ""), answer


def _unchunked(data: bytes) -> bytes:
    found = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        found, data = found + data[: int(size, 16)], data[int(size, 16) + 2 :]
    return found
