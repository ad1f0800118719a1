"""Dapr.AspNetCore and Dapr.Jobs: what an app subscribes to, what it takes an event for, what its answers mean; and calls of its methods."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from typing import Any

from tests.grpc_client import Client
from tests.sdk.dotnet.client import METADATA
from tests.sdk.dotnet.jobs import jobs
from tests.sdk.dotnet.wire import Call, HttpClient, Kestrel, Said, kestrel, steps

BULK = {"enabled": True, "maxMessagesCount": 3, "maxAwaitDurationMs": 400}
SUBSCRIPTIONS = [
    {"topic": "bulk", "pubsubName": "pubsub", "route": "bulk", "bulkSubscribe": BULK},
    {"topic": "bulkraw", "pubsubName": "pubsub", "route": "bulkraw", "metadata": {"rawPayload": "true"}, "bulkSubscribe": BULK},
    {"topic": "dead", "pubsubName": "pubsub", "route": "dead"},
    {
        "topic": "deposit",
        "pubsubName": "pubsub",
        "route": "accounts/deposit",
        "metadata": {"a": "1,2", "b": "x"},
        "deadLetterTopic": "dead",
    },
    {"topic": "raw", "pubsubName": "pubsub", "route": "raw", "metadata": {"rawPayload": "true"}},
    {
        "topic": "ruled",
        "pubsubName": "pubsub",
        "routes": {
            "default": "plain",
            "rules": [{"match": 'event.type == "withdraw.v2"', "path": "v2"}, {"match": "event.data.amount > 5", "path": "big"}],
        },
    },
]
PROTOCOL = "http"
JSON = "application/json; charset=utf-8"
PROBLEM = {"type": "https://tools.ietf.org/html/rfc9110#section-15.5.1", "title": "Bad Request", "status": 400, "traceId": "00-1-2-00"}
ANSWERS: dict[str, Said] = {
    "ok": (200, {}, b""),
    "none": (204, {}, b""),
    "object": (200, {"Content-Type": JSON}, b'{"id":"17","balance":5.5}'),
    "words": (200, {"Content-Type": "text/plain; charset=utf-8"}, b"done"),
    "null": (200, {"Content-Type": JSON}, b"null"),
    "array": (200, {"Content-Type": JSON}, b"[1]"),
    "number": (200, {"Content-Type": JSON}, b'{"status":1}'),
    "success": (200, {"Content-Type": JSON}, b'{"status":"SUCCESS"}'),
    "drop": (200, {"Content-Type": JSON}, b'{"status":"DROP"}'),
    "retry": (200, {"Content-Type": JSON}, b'{"status":"RETRY"}'),
    "capital": (200, {"Content-Type": JSON}, b'{"Status":"DROP"}'),
    "lower": (200, {"Content-Type": JSON}, b'{"status":"drop"}'),
    "problem": (400, {"Content-Type": "application/problem+json; charset=utf-8"}, json.dumps(PROBLEM).encode()),
    "missing": (404, {}, b""),
    "crash": (500, {}, b""),
}


class Bank:
    """The app; `tries` of each delivery by its answer's name."""

    def __init__(self) -> None:
        self.tries: dict[str, int] = {}

    def answer(self, call: Call) -> Said:
        if call.path == "/dapr/subscribe":
            return 200, {}, json.dumps(SUBSCRIPTIONS, separators=(",", ":")).encode()
        if call.path.startswith("/bulk"):
            entries = json.loads(call.body)["entries"]
            return (
                200,
                {"Content-Type": JSON},
                json.dumps({"statuses": [{"entryId": entry["entryId"], "status": "SUCCESS"} for entry in entries]}).encode(),
            )
        if call.path == "/accounts/deposit":
            return self._deposit(json.loads(call.body))
        if call.path.startswith("/mirror"):
            about = {
                "method": call.method,
                "path": call.path,
                "type": call.headers["Content-Type"],
                "body": call.body.decode(),
                "x": call.headers["x-tenant"],
            }
            return 200, {"Content-Type": JSON, "ETag": '"7"', "x-from": "app"}, json.dumps(about).encode()
        known = ("/raw", "/plain", "/v2", "/big", "/dead", "/job/")
        return (200, {}, b"") if call.path.startswith(known) else (404, {}, b"")

    def _deposit(self, event: dict[str, Any]) -> Said:
        wanted = event["data"]["answer"] if isinstance(event.get("data"), dict) else "ok"
        self.tries[wanted] = self.tries.get(wanted, 0) + 1
        return (
            ANSWERS[wanted]
            if self.tries[wanted] < 3 or wanted not in ("retry", "problem", "crash", "array", "number", "lower")
            else ANSWERS["ok"]
        )


def play(http: int, grpc: int, app: int) -> dict[str, Any]:
    bank = Bank()
    with kestrel(app, bank.answer) as server, Client(grpc) as channel, HttpClient(http, agent="dapr-sdk-dotnet/1.18.5") as client:
        client.wait("/v1.0/healthz")
        return steps((subscribed, events, answers, raw, bulk, rules, invocation, jobs), client, server, channel, bank)


def subscribed(client: HttpClient, app: Kestrel, channel: Client, bank: Bank) -> Iterator[tuple[str, Any]]:
    status, _, body = client.send("GET", "/v1.0/metadata")
    yield "metadata", [status, json.loads(body)["subscriptions"]]


def publish(channel: Client, topic: str, data: bytes | None, type_: str = "application/json", **metadata: str) -> str:
    request: dict[str, Any] = {"pubsubName": "pubsub", "topic": topic, "metadata": metadata}
    if data is not None:
        request |= {"data": base64.b64encode(data).decode(), "dataContentType": type_}
    return channel.call("PublishEvent", request, METADATA).code


def delivered(app: Kestrel, path: str) -> dict[str, Any]:
    """A delivery: what its headers and its event say, without ids and times."""
    call = app.next(path)
    headers = {name.lower(): value for name, value in call.headers.items()}
    kept = {name: headers[name] for name in ("content-type", "user-agent", "accept-encoding") if name in headers}
    named = sorted(name for name in headers if not name.startswith("x-forwarded"))
    return {"path": call.path, "kept": kept, "names": named, "event": unpacked(call.body)}


def unpacked(body: bytes) -> Any:
    try:
        event = json.loads(body)
    except ValueError:
        return body.decode("latin-1")
    return scrub(event)


def scrub(event: Any) -> Any:
    """Ids, times and traces by their form."""
    if isinstance(event, dict):
        return {
            name: form(value) if name in ("id", "time", "traceid", "traceparent", "entryId") else scrub(value)
            for name, value in event.items()
        }
    return [scrub(each) for each in event] if isinstance(event, list) else event


def form(value: Any) -> Any:
    return re.sub(r"[0-9a-f]", "#", value) if isinstance(value, str) else value


def events(client: HttpClient, app: Kestrel, channel: Client, bank: Bank) -> Iterator[tuple[str, Any]]:
    """What the middleware unwraps: data as JSON, as text, as base64; its content type; the other attributes."""
    shapes: dict[str, tuple[bytes | None, str]] = {
        "object": (b'{"answer":"ok","id":1}', "application/json"),
        "charset": (b'{"answer":"ok"}', "application/json; charset=utf-8"),
        "suffix": (b'{"answer":"ok"}', "application/vnd.bank+json"),
        "string": (b'"quoted"', "application/json"),
        "broken": (b"{not json", "application/json"),
        "text": ("gr\u00fcn".encode(), "text/plain"),
        "xml": (b"<a/>", "application/xml"),
        "bytes": (b"\x00\xff", "application/octet-stream"),
        "nothing": (None, ""),
        "no type": (b'{"answer":"ok"}', ""),
        "event": (
            b'{"specversion":"1.0","id":"7","source":"urn:b","type":"deposit","subject":"s","data":{"answer":"ok"},"custom":"c"}',
            "application/cloudevents+json",
        ),
        "base64 event": (
            b'{"specversion":"1.0","id":"7","source":"urn:b","type":"d","datacontenttype":"image/png","data_base64":"AP8="}',
            "application/cloudevents+json; charset=utf-8",
        ),
    }
    for step, (data, type_) in shapes.items():
        code = publish(channel, "deposit", data, type_)
        yield step, [code, delivered(app, "/accounts/deposit") if code == "OK" else None]


def answers(client: HttpClient, app: Kestrel, channel: Client, bank: Bank) -> Iterator[tuple[str, Any]]:
    """How often a delivery comes, and whether it ends as a dead letter."""
    bank.tries.clear()
    for name in ANSWERS:
        publish(channel, "deposit", json.dumps({"answer": name}).encode())
    seen: list[str] = []
    wanted = {"retry", "problem", "crash"}
    while not wanted <= {name for name, count in bank.tries.items() if count > 2} or not seen:
        call = app.next("/")
        if call.path == "/dead":
            seen.append(json.loads(call.body)["data"]["answer"])
    while True:
        try:
            call = app.next("/", timeout=1.5)
        except Exception:
            break
        if call.path == "/dead":
            seen.append(json.loads(call.body)["data"]["answer"])
    yield "tries", dict(sorted(bank.tries.items()))
    yield "dead", sorted(seen)


def raw(client: HttpClient, app: Kestrel, channel: Client, bank: Bank) -> Iterator[tuple[str, Any]]:
    for step, data, type_ in (("json", b'{"n":1}', "application/json"), ("bytes", b"\x00\xff", "application/octet-stream")):
        yield step, [publish(channel, "raw", data, type_, rawPayload="true"), delivered(app, "/raw")]


def bulk(client: HttpClient, app: Kestrel, channel: Client, bank: Bank) -> Iterator[tuple[str, Any]]:
    for topic, more in (("bulk", {"m": "1"}), ("bulkraw", {"rawPayload": "true"})):
        entries = [
            {"entryId": str(number), "event": base64.b64encode(data).decode(), "contentType": type_, "metadata": more}
            for number, (data, type_) in enumerate(
                [(b'{"n":1}', "application/json"), (b"\x01\xff", "application/octet-stream"), (b"hi", "text/plain")]
            )
        ]
        code = channel.call(
            "BulkPublishEvent", {"pubsubName": "pubsub", "topic": topic, "entries": entries, "metadata": more}, METADATA
        ).code
        call = app.next(f"/{topic}")
        got = json.loads(call.body)
        first = got["entries"]
        while len(first) < 3:
            first += json.loads(app.next(f"/{topic}").body)["entries"]
        inner = sorted(scrub(first), key=lambda entry: str(entry["event"]))
        yield (
            topic,
            [code, call.headers["Content-Type"], {name: value for name, value in got.items() if name not in ("entries", "id")}, inner],
        )


def rules(client: HttpClient, app: Kestrel, channel: Client, bank: Bank) -> Iterator[tuple[str, Any]]:
    for step, data, metadata in (
        ("type", b'{"amount":1}', {"cloudevent.type": "withdraw.v2"}),
        ("data", b'{"amount":6}', {}),
        ("default", b'{"amount":1}', {}),
    ):
        publish(channel, "ruled", data, **metadata)
        call = app.next("/")
        while call.path not in ("/v2", "/big", "/plain"):
            call = app.next("/")
        yield step, [call.path, json.loads(call.body)["type"]]


def invocation(client: HttpClient, app: Kestrel, channel: Client, bank: Bank) -> Iterator[tuple[str, Any]]:
    """HttpClient with and without a body; JsonContent goes in chunks."""
    for step, method, body, chunked in (
        ("get", "GET", None, False),
        ("post", "POST", b'{"id":1}', True),
        ("empty post", "POST", None, False),
        ("delete", "DELETE", None, False),
    ):
        path = "/v1.0/invoke/dotnet/method/mirror/a%20b?q=1%2B2&s=x%20y"
        status, headers, answer = client.send(method, path, body, JSON if body else "", chunked=chunked, headers={"x-tenant": "t"})
        names = {name.lower(): value for name, value in headers.items()}
        yield step, [status, json.loads(answer), names.get("content-type"), names.get("x-from"), names.get("etag")]
    status, headers, answer = client.send("GET", "/v1.0/invoke/dotnet/method/nowhere")
    yield "not found", [status, answer]
    status, headers, answer = client.send("GET", "/v1.0/invoke/absent-app/method/x")
    yield "no such app", [status, json.loads(answer)["errorCode"]]
    request = {
        "id": "dotnet",
        "message": {
            "method": "mirror/grpc",
            "contentType": "application/grpc",
            "data": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": "a"},
        },
    }
    result = channel.call("InvokeService", request, METADATA)
    yield "over gRPC", [result.code, result.text, sorted(result.message or ())]
