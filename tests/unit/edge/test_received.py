"""What a broker delivered becomes what the app gets."""

from __future__ import annotations

import json
from uuid import UUID

import pytest

from edge.goscanner import JsonError
from edge.model import Message
from edge.received import bulk_body, bulk_entry, expired, trace_header, unwrap
from tests.recorded import Row, body, filled, normal, row, rows

PEER = [r for r in rows("app-http", "pubsub/mqtt-peer-") if r["request"]]
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize("recorded", PEER, ids=lambda r: r["id"])
def test_plain_mqtt_payload_is_delivered_as_daprd_delivers_it(recorded: Row) -> None:
    trigger, request = recorded["trigger"], recorded["request"]
    message = Message(trigger["topic"], body(trigger["payload"]))

    received = unwrap(message, "wire", message.topic, raw=request["target"] in ("/in/tideraw", "/in/harbour"))

    assert normal(received.body.decode()) == request["body"]


@pytest.mark.parametrize("recorded", [r for r in rows("app-http", "pubsub/mqtt-peer-") if not r["request"]], ids=lambda r: r["id"])
def test_undecodable_payload_is_refused_in_gos_words(recorded: Row) -> None:
    message = Message("tide/gauge/7", body(recorded["trigger"]["payload"]))
    log = recorded["consequence"]["log"][0]
    if "expired" in log:
        return

    with pytest.raises(JsonError) as caught:
        unwrap(message, "wire", message.topic, raw=False)

    assert log.endswith(": " + str(caught.value))


def test_raw_event_has_one_uuid_per_message() -> None:
    first, second = (unwrap(Message("t", b"x", id="m1"), "hub", "t", raw=True) for _ in range(2))
    other = unwrap(Message("t", b"x", id="m2"), "hub", "t", raw=True)

    assert UUID(first.event["id"]) != UUID(other.event["id"])
    assert first.body == second.body


def test_raw_event_keeps_the_uuid_of_its_message() -> None:
    id_ = "0b6e1c1e-5d2a-4c62-9d3e-6f6a1b7a0c11"

    assert unwrap(Message("t", b"x", id=id_), "hub", "t", raw=True).event["id"] == id_


def test_binary_mode_reads_attributes_from_metadata() -> None:
    received = unwrap(Message("t", b"\x01", {"CE_type": "x"}, "application/octet-stream"), "hub", "t", raw=False)

    assert received.event == {"type": "x", "data": b"\x01", "datacontenttype": "application/octet-stream"}
    assert received.body == b"\x01"


def test_missing_trace_fields_come_from_the_broker() -> None:
    received = unwrap(Message("t", b'{"id":"1"}', {"traceparent": PARENT, "tracestate": "a=b"}), "hub", "t", raw=False)

    assert received.event["traceid"] == received.event["traceparent"] == PARENT
    assert received.body == b'{"id":"1"}'


@pytest.mark.parametrize(
    ("expiration", "gone"),
    [
        ("2001-01-01T00:00:00Z", True),
        ("2001-01-01T01:00:00.5+02:00", True),
        ("2999-01-01T00:00:00Z", False),
        ("tomorrow", False),
        (5, False),
        (None, False),
        ("2001-13-01T00:00:00Z", False),
    ],
)
def test_event_expires_by_its_expiration(expiration: object, gone: bool) -> None:
    assert expired({"expiration": expiration}, 1_700_000_000.0) is gone


@pytest.mark.parametrize(
    ("begin", "now", "gone"),
    [
        ("1970-01-01T00:00:10Z", 1_700_000_000.0, False),
        ("1970-01-01T00:00:10Z", 100.0, True),
        ("1970-01-01T00:00:10Z", 50.0, False),
        ("1999-01-01T00:00:10Z", 1_700_000_000.0, True),
        ("no time", 1_700_000_000.0, True),
    ],
)
def test_an_expiration_by_a_clock_that_was_never_set_says_nothing_to_one_that_was(begin: str, now: float, gone: bool) -> None:
    assert expired({"time": begin, "expiration": "1970-01-01T00:01:10Z"}, now) is gone


@pytest.mark.parametrize(
    ("event", "header"),
    [
        ({"traceparent": PARENT}, PARENT),
        ({"traceid": PARENT}, PARENT),
        ({"traceid": "tt"}, "00-00000000000000000000000000000000-0000000000000000-00"),
        ({"traceparent": ""}, "00-00000000000000000000000000000000-0000000000000000-00"),
        ({"traceparent": 5}, None),
        ({}, None),
    ],
)
def test_trace_header_follows_the_event(event: dict[str, object], header: str | None) -> None:
    assert trace_header(event) == header


@pytest.mark.parametrize("id_", ["bulk/all-success", "bulk/mqtt-success", "bulk/raw"])
def test_bulk_body_is_daprds(id_: str) -> None:
    recorded = row("app-http", id_)
    expected = json.loads(filled(recorded["request"]["body"]))
    raw = id_ == "bulk/raw"
    entries = []
    for entry in expected["entries"]:
        data = b"raw 0" if raw else json.dumps(entry["event"]).encode()
        message = Message("lot", data, entry["metadata"])
        entries.append(bulk_entry(entry["entryId"], unwrap(message, expected["pubsubname"], "lot", raw=raw), message, raw=raw))

    text = bulk_body(expected["id"], expected["pubsubname"], "lot", entries, expected["metadata"])

    assert normal(text.decode()) == recorded["request"]["body"]


def test_bulk_entry_is_written_anew_but_keeps_what_no_float_holds() -> None:
    message = Message("t", b'{"v": 42.50, "n": 9007199254740993123, "a": "<"}')

    entry = bulk_entry("e1", unwrap(message, "hub", "t", raw=False), message, raw=False)

    assert b'"event":{"a":"\\u003c","n":9007199254740993123,"v":42.5}' in entry
    message = Message("t", b'{"v":1e400}')
    assert b'"event":{"v":1e400}' in bulk_entry("e1", unwrap(message, "hub", "t", raw=False), message, raw=False)
