"""Plays the exchanges of tests/data/http.jsonl, recorded with daprd 1.18.3, against a real sidecar and says what differs.

A recorded text is a pattern: placeholders in it stand for what differs from run to run; some keep their first value (`<etag-quince>`).
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.apps import ScriptedApp, Seen
from tests.recorded import DATA, meant

Row = dict[str, Any]
HOLE = re.compile(r"<base64 of .*?>(?=\"|$|&)|<[a-z0-9][a-z0-9 -]*>")
UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
KINDS = {
    "<uuid>": UUID,
    "<time>": r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)?",
    "<http-date>": r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT",
    "<traceparent>": r"00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]",
    "<ip>": r"\d+\.\d+\.\d+\.\d+",
    "<n>": r"\d+",
    "<port>": r"\d+",
    "<base64>": r"[A-Za-z0-9+/=_-]+",
    "<stack trace of the worker>": r".*",
}
KEPT = re.compile(r"<(etag|subscription-id)\b.*>")
PATIENCE = 8.0


@dataclass(frozen=True)
class Reply:
    """headers: names in lower case, a list where a name came more than once; `date` is left out."""

    status: int
    headers: dict[str, Any]
    body: bytes


async def send(port: int, method: str, target: str, headers: Mapping[str, str], body: bytes | None, timeout: float = 30) -> Reply:
    """One request on a connection of its own, with the headers that the recording's client sent."""
    async with asyncio.timeout(timeout):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            names = {name.lower() for name in headers}
            head = [f"{method} {target} HTTP/1.1"] + ([] if "host" in names else [f"Host: 127.0.0.1:{port}"])
            head += ["Accept-Encoding: identity"] + ([] if body is None else [f"Content-Length: {len(body)}"])
            head += [f"{name}: {value}" for name, value in headers.items()]
            writer.write(("\r\n".join(head) + "\r\n\r\n").encode("latin-1", "replace") + (body or b""))
            return await _reply(reader, method)
        finally:
            writer.transport.abort()


async def _reply(reader: asyncio.StreamReader, method: str) -> Reply:
    status = int((await reader.readline()).split()[1])
    headers: dict[str, Any] = {}
    while line := (await reader.readline()).strip().decode("latin-1"):
        name, _, value = line.partition(":")
        name, value = name.lower(), value.strip()
        if name != "date":
            headers[name] = value if name not in headers else [*_listed(headers[name]), value]
    if method == "HEAD" or status in (204, 304):
        return Reply(status, headers, b"")
    if headers.get("transfer-encoding") == "chunked":
        return Reply(status, headers, b"".join([piece async for piece in _chunks(reader)]))
    length = headers.get("content-length")
    return Reply(status, headers, await (reader.read() if length is None else reader.readexactly(int(length))))


async def _chunks(reader: asyncio.StreamReader) -> Any:
    while size := int((await reader.readline()).strip() or b"0", 16):
        yield await reader.readexactly(size)
        await reader.readline()


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list) else [value]


@dataclass
class Values:
    """What placeholders stand for in this run. kept: filled in by the first text that has one of them."""

    known: dict[str, str]
    kept: dict[str, str] = field(default_factory=dict)

    def filled(self, text: str) -> str:
        """A recorded request with its placeholders replaced."""
        for name, value in (self.known | self.kept).items():
            text = text.replace(name, value)
        return text

    def fits(self, wanted: str, got: str) -> bool:
        """Does a text match the recorded one."""
        wanted = meant(wanted)
        names: list[str] = []
        parts, at = [], 0
        for hole in HOLE.finditer(wanted):
            parts += [re.escape(wanted[at : hole.start()]), self._pattern(hole.group(), names)]
            at = hole.end()
        found = re.fullmatch("".join(parts) + re.escape(wanted[at:]), got, re.DOTALL)
        if found is None:
            return False
        self.kept |= {name: found[number] for number, name in enumerate(names, 1)}
        return True

    def _pattern(self, hole: str, names: list[str]) -> str:
        if hole in KINDS:
            return KINDS[hole]
        if (value := self.known.get(hole, self.kept.get(hole))) is not None:
            return re.escape(value)
        if KEPT.fullmatch(hole):
            names.append(hole)
            return '([^"]*)' if names.count(hole) == 1 else f"\\{names.index(hole) + 1}"
        return KINDS["<base64>"] if hole.startswith("<base64") else re.escape(hole)


def rows(setup: str) -> Iterator[Row]:
    """The recorded exchanges of a setup, in order."""
    for line in (DATA / "http.jsonl").read_text().splitlines():
        row = json.loads(line)
        if row["setup"] == setup:
            yield row


def edge_rows() -> Iterator[Row]:
    """Odd requests and daprd's answers to them (tests/data/http-edges.jsonl), as rows. What all answers have is left out there."""
    for number, line in enumerate((DATA / "http-edges.jsonl").read_text().rstrip("\n").split("\n")):
        row = json.loads(line)
        request, response = row["request"], row["response"]
        response.setdefault("body", "")
        response.setdefault("headers", {"content-type": "application/json"})
        if not response.pop("untraced", False):
            response["headers"]["traceparent"] = "<traceparent>"
        if response["status"] == 204:
            response["headers"].pop("content-type", None)
        elif response["headers"].keys().isdisjoint(("transfer-encoding", "connection")):
            response["headers"]["content-length"] = "<n>"
        name = f"{number} {request['method']} {request['path']} {request.get('body', '')[:80]}"
        yield {"setup": "edges", "group": "edges", "name": name, "request": request, "response": response}


@dataclass
class Play:
    """One setup being replayed. port: where requests go. app: the setup's app, if it has one; its requests from `heard` on count."""

    port: int
    values: Values
    app: ScriptedApp | None = None
    heard: int = 0
    taken: set[int] = field(default_factory=set)
    replies: dict[str, Reply] = field(default_factory=dict)

    async def play(self, row: Row) -> list[str]:
        """Send one row's request; what differs from the recording, in words."""
        found: list[str] = []
        if row["request"] is not None:
            reply = await self._send(row["request"])
            self.replies[row["name"]] = reply
            found += self._compare(row["response"], reply)
        if self.app is not None:
            wanted = row.get("app_got")
            if wanted and any("body_summary" in want for want in wanted):
                wanted = None  # a request that broke off
            found += await self._app_got(self.app, wanted) if wanted else []
        return [f"{row['setup']}/{row['group']}/{row['name']}: {text}" for text in found]

    async def _send(self, request: Row) -> Reply:
        body = self._payload(request)
        headers = {name: self.values.filled(value) for name, value in request.get("headers", {}).items()}
        return await send(self.port, request["method"], self.values.filled(request["path"]), headers, body)

    def _payload(self, request: Row) -> bytes | None:
        if "body64" in request:
            return base64.b64decode(request["body64"])
        if "body_fill" in request:
            head, count, tail = request["body_fill"]
            return f"{head}{'x' * count}{tail}".encode()
        if "body_of" in request:
            return self._earlier(request["body_of"])
        body = request.get("body")
        return None if body is None else self.values.filled(body).encode()

    def _earlier(self, text: str) -> bytes:
        """The document of an earlier row, perhaps with another MAC."""
        name = text.removeprefix("the document of case ").partition(",")[0]
        body = self.replies[name].body
        if "MAC line replaced" not in text:
            return body
        first, second, _, rest = body.split(b"\n", 3)
        return b"\n".join((first, second, base64.b64encode(bytes(32)), rest))

    def _compare(self, wanted: Row, reply: Reply) -> list[str]:
        found = []
        if reply.status != wanted["status"]:
            found.append(f"status {reply.status}, not {wanted['status']} {reply.body[:300]!r}")
        names = sorted(set(wanted["headers"]) | set(reply.headers))
        for name in names:
            want, got = wanted["headers"].get(name), reply.headers.get(name)
            if not self._header_fits(name, want, got, wanted):
                found.append(f"header {name} is {got!r}, not {want!r}")
        return found + self._compare_body(wanted, reply)

    def _header_fits(self, name: str, want: Any, got: Any, wanted: Row) -> bool:
        if isinstance(want, str) and isinstance(got, str):
            return self.values.fits(want, got) or (name == "content-length" and _unsure(wanted.get("body", "")))
        return bool(want == got)

    def _compare_body(self, wanted: Row, reply: Reply) -> list[str]:
        if "body_lines" in wanted:
            return _compare_document(wanted["body_lines"], reply.body, self.values)
        if "body64" in wanted:
            return [] if reply.body == base64.b64decode(wanted["body64"]) else [f"body {reply.body!r}"]
        if "body" not in wanted:
            return []
        text = reply.body.decode("utf-8", "replace")
        body = wanted["body"]
        if self.values.fits(body, text) or self.values.fits(_tight(body), text) or _same_metadata(self.values.filled(body), text):
            return []
        return [f"body\n     {text}\n not {wanted['body']}"]

    async def _app_got(self, app: ScriptedApp, wanted: list[Row]) -> list[str]:
        """The app gets these requests, in any order; others may be among them (a broker is slow, a delivery is tried again)."""
        found = []
        for want in wanted:
            try:
                await app.until(lambda want=want: self._take(app, want), PATIENCE)  # type: ignore[misc]
            except TimeoutError:
                left = [seen for seen in app.seen[self.heard :] if id(seen) not in self.taken]
                near = [self._compare_seen(want, seen) for seen in left if seen.target == self.values.filled(want["path"])]
                found += [f"the app got {text}" for text in min(near, key=len, default=[f"nothing like {want['path']}"])]
        return found

    def _take(self, app: ScriptedApp, want: Row) -> bool:
        """Claim a request that is as wanted."""
        for seen in app.seen[self.heard :]:
            if id(seen) not in self.taken and not self._compare_seen(want, seen):
                self.taken.add(id(seen))
                return True
        return False

    def _compare_seen(self, want: Row, seen: Seen) -> list[str]:
        found = []
        if (seen.method, seen.target) != (want["method"], self.values.filled(want["path"])):
            found.append(f"{seen.method} {seen.target}, not {want['method']} {want['path']}")
        headers: dict[str, Any] = {}
        for name, value in seen.headers:
            lower = name.lower()
            headers[lower] = value if lower not in headers else [*_listed(headers[lower]), value]
        for name in sorted(set(want["headers"]) | set(headers)):
            recorded, got = want["headers"].get(name), headers.get(name)
            if isinstance(recorded, str) and isinstance(got, list):
                got = got[-1]  # all that the recording's app kept
            same = self.values.fits(recorded, got) if isinstance(recorded, str) and isinstance(got, str) else recorded == got
            if not same:
                found.append(f"{want['path']} with header {name} {got!r}, not {recorded!r}")
        if "body" in want and not self.values.fits(want["body"], seen.body.decode("utf-8", "replace")):
            found.append(f"{want['path']} with body\n     {seen.body.decode('utf-8', 'replace')}\n not {want['body']}")
        if "body64" in want and seen.body != base64.b64decode(want["body64"]):
            found.append(f"{want['path']} with body {seen.body!r}")
        return found


def _unsure(body: str) -> bool:
    """The body's length is not the recorded one: placeholders, or the white space of protobuf-JSON, which no version promises."""
    return HOLE.search(body) is not None or _tight(body) != body or meant(body) != body


def _tight(body: str) -> str:
    """Without the white space behind commas that some builds of protobuf-JSON put."""
    return body.replace(', "', ',"') if body.startswith("{") else body


def _same_metadata(wanted: str, got: str) -> bool:
    """The order of enabled features and of subscriptions is any."""
    if not wanted.startswith('{"id":'):
        return False
    try:
        left, right = json.loads(wanted), json.loads(got)
    except ValueError:
        return False
    for found in (left, right):
        found.get("enabledFeatures", []).sort()
        found.get("subscriptions", []).sort(key=json.dumps)
    return list(left) == list(right) and json.dumps(left) == json.dumps(right)


def _compare_document(wanted: list[Any], body: bytes, values: Values) -> list[str]:
    """An encrypted document: scheme, manifest with its keys in order, MAC, sealed bytes."""
    first, second, third, rest = body.split(b"\n", 3)
    manifest = json.loads(second)
    good = first.decode() == wanted[0] and values.fits(json.dumps(wanted[1]), json.dumps(manifest))
    sealed = f"<{len(rest)} bytes>" == wanted[3]
    return [] if good and sealed and len(base64.b64decode(third)) == 32 else [f"document {body!r}, not {wanted}"]
