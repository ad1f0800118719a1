"""Dapr.Actors.Next: actors over SubscribeActorEventsAlpha1, one stream for each type, and their reminders and timers over gRPC."""

from __future__ import annotations

import queue
import re
import threading
import time
from collections.abc import Iterator
from typing import Any

from tests.grpc_app import grpc_app
from tests.grpc_client import Client, Stream
from tests.sdk.dotnet.client import METADATA, text
from tests.sdk.dotnet.wire import HttpClient, steps

PROTOCOL = "grpc"
PART = re.compile(r"\d+(\.\d+)?(ms|us|ns|h|m|s)")
OPTIONS = {
    "actorIdleTimeout": "3600s",
    "drainOngoingCallTimeout": "60s",
    "drainRebalancedActors": True,
    "reentrancy": {"enabled": True, "maxStackDepth": 32},
}


def readable(value: str | None) -> bool:
    """Whether the SDK can read it as a time span: all of it is numbers with units, maybe after `@every`."""
    rest = (value or "").strip().removeprefix("@every ").strip()
    return not rest or rest.startswith(("P", "R")) or PART.sub("", rest) == ""


class Host:
    """One type's stream; each serves every type. Requests that came on any are in `seen`, in order."""

    def __init__(self, channel: Client, type_: str, seen: queue.Queue[Any]) -> None:
        self.seen = seen
        self.stream: Stream = channel.stream("SubscribeActorEventsAlpha1", METADATA)
        self.stream.send({"initialRequest": {"entities": [type_], "entitiesConfig": [{"entities": [type_], **OPTIONS}]}})
        self.first = self.stream.next()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        try:
            while True:
                message = self.stream.next()
                self.seen.put(message)
                self.stream.send(self._answer(message))
        except Exception:
            return

    @staticmethod
    def _answer(message: dict[str, Any]) -> dict[str, Any]:
        if (request := message.get("invokeRequest")) is not None:
            if request["method"] == "Refuse":
                return {"invokeResponse": {"id": request["id"], "data": text("not today"), "error": True}}
            if request["method"] == "Fail":
                return {"requestFailed": {"id": request["id"], "code": 2, "message": "broken"}}
            return {"invokeResponse": {"id": request["id"], "data": request.get("data", "")}}
        if (request := message.get("timerRequest")) is not None:
            period = request.get("period", "")
            return {"timerResponse": {"id": request["id"], "cancel": period in ("", "0ms", "0s")}}
        if (request := message.get("reminderRequest")) is not None:
            return {"reminderResponse": {"id": request["id"], "cancel": False}}
        return {"deactivateResponse": {"id": message["deactivateRequest"]["id"]}}

    def next(self, kind: str, name: str = "") -> Any:
        """The next of that kind, and of that name if one is given; others are passed over."""
        while True:
            message = self.seen.get(timeout=20)
            if kind in message and name in ("", message[kind].get("name")):
                found = dict(message[kind])
                found.pop("id")
                return found


def play(http: int, grpc: int, app: int = 0) -> dict[str, Any]:
    with grpc_app(port=app), HttpClient(http) as client, Client(grpc) as channel:
        client.wait()
        seen: queue.Queue[Any] = queue.Queue()
        hosts = [Host(channel, "Bed", seen), Host(channel, "Pump", seen)]
        try:
            return steps((streams, invocation, reminders, timers, closing), channel, *hosts)
        finally:
            for host in hosts:
                host.stream.cancel()


def call(channel: Client, rpc: str, **fields: Any) -> Any:
    result = channel.call(rpc, fields, METADATA, 15)
    return result.message if result.code == "OK" else [result.code, result.text]


def streams(channel: Client, bed: Host, pump: Host) -> Iterator[tuple[str, Any]]:
    yield "opened", [bed.first, pump.first]
    for type_ in ("Bed", "Pump"):
        for _ in range(3):
            if isinstance(call(channel, "InvokeActor", actor_type=type_, actor_id="w", method="Warm"), dict):
                break
            time.sleep(0.1)
    yield "hosted", [bed.next("invokeRequest")["actorType"], pump.next("invokeRequest")["actorType"]]


def invocation(channel: Client, bed: Host, pump: Host) -> Iterator[tuple[str, Any]]:
    for step, method, data in (("echo", "Echo", '{"n":1}'), ("nothing", "Echo", ""), ("refused", "Refuse", ""), ("failed", "Fail", "")):
        metadata = {"content-type": "application/json", "dapr-reentrant-id": "r1"}
        yield step, call(channel, "InvokeActor", actor_type="Bed", actor_id="b1", method=method, data=text(data), metadata=metadata)
        got = bed.next("invokeRequest")
        got["metadata"] = {
            name: value for name, value in got.get("metadata", {}).items() if name.lower() not in ("dapr-reentrancy-id", "traceparent")
        }
        yield f"{step} got", got


def reminders(channel: Client, bed: Host, pump: Host) -> Iterator[tuple[str, Any]]:
    """Due time and period in milliseconds, always both; data as bytes."""
    actor = {"actor_type": "Bed", "actor_id": "b1"}
    shapes: dict[str, dict[str, Any]] = {
        "once": {"dueTime": "300ms", "period": "0ms", "data": text('{"n":1}')},
        "often": {"dueTime": "0ms", "period": "1000ms", "data": text('"x"'), "ttl": "60000ms", "overwrite": True},
        "half": {"dueTime": "250.5ms", "period": "1500.25ms", "data": "", "failure_policy": {"drop": {}}},
        "tried": {
            "dueTime": "100ms",
            "period": "86400000ms",
            "data": text("1"),
            "failure_policy": {"constant": {"interval": "1s", "maxRetries": 2}},
        },
    }
    for name, shape in shapes.items():
        yield f"set {name}", call(channel, "RegisterActorReminder", **actor, name=name, **shape)
        if name != "once":
            yield f"again {name}", call(channel, "RegisterActorReminder", **actor, name=name, **shape | {"overwrite": name == "often"})
        found = call(channel, "GetActorReminder", **actor, name=name)
        fits = [readable(found.get(each)) for each in ("dueTime", "period", "ttl")] if isinstance(found, dict) else None
        yield f"get {name}", [found, fits]
        got = bed.next("reminderRequest", name)
        yield f"fired {name}", [got, readable(got.get("dueTime")), readable(got.get("period"))]
    listed = call(channel, "ListActorReminders", actor_type="Bed", actor_id="b1")
    yield "list", sorted(listed.get("reminders", []), key=lambda each: str(each["name"]))
    yield "list all", sorted(str(each["name"]) for each in call(channel, "ListActorReminders", actor_type="Bed").get("reminders", []))
    yield "cancel", call(channel, "UnregisterActorReminder", **actor, name="often")
    yield "gone", call(channel, "GetActorReminder", **actor, name="often")
    yield "cancel all", [call(channel, "UnregisterActorRemindersByType", **actor), call(channel, "ListActorReminders", actor_type="Bed")]


def timers(channel: Client, bed: Host, pump: Host) -> Iterator[tuple[str, Any]]:
    actor = {"actor_type": "Pump", "actor_id": "p1"}
    call(channel, "InvokeActor", **actor, method="Warm")
    shapes: dict[str, dict[str, Any]] = {
        "once": {"dueTime": "200ms", "callback": "Stop", "data": text('{"n":1}')},
        "often": {"dueTime": "100ms", "period": "300ms", "callback": "Turn", "data": "", "ttl": "5000ms"},
        "zero": {"dueTime": "0ms", "period": "0ms", "callback": "Stop", "data": text("1")},
    }
    for name, shape in shapes.items():
        yield f"set {name}", call(channel, "RegisterActorTimer", **actor, name=name, **shape)
        got = pump.next("timerRequest")
        yield f"fired {name}", [got, readable(got.get("dueTime")), readable(got.get("period"))]
        yield f"cancel {name}", call(channel, "UnregisterActorTimer", **actor, name=name)


def closing(channel: Client, bed: Host, pump: Host) -> Iterator[tuple[str, Any]]:
    """The newest stream is completed: its type goes, the other's is served by its own."""
    pump.stream.half_close()
    time.sleep(1)
    yield "the other", call(channel, "InvokeActor", actor_type="Bed", actor_id="b1", method="Echo", data=text("1"))
