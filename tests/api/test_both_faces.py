"""Every scenario once, over HTTP and over gRPC: the faces can't drift apart."""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.faces import FACES, Face, Refused, Value
from tests.grpc_app import GrpcApp, Reply, Seen, grpc_app
from tests.grpc_client import Client, Stream
from tests.harness import Sidecar, component, sidecar

numbers = count(1)
SCOPES = """
apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata: {name: c}
spec:
  secrets: {scopes: [{storeName: safe, defaultAccess: allow, deniedSecrets: [hidden]}]}
"""


@pytest.fixture(scope="module")
def edged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    folder = tmp_path_factory.mktemp("faces")
    (folder / "s.json").write_text('{"latch": "brass", "hidden": "x"}')
    with closing(sqlite3.connect(folder / "c.db")) as database:
        database.execute("CREATE TABLE configuration (key TEXT PRIMARY KEY, value TEXT, version TEXT, metadata TEXT)")
        database.execute("INSERT INTO configuration VALUES ('mesh', 'wide', '1', NULL)")
        database.commit()
    documents = {
        "cup.yaml": component("cup", "state.in-memory"),
        "bin.yaml": component("bin", "state.sqlite", {"connectionString": str(folder / "bin.db")}),
        "bus.yaml": component("bus", "pubsub.in-memory"),
        "fenced.yaml": component("fenced", "pubsub.in-memory", {"publishingScopes": "faced=open"}),
        "safe.yaml": component("safe", "secretstores.local.file", {"secretsFile": str(folder / "s.json")}),
        "files.yaml": component("files", "bindings.localstorage", {"rootPath": str(folder / "files")}),
        "dial.yaml": component("dial", "configuration.sqlite", {"connectionString": str(folder / "c.db")}),
        "latch.yaml": component("latch", "lock.sqlite", {"connectionString": str(folder / "l.db")}),
    }
    with sidecar(folder, app_id="faced", resources=documents, config=SCOPES) as one:
        yield one


@pytest.fixture(params=sorted(FACES))
def face(request: pytest.FixtureRequest, edged: Sidecar) -> Iterator[Face]:
    one: Face = FACES[request.param](edged)
    yield one
    one.close()


def fresh() -> str:
    """A name that no other test has."""
    return f"n{next(numbers)}"


def refusal(call: Any) -> str:
    with pytest.raises(Refused) as caught:
        call()
    return caught.value.text


# --- state
@pytest.mark.parametrize("store", ["cup", "bin"])
def test_value_reads_back(face: Face, store: str) -> None:
    key = fresh()

    face.save(store, key, b'{"a":[1,2.5,null,"\xc3\xbc"]}')

    assert face.get(store, key).data == b'{"a":[1,2.5,null,"\xc3\xbc"]}'
    assert face.get(store, fresh()) == Value(b"", "")


@pytest.mark.parametrize("store", ["cup", "bin"])
def test_etag_guards_a_value(face: Face, store: str) -> None:
    key = fresh()
    face.save(store, key, b"1")
    old = face.get(store, key).etag

    face.save(store, key, b"2", etag=old)

    assert "possible etag mismatch" in refusal(lambda: face.save(store, key, b"3", etag=old))
    assert "possible etag mismatch" in refusal(lambda: face.delete(store, key, etag=old))
    assert "possible etag mismatch" in refusal(lambda: face.save(store, key, b"3", first=True))
    face.delete(store, key, etag=face.get(store, key).etag)
    assert face.get(store, key) == Value(b"", "")


@pytest.mark.parametrize("store", ["cup", "bin"])
def test_transaction_is_all_or_nothing(face: Face, store: str) -> None:
    one, two = fresh(), fresh()
    face.save(store, two, b"1")

    face.transact(store, [("upsert", one, b'"x"'), ("delete", two, b"")])

    assert face.get_many(store, [one, two]) == {one: b'"x"', two: b""}


def test_state_refusals_have_the_same_words(face: Face) -> None:
    assert refusal(lambda: face.get("loft", "k")) == "state store loft is not found"
    assert refusal(lambda: face.save("cup", "a||b", b"1")).endswith("input key/keyPrefix 'a||b' can't contain '||'")
    assert refusal(lambda: face.transact("cup", [("paint", "k", b"1")])) == "operation type paint not supported"
    text = refusal(lambda: face.save("bin", fresh(), b"1", metadata={"ttlInSeconds": "soon"}))
    assert text.startswith("failed saving state in state store bin: ")


# --- publish
@pytest.fixture
def heard(edged: Sidecar) -> Iterator[Any]:
    """Opens topics: what comes, one by one."""
    streams: list[Stream] = []
    with Client(edged.grpc_port) as client:

        def listen(topic: str) -> Iterator[Any]:
            stream = client.stream("SubscribeTopicEventsAlpha1")
            streams.append(stream)
            stream.send({"initialRequest": {"pubsubName": "bus", "topic": topic}})
            stream.next()
            return _answered(stream)

        yield listen
        for stream in streams:
            stream.cancel()


def _answered(stream: Stream) -> Iterator[Any]:
    while True:
        event = stream.next()["eventMessage"]
        stream.send({"eventProcessed": {"id": event["id"], "status": {}}})
        yield event


@pytest.mark.parametrize(
    ("content_type", "data"), [("application/json", b'{"n":1}'), ("text/plain", b"words"), ("application/octet-stream", b"\x00\xff")]
)
def test_event_arrives_with_its_content(face: Face, heard: Any, content_type: str, data: bytes) -> None:
    topic = fresh()
    events = heard(topic)

    face.publish("bus", topic, data, content_type, {"cloudevent.type": "own.type", "cloudevent.id": "own-id"})
    event = next(events)

    assert (event["dataContentType"], base64.b64decode(event["data"])) == (content_type, data)
    assert (event["source"], event["type"], event["id"]) == ("faced", "own.type", "own-id")


def test_bulk_entries_arrive_each(face: Face, heard: Any) -> None:
    topic = fresh()
    events = heard(topic)

    face.publish_many("bus", topic, [("a", b"1"), ("b", b'{"x":2}')])

    assert {base64.b64decode(next(events)["data"]) for _ in range(2)} == {b"1", b'{"x":2}'}


def test_publish_refusals_have_the_same_words(face: Face) -> None:
    assert refusal(lambda: face.publish("nobus", "t", b"1", "application/json")) == "pubsub nobus is not found"
    assert refusal(lambda: face.publish("fenced", "shut", b"1", "application/json")) == "topic shut is not allowed for app id faced"
    assert refusal(lambda: face.publish("bus", "t", b"{", "application/cloudevents+json")) == "cannot create cloudevent"
    text = "failed deserializing metadata. Error: rawPayload value must be a valid boolean: actual is 'perhaps'"
    assert refusal(lambda: face.publish("bus", "t", b"1", "text/plain", {"rawPayload": "perhaps"})) == text


# --- bindings, secrets, metadata
def test_binding_writes_and_reads(face: Face) -> None:
    name = fresh()

    face.bind("files", "create", b'"no base 64"', {"fileName": name})

    assert face.bind("files", "get", b"", {"fileName": name}) in (b"no base 64", b'"no base 64"')
    assert refusal(lambda: face.bind("none", "create", b"1")) == "error invoking output binding none: couldn't find output binding none"
    expected = "error invoking output binding files: binding files does not support operation paint. supported operations:"
    assert refusal(lambda: face.bind("files", "paint", b"1")).startswith(expected)


def test_secrets_and_their_scopes(face: Face) -> None:
    assert face.secret("safe", "latch") == {"latch": "brass"}
    assert face.secrets("safe") == {"latch": {"latch": "brass"}}
    assert refusal(lambda: face.secret("safe", "hidden")) == 'access denied by policy to get "hidden" from "safe"'
    assert refusal(lambda: face.secret("chest", "latch")) == "failed finding secret store with key chest"


def test_metadata_and_what_an_app_adds(face: Face) -> None:
    key = fresh()

    face.set_metadata(key, "value")
    found = face.metadata()

    assert found["id"] == "faced"
    assert found["extended"][key] == "value"
    assert found["components"]["bin"] == "state.sqlite"


# --- configuration, locks
def test_configuration_by_key_and_whole(face: Face) -> None:
    assert face.configuration("dial", ["mesh"]) == {"mesh": "wide"}
    assert face.configuration("dial", []) == {"mesh": "wide"}
    assert face.configuration("dial", ["none"]) == {}
    assert refusal(lambda: face.configuration("knob", ["mesh"])) == "configuration store knob not found"


def test_lock_belongs_to_one_owner(face: Face) -> None:
    name = fresh()

    assert face.lock("latch", name, "amy", 60)
    assert not face.lock("latch", name, "ben", 60)
    assert [face.unlock("latch", name, owner) for owner in ("ben", "amy", "amy")] == [2, 0, 1]
    assert refusal(lambda: face.lock("latch", "", "amy", 60)) == "ResourceId is empty in lock store latch"
    assert refusal(lambda: face.lock("bolt", name, "amy", 60)) == "lock store bolt not found"


# --- invocation
def test_invocation_of_nobody_has_the_same_words(face: Face) -> None:
    assert refusal(lambda: face.invoke("ghost", "m", b"1")).startswith("failed to invoke, id: ghost, err: ")
    assert "app channel not initialized" in refusal(lambda: face.invoke("faced", "m", b"1"))


def test_both_faces_reach_a_grpc_app_alike(tmp_path: Path) -> None:
    def echo(seen: Seen) -> Reply:
        from edge.rpc.pb import common_pb2

        request = common_pb2.InvokeRequest.FromString(seen.data)
        value = json.dumps([request.method, request.data.value.decode()]).encode()
        return Reply(common_pb2.InvokeResponse(data={"value": value}, content_type="application/json").SerializeToString())

    app: GrpcApp
    with (
        grpc_app(answers={"OnInvoke": echo}) as app,
        sidecar(tmp_path, app_id="own", app_port=app.port, flags=["--app-protocol", "grpc"]) as one,
    ):
        one.wait()
        http = one.call("POST", "/v1.0/invoke/own/method/m", b"x", {"content-type": "text/plain"})
        with Client(one.grpc_port) as client:
            body = b"\x0a\x03own\x1a\x08\x0a\x01m\x12\x03\x12\x01x"
            grpc = client.raw(client.path("InvokeService"), body)

    assert http.body == b'["m", "x"]'
    assert http.body in grpc.message
