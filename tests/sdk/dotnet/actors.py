"""Dapr.Actors and its ASP.NET part: the app's side of actors over HTTP, and what the proxies, the state, timers and reminders send."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from tests.sdk.dotnet.wire import Call, HttpClient, Kestrel, Said, kestrel, steps

CONFIG = {
    "entities": ["Turtle", "Mayfly"],
    "actorIdleTimeout": "1h0m0s0ms",
    "actorScanInterval": "0h0m1s0ms",
    "drainOngoingCallTimeout": "0h0m5s250ms",
    "drainRebalancedActors": True,
    "remindersStoragePartitions": 3,
    "reentrancy": {"enabled": True, "maxStackDepth": 4},
    "entitiesConfig": [
        {"entities": ["Mayfly"], "actorIdleTimeout": "0h0m1s0ms", "actorScanInterval": "0h0m1s0ms", "reentrancy": {"enabled": False}},
    ],
}
HEADER = (
    '<ActorHeader xmlns="urn:actors" xmlns:i="http://www.w3.org/2001/XMLSchema-instance"><MethodId>1729</MethodId>'
    '<InterfaceId>-1432</InterfaceId><ActorId><actorId>42</actorId></ActorId><CallContext i:nil="true"/>'
    '<Headers xmlns:a="http://schemas.microsoft.com/2003/10/Serialization/Arrays"/><MethodName>Eat</MethodName><ActorType>Turtle</ActorType></ActorHeader>'
)
FAULT = (
    '<ActorResponseMessageHeaders xmlns="urn:actors"><Headers><Key>HasRemoteException</Key><Value></Value></Headers>'
    "</ActorResponseMessageHeaders>"
)
BODY = b"@\x0ewrappedMessage\x08\x1dhttp://tempuri.org/\x01\xff\x00\x86"
OCTETS = "application/octet-stream; charset=utf-8"
PROTOCOL = "http"
JSON = "application/json; charset=utf-8"
PLAIN = "text/plain; charset=utf-8"
SPAN = re.compile(r"\d+h\d+m\d+s\d+ms")
EVERY = re.compile(r"@every (\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+")
REPEATED = re.compile(r"(R\d+/)?P(\d+Y)?(\d+M)?(\d+W)?(\d+D)?(T(\d+H)?(\d+M)?(\d+S)?)?")


def readable(value: Any, *, period: bool = False) -> bool:
    """Whether the SDK can read a due time, a ttl or a period: everything else ends its handler."""
    if not isinstance(value, str):
        return False
    named = value.startswith("@") and value.endswith(("yearly", "monthly", "weekly", "daily", "midnight", "hourly"))
    if not value or named or EVERY.fullmatch(value) or SPAN.fullmatch(value):
        return True
    return period and bool(REPEATED.fullmatch(value))


def read(info: dict[str, Any]) -> dict[str, Any]:
    """A reminder's or timer's JSON, as the app or a reader gets it. What can't be read says so."""
    found: dict[str, Any] = {}
    for name, value in sorted(info.items()):
        fits = name in ("data", "callback") or readable(value, period=name == "period") or name not in ("dueTime", "period", "ttl")
        found[name] = value if fits else f"UNREADABLE {value!r}"
    return found


class Turtles:
    """What the app's actors do."""

    def __init__(self, http: int) -> None:
        self.http = http

    def answer(self, call: Call) -> Said:
        if call.path == "/dapr/config":
            return 200, {"Content-Type": "application/json"}, json.dumps(CONFIG).encode()
        if call.path == "/healthz":
            return 200, {"Content-Type": "text/plain", "Cache-Control": "no-store, no-cache"}, b"Healthy"
        if call.method == "DELETE" or "/remind/" in call.path:
            return 200, {}, b""
        if "/timer/" in call.path:
            return 200, {"Content-Type": "application/json"}, b"false"
        return self._method(call, call.path.rpartition("/")[2]) if call.path.startswith("/actors/") else (404, {}, b"")

    def _method(self, call: Call, name: str) -> Said:
        match name:
            case "Throw":
                return 200, {"X-DaprErrorResponseHeader": FAULT}, b"<ActorInvokeExceptionData/>"
            case "Crash":
                return 500, {}, b""
            case "Page":
                return 500, {"Content-Type": PLAIN}, b"System.InvalidOperationException: no"
            case "Again":
                return self._again(call)
            case "Nothing":
                return 200, {}, b""
        return 200, {}, call.body or b'"fed"'

    def _again(self, call: Call) -> Said:
        """An actor that calls itself as often as its body says, with the id it was given."""
        left = int(call.body or b"0")
        if not left:
            return 200, {}, b'"down"'
        headers = {"Dapr-Reentrancy-Id": call.headers["Dapr-Reentrancy-Id"]}
        path = "/v1.0" + call.path
        with HttpClient(self.http) as client:
            status, _, body = client.send("PUT", path, str(left - 1).encode(), JSON, headers=headers)
        return 200, {}, body if status == 200 else json.dumps([status, json.loads(body)["errorCode"]]).encode()


def play(http: int, grpc: int, app: int) -> dict[str, Any]:
    with kestrel(app, Turtles(http).answer) as server, HttpClient(http, agent="dapr-sdk-dotnet/1.18.5") as client:
        client.wait()
        ready(client)
        parts = (methods, reentrancy, state, reminders, timers, idle)
        return steps(parts, client, server)


def ready(client: HttpClient) -> None:
    for _ in range(100):
        if client.send("PUT", "/v1.0/actors/Turtle/warm/method/Nothing")[0] == 200:
            return
        time.sleep(0.1)
    raise AssertionError("no actors")


def said(answer: Said) -> Any:
    """Status and body; an error as the SDK reads it."""
    status, _, body = answer
    if status < 300:
        return [status, body.decode("latin-1")]
    error = json.loads(body) if body else {}
    return [status, error.get("errorCode"), error.get("message")]


def methods(client: HttpClient, app: Kestrel) -> Iterator[tuple[str, Any]]:
    """With remoting: a header of XML and bytes. Without: JSON."""
    answer = client.send("PUT", "/v1.0/actors/Turtle/42/method/Eat", BODY, OCTETS, headers={"X-DaprRequestHeader": HEADER})
    got = app.next("/actors/Turtle/42/method/Eat")
    yield (
        "remoting",
        [
            answer[0],
            answer[2] == BODY,
            got.method,
            got.headers["X-DaprRequestHeader"] == HEADER,
            got.headers["Content-Type"],
            got.body == BODY,
        ],
    )
    yield "remoting traced", (got.headers["traceparent"] or "")[:35]
    answer = client.send("PUT", "/v1.0/actors/Turtle/42/method/Throw", BODY, OCTETS, headers={"X-DaprRequestHeader": HEADER})
    yield (
        "exception",
        [answer[0], answer[1].get("X-DaprErrorResponseHeader", answer[1].get("X-Daprerrorresponseheader")) == FAULT, answer[2]],
    )
    yield "json", said(client.send("PUT", "/v1.0/actors/Turtle/42/method/Eat", b'{"leaves":2}', JSON))
    got = app.next("/actors/Turtle/42/method/Eat")
    yield "json got", [got.method, got.headers["Content-Type"], got.body.decode(), got.headers["X-DaprRequestHeader"]]
    yield "no body", said(client.send("PUT", "/v1.0/actors/Turtle/42/method/Eat"))
    got = app.next("/actors/Turtle/42/method/Eat")
    yield "no body got", [got.method, got.headers["Content-Type"], got.body.decode(), got.headers["Content-Length"]]
    yield "no answer", said(client.send("PUT", "/v1.0/actors/Turtle/42/method/Nothing"))
    yield "crash", said(client.send("PUT", "/v1.0/actors/Turtle/42/method/Crash", b"1", JSON))
    yield "page", said(client.send("PUT", "/v1.0/actors/Turtle/42/method/Page", b"1", JSON))
    yield "no such type", said(client.send("PUT", "/v1.0/actors/Hare/1/method/Eat", b"1", JSON))


def reentrancy(client: HttpClient, app: Kestrel) -> Iterator[tuple[str, Any]]:
    for deep in (1, 3, 4):
        yield f"{deep} deep", said(client.send("PUT", "/v1.0/actors/Turtle/self/method/Again", str(deep).encode(), JSON))


def state(client: HttpClient, app: Kestrel) -> Iterator[tuple[str, Any]]:
    """A transaction as text; a time to live comes back as a header with a date."""
    path = "/v1.0/actors/Turtle/42/state"

    def save(*operations: Any) -> Any:
        return said(client.send("PUT", path, json.dumps(operations).encode(), PLAIN))

    def upsert(key: str, value: Any, **more: Any) -> Any:
        return {"operation": "upsert", "request": {"key": key, "value": value, **more}}

    yield "none", said(client.send("GET", f"{path}/none"))
    yield (
        "save",
        save(
            upsert("shell", {"size": 3, "marks": ["a", None]}),
            upsert("text", "gr\u00fcn"),
            upsert("none", None),
            upsert("bytes", "AQL/+w=="),
        ),
    )
    yield "get", [said(client.send("GET", f"{path}/{key}")) for key in ("shell", "text", "none", "bytes")]
    yield "type", client.send("GET", f"{path}/shell")[1].get("Content-Type")
    yield "with ttl", save(upsert("brief", 1, metadata={"ttlInSeconds": "60"}))
    headers = {name.lower(): value for name, value in client.send("GET", f"{path}/brief")[1].items()}
    left = (datetime.fromisoformat(headers["metadata.ttlexpiretime"]) - datetime.now(UTC)).total_seconds()
    yield "ttl", 50 < left <= 61
    yield "remove", [save({"operation": "delete", "request": {"key": "shell"}}), said(client.send("GET", f"{path}/shell"))]
    yield "nothing", save()
    yield "not active", said(client.send("PUT", "/v1.0/actors/Turtle/asleep/state", json.dumps([upsert("a", 1)]).encode(), PLAIN))


REMINDERS = {
    "once": {"dueTime": "0h0m1s0ms", "period": "", "data": "AQID"},
    "soon": {"dueTime": "0h0m0s0ms", "period": "0h0m1s0ms", "data": ""},
    "twice": {"dueTime": "0h0m0s500ms", "period": "R2/PT1S", "data": "c29tZQ=="},
    "daily": {"dueTime": "26h3m4s5ms", "period": "R5/P1DT", "data": "AA==", "ttl": "48h0m0s0ms"},
    "never": {"dueTime": "0h0m0s200ms", "period": "R1/PT", "data": "AA=="},
    "hourly": {"dueTime": "1h0m0s0ms", "period": "1h30m0s0ms", "data": "AA==", "ttl": "2h0m0s0ms"},
    "ended": {"dueTime": "0h0m1s0ms", "period": "0h0m0s0ms", "data": "+/8="},
}


def reminders(client: HttpClient, app: Kestrel) -> Iterator[tuple[str, Any]]:
    for name, info in REMINDERS.items():
        path = f"/v1.0/actors/Turtle/r/reminders/{name}"
        yield f"set {name}", said(client.send("PUT", path, json.dumps(info, separators=(",", ":")).encode(), JSON))
        status, headers, body = client.send("GET", path)
        yield f"get {name}", [status, headers.get("Content-Type"), read(json.loads(body)) if body else body]
        if info["dueTime"].startswith("0h"):
            got = app.next(f"/actors/Turtle/r/method/remind/{name}")
            yield f"fired {name}", [got.method, got.headers["Content-Type"], read(json.loads(got.body))]
        yield f"drop {name}", [said(client.send("DELETE", path)), said(client.send("GET", path))]


TIMERS = {
    "tick": {"dueTime": "0h0m0s300ms", "period": "0h0m0s400ms", "data": "AQID", "callback": "OnTick"},
    "once": {"dueTime": "0h0m0s300ms", "callback": "OnTick"},
    "brief": {"dueTime": "0h0m0s100ms", "period": "0h0m1s0ms", "data": "\u002b/8=", "callback": "OnTick", "ttl": "0h0m5s0ms"},
    "at once": {"dueTime": "0h0m0s0ms", "period": "0h0m0s0ms", "data": "", "callback": ""},
}


def timers(client: HttpClient, app: Kestrel) -> Iterator[tuple[str, Any]]:
    for name, info in TIMERS.items():
        path = f"/v1.0/actors/Turtle/t/timers/{name.replace(' ', '%20')}"
        client.send("PUT", "/v1.0/actors/Turtle/t/method/Nothing")
        yield f"set {name}", said(client.send("PUT", path, json.dumps(info, separators=(",", ":")).encode(), JSON))
        got = app.next("/actors/Turtle/t/method/timer/")
        yield f"fired {name}", [got.path, got.method, got.headers["Content-Type"], read(json.loads(got.body))]
        yield f"drop {name}", said(client.send("DELETE", path))


def idle(client: HttpClient, app: Kestrel) -> Iterator[tuple[str, Any]]:
    """A type with settings of its own."""
    client.send("PUT", "/v1.0/actors/Mayfly/m/method/Nothing")
    got = app.next("/actors/Mayfly/m")
    while got.method != "DELETE":
        got = app.next("/actors/Mayfly/m")
    yield "gone", [got.method, got.path, got.body]
