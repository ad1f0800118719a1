"""The apps of the recordings in tests/data/http.jsonl: what each setup's app answered."""

from __future__ import annotations

import json
from collections.abc import Callable
from email.utils import formatdate
from urllib.parse import unquote

from tests.apps import Answer, Seen

SERVER = ("Server", "BaseHTTP/0.6 Python/3.11.7")
JSON = ("Content-Type", "application/json")
SUBSCRIPTIONS = [
    {"pubsubname": "bus", "topic": "apples", "route": "/in/apples"},
    {"pubsubname": "bus", "topic": "raw", "route": "/in/raw", "metadata": {"rawPayload": "true"}},
    {
        "pubsubname": "bus",
        "topic": "sorted",
        "routes": {
            "rules": [
                {"match": 'event.type == "red"', "path": "/in/red"},
                {"match": "has(event.data.kg) && event.data.kg > 10", "path": "/in/heavy"},
            ],
            "default": "/in/rest",
        },
    },
    {"pubsubname": "bus", "topic": "nodefault", "routes": {"rules": [{"match": 'event.type == "red"', "path": "/in/red"}]}},
    {
        "pubsubname": "bus",
        "topic": "crates",
        "route": "/in/crates",
        "bulkSubscribe": {"enabled": True, "maxMessagesCount": 10, "maxAwaitDurationMs": 300},
    },
    {"pubsubname": "bus", "topic": "drops", "route": "/in/drops", "deadLetterTopic": "grave"},
    {"pubsubname": "bus", "topic": "fails", "route": "/in/fails", "deadLetterTopic": "grave"},
    {"pubsubname": "bus", "topic": "grave", "route": "/in/grave"},
    {"pubsubname": "bus", "topic": "odd", "route": "/in/odd"},
    {"pubsubname": "bus", "topic": "gone", "route": "/in/gone"},
    {"pubsubname": "mq", "topic": "farm/pears", "route": "/in/pears"},
    {"pubsubname": "mq", "topic": "wild/+/x", "route": "/in/wild"},
    {"pubsubname": "mq", "topic": "farm/raw", "route": "/in/mqraw", "metadata": {"rawPayload": "true"}},
    {"pubsubname": "nobus", "topic": "t", "route": "/in/never"},
    {"pubsubname": "bus", "topic": "noroute"},
]
App = Callable[[Seen], Answer]


def _json(text: str, *headers: tuple[str, str], status: int = 200) -> Answer:
    return _plain(status, text.encode(), JSON, *headers)


def _plain(status: int = 200, body: bytes = b"", *headers: tuple[str, str]) -> Answer:
    return Answer(status, body, (SERVER, ("Date", formatdate(usegmt=True)), *headers))


def _mirror(seen: Seen, *headers: tuple[str, str]) -> Answer:
    return _json(json.dumps({"method": seen.method, "path": seen.target, "len": len(seen.body)}), *headers)


def larder(seen: Seen) -> Answer:
    path = seen.target
    if path.startswith("/mirror"):
        return _mirror(seen)
    if path.startswith("/configuration/"):
        return _plain()
    fixed = {
        "/teapot": _plain(418, b"short and stout", ("Content-Type", "text/plain"), ("X-Kettle", "boils")),
        "/bytes": _plain(200, b"\x00\xfe\xff", ("Content-Type", "application/x-odd")),
        "/bare": _plain(),
        "/gone": _plain(410),
    }
    return fixed.get(path, _plain(404))


def hall(seen: Seen) -> Answer:
    """The app of the setups hall and parlour."""
    path, _, query = seen.target.partition("?")
    if path.startswith("/mirror"):
        return _mirror(seen, ("X-From-App", "tea"))
    if path.startswith("/say/"):
        return _plain(int(path[5:]), f"words of {path[5:]}".encode(), ("Content-Type", "text/x-note"), ("X-Say", "so"))
    if path == "/slow":
        return Answer(200, b"late", (SERVER, ("Content-Type", "text/plain")), after=float(query or 0))
    fixed = {
        "/nobody": _plain(),
        "/cut": Answer(hangup=True),
        "/html": _plain(200, b"<p>\xe9</p>", *_PAGE),
        "/redirect": _plain(307, b"", ("Location", "/mirror")),
        "/daprerror": _json('{"errorCode":"ERR_MINE","message":"own"}', status=422),
        "/stream": _plain(200, b"data: 1\n\ndata: 2\n\n", ("Content-Type", "text/event-stream")),
    }
    return fixed.get(path, _plain(404))


_PAGE = (
    ("Content-Type", "text/html; charset=latin1"),
    ("Cache-Control", "no-store"),
    ("ETag", '"z"'),
    ("Set-Cookie", "p=1; Path=/"),
    ("Set-Cookie", "q=2"),
    ("WWW-Authenticate", "Basic"),
    ("X-Multi", "m1"),
    ("X-Multi", "m2"),
)


def bazaar(seen: Seen) -> Answer:
    path = seen.target
    if path == "/dapr/subscribe":
        return _json(json.dumps(SUBSCRIPTIONS))
    if path == "/in/crates":
        entries = json.loads(seen.body)["entries"]
        return _json(json.dumps({"statuses": [{"entryId": entry["entryId"], "status": "SUCCESS"} for entry in entries]}))
    fixed = {
        "/in/drops": _json('{"status": "DROP"}'),
        "/in/odd": _json('{"status": "SHRUG"}'),
        "/in/fails": _plain(500),
        "/in/gone": _plain(404),
    }
    return fixed.get(path, _plain(200 if path.startswith("/in/") else 404))


def guarded(seen: Seen) -> Answer:
    if not seen.target.startswith("/h"):
        return _plain(404)
    return _json(json.dumps({name.lower(): value for name, value in seen.headers}))


def piped(seen: Seen) -> Answer:
    return _json(json.dumps({"path": unquote(seen.target), "body": seen.body.decode()}))


def h_only(seen: Seen) -> Answer:
    return _plain(200 if seen.target.startswith("/h") else 404)


def everything(seen: Seen) -> Answer:
    return _plain()


def ailing(seen: Seen) -> Answer:
    return _json('[{"pubsubname": "bus", "topic": "t", "route": "/t"}]') if seen.target == "/dapr/subscribe" else _plain()


def edges(seen: Seen) -> Answer:
    if seen.target.startswith("/dapr"):
        return Answer(404)
    return Answer(200, b'"heard"', (JSON,))


APPS: dict[str, App] = {
    "larder": larder,
    "hall": hall,
    "parlour": hall,
    "bazaar": bazaar,
    "guarded": guarded,
    "piped": piped,
    "allowing": h_only,
    "denying": h_only,
    "narrow": everything,
    "ailing": ailing,
    "edges": edges,
}
