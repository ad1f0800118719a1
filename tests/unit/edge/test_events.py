"""What an app publishes becomes the event that daprd would make of it."""

from __future__ import annotations

from urllib.parse import parse_qsl, unquote, urlsplit

import pytest

from edge.events import Envelope, EventError, LocalTime, Trace, new_id, raw_payload, ttl
from edge.received import traceparent
from tests.recorded import UUID, Row, body, filled, normal, rows


def published() -> list[Row]:
    """Recorded publishes whose event the app got as it was published (not raw on either side, not expired)."""
    found = []
    for row in rows("app-http", "pubsub/"):
        trigger, request = row["trigger"], row["request"]
        if trigger["do"] == "publish over HTTP" and request and "rawPayload" not in trigger["target"] and "raw" not in request["target"]:
            found.append(row)
    return found


@pytest.mark.parametrize("row", published(), ids=lambda row: row["id"])
def test_event_is_the_one_daprd_makes(row: Row) -> None:
    trigger, url = row["trigger"], urlsplit(row["trigger"]["target"])
    pubsub, topic = (unquote(part) for part in url.path.removeprefix("/v1.0/publish/").split("/", 1))
    headers = {name.lower(): value for name, value in trigger["headers"]}
    metadata = {key.removeprefix("metadata."): value for key, value in parse_qsl(url.query) if key.startswith("metadata.")}
    trace = Trace(traceparent(headers.get("traceparent", "")), headers.get("tracestate", ""))
    data = body(filled(trigger["body"]) if isinstance(trigger["body"], str) else trigger["body"])

    _, event = Envelope(pubsub, topic, "kilnapp", LocalTime()).wrap(data, headers.get("content-type", ""), metadata, trace)

    assert normal(event.decode()) == row["request"]["body"]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (b"nope", "invalid character 'o' in literal null (expecting 'u')"),
        (b"[]", "json: cannot unmarshal array into Go value of type map[string]interface {}"),
        (b'"hello"', "json: cannot unmarshal string into Go value of type map[string]interface {}"),
        (b'{"id":', "unexpected EOF"),
    ],
)
def test_cloud_event_that_is_none_is_refused(text: bytes, error: str) -> None:
    with pytest.raises(EventError) as caught:
        Envelope("hub", "t", "app", LocalTime()).wrap(text, "application/cloudevents+json; charset=utf-8")

    assert str(caught.value) == error


def test_id_is_returned_and_random() -> None:
    envelope = Envelope("hub", "t", "app", LocalTime())

    made = {envelope.wrap(b"1", "application/json") for _ in range(100)}

    assert len({id_ for id_, _ in made}) == 100
    assert all(UUID.fullmatch(id_) and f'"id":"{id_}"'.encode() in text for id_, text in made)
    assert new_id()[14] == "4"


def test_id_of_a_cloud_event_is_kept() -> None:
    id_, _ = Envelope("hub", "t", "app", LocalTime()).wrap(b'{"id":"mine"}', "application/cloudevents+json")

    assert id_ == "mine"


def test_native_ttl_leaves_expiration_to_the_component() -> None:
    _, event = Envelope("hub", "t", "app", LocalTime(), native_ttl=True).wrap(b"1", "application/json", {"ttlInSeconds": "9"})

    assert b"expiration" not in event


def test_protobuf_events_travel_as_base64() -> None:
    envelope = Envelope("hub", "t", "app", LocalTime())

    _, event = envelope.wrap(b"\x0a\x01i\x12\x01s\x1a\x031.0\x22\x01t", "application/x-protobuf")
    _, other = envelope.wrap(b"\x0a\xff", "application/x-protobuf")

    assert b'"data_base64":"CgFpEgFzGgMxLjAiAXQ="' in event
    assert b'"data":"\\n\\ufffd"' in other


@pytest.mark.parametrize(
    ("metadata", "seconds"),
    [
        ({}, None),
        ({"ttlInSeconds": "45"}, 45.0),
        ({"TTL": "1m"}, 60.0),
        ({"ttlInSeconds": "0"}, 0.0),
        ({"ttlInSeconds": "-4s"}, 0.0),
        ({"ttlInSeconds": "-4"}, None),
        ({"ttlInSeconds": "soon"}, None),
        ({"ttlInSeconds": "9223372036854775808"}, None),
        ({"ttl": "1.5h", "ttlInSeconds": "3"}, 5400.0),
    ],
)
def test_ttl_is_a_duration_or_whole_seconds(metadata: dict[str, str], seconds: float | None) -> None:
    assert ttl(metadata) == seconds


@pytest.mark.parametrize(("text", "flag"), [("", False), ("T", True), ("1", True), ("False", False)])
def test_raw_payload_is_a_go_boolean(text: str, flag: bool) -> None:
    assert raw_payload({"rawPayload": text}) is flag


def test_raw_payload_of_another_text_is_refused() -> None:
    with pytest.raises(EventError, match="rawPayload value must be a valid boolean: actual is 'maybe'"):
        raw_payload({"rawPayload": "maybe"})
