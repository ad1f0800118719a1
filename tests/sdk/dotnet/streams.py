"""Dapr.Messaging: subscriptions over SubscribeTopicEventsAlpha1, as its receiver opens, reads and answers them."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

from tests.grpc_client import Client, Stream
from tests.sdk.dotnet.aspnet import form, publish, scrub
from tests.sdk.dotnet.client import METADATA
from tests.sdk.dotnet.wire import HttpClient, steps

PROTOCOL = ""


def play(http: int, grpc: int, app: int = 0) -> dict[str, Any]:
    with HttpClient(http) as client, Client(grpc) as channel:
        client.wait()
        return steps((messages, statuses, two, refusals), channel)


def subscribe(channel: Client, topic: str, **initial: Any) -> Stream:
    """The stream carries no metadata; its first message has the dead-letter topic always, metadata if there are any."""
    stream = channel.stream("SubscribeTopicEventsAlpha1")
    stream.send({"initialRequest": {"pubsubName": "pubsub", "deadLetterTopic": "", "topic": topic, **initial}})
    return stream


def event(stream: Stream) -> Any:
    """The next message that has one: the others are passed over."""
    while True:
        message = stream.next()
        if "eventMessage" in message:
            return message["eventMessage"]


def acknowledge(stream: Stream, id_: str, status: str) -> None:
    stream.send({"eventProcessed": {"id": id_, "status": {"status": status}}})


def messages(channel: Client) -> Iterator[tuple[str, Any]]:
    """What the handler gets: attributes, extensions, bytes."""
    stream = subscribe(channel, "words", metadata={"note": "x"})
    yield "opened", stream.next()
    shapes: dict[str, tuple[bytes | None, str]] = {
        "json": (b'{"n":1}', "application/json"),
        "text": (b"hi", "text/plain"),
        "bytes": (b"\x00\xff", "application/octet-stream"),
        "nothing": (None, ""),
        "event": (
            b'{"specversion":"1.0","id":"7","source":"urn:b","type":"d","data":{"a":1},"custom":"c","count":3,"deep":{"x":[1]}}',
            "application/cloudevents+json",
        ),
    }
    for step, (data, type_) in shapes.items():
        publish(channel, "words", data, type_)
        got = event(stream)
        acknowledge(stream, got["id"], "SUCCESS")
        got["extensions"] = {
            name: form(value) if name.startswith(("trace", "time")) else value for name, value in got["extensions"].items()
        }
        yield step, scrub(got)
    stream.cancel()


def statuses(channel: Client) -> Iterator[tuple[str, Any]]:
    """A message that is retried comes again; one that is dropped goes to the dead letters."""
    stream, graves = subscribe(channel, "chores", deadLetterTopic="graves"), subscribe(channel, "graves")
    stream.next()
    graves.next()
    seen = []
    for answers in (["RETRY", "SUCCESS"], ["DROP"], ["SUCCESS"]):
        publish(channel, "chores", answers[0].encode(), "text/plain")
        for status in answers:
            got = event(stream)
            seen.append([base64.b64decode(got["data"]).decode(), status])
            acknowledge(stream, got["id"], status)
    yield "seen", seen
    dead = event(graves)
    acknowledge(graves, dead["id"], "SUCCESS")
    yield "dead", [base64.b64decode(dead["data"]).decode(), dead["topic"]]
    stream.cancel()
    graves.cancel()


def two(channel: Client) -> Iterator[tuple[str, Any]]:
    """Two receivers on one topic."""
    first, second = subscribe(channel, "shared"), subscribe(channel, "shared")
    first.next()
    second.next()
    publish(channel, "shared", b"1", "text/plain")
    got = [event(first), event(second)]
    for stream, one in zip((first, second), got, strict=True):
        acknowledge(stream, one["id"], "SUCCESS")
    yield "both", [base64.b64decode(one["data"]).decode() for one in got]
    first.half_close()
    ended = first.end()
    yield "completed", [ended.code, ended.text]
    publish(channel, "shared", b"2", "text/plain")
    yield "the other goes on", base64.b64decode(event(second)["data"]).decode()
    second.cancel()


def refusals(channel: Client) -> Iterator[tuple[str, Any]]:
    for step, initial in (("no pubsub", {"pubsubName": "nowhere"}), ("no topic", {"topic": ""}), ("empty", {"pubsubName": ""})):
        stream = subscribe(channel, "t", **initial) if "topic" not in initial else subscribe(channel, "")
        ended = stream.end()
        yield step, [ended.code, ended.text, ended.details]
    stream = channel.stream("SubscribeTopicEventsAlpha1", METADATA)
    acknowledge(stream, "7", "SUCCESS")
    ended = stream.end()
    yield "no first message", [ended.code, ended.text]
