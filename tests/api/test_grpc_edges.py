"""Requests at the edges of the gRPC API that the recordings do not have: answers as daprd 1.18.3 gives them."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest

from edge.rpc.pb import configuration_pb2
from tests.grpc_client import Client
from tests.harness import Sidecar, component, sidecar
from tests.raw_grpc import blocks, message

AS_JSON = {"contentType": "application/json"}
STORES = ("cup", "bin")
SEALED = """
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: sealed}
spec:
  type: state.in-memory
  version: v1
  metadata: [{name: primaryEncryptionKey, secretKeyRef: {name: key, key: key}}]
auth: {secretStore: safe}
"""


@pytest.fixture(scope="module")
def edged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    folder = tmp_path_factory.mktemp("edges")
    (folder / "s.json").write_text('{"key": "%s"}' % ("0f" * 32))
    resources = {
        "cup.yaml": component("cup", "state.in-memory"),
        "bin.yaml": component("bin", "state.sqlite", {"connectionString": str(folder / "s.db")}),
        "safe.yaml": component("safe", "secretstores.local.file", {"secretsFile": str(folder / "s.json")}),
        "sealed.yaml": SEALED,
    }
    with sidecar(folder, app_port=1, flags=["--app-protocol", "grpc"], resources=resources) as one:
        yield one


@pytest.fixture
def client(edged: Sidecar) -> Iterator[Client]:
    with Client(edged.grpc_port) as one:
        yield one


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def stored(client: Client, store: str, key: str) -> bytes:
    return base64.b64decode(client.call("GetState", storeName=store, key=key).message.get("data", ""))


# --- state
@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("value", [b'{"b": 1, "a":2}', b"not json", b"", b"\xff"])
def test_a_transactions_values_stay_as_they_are_whatever_their_content_type(client: Client, store: str, value: bytes) -> None:
    request = {"key": "t", "value": text(value), "metadata": AS_JSON}

    done = client.call("ExecuteStateTransaction", storeName=store, operations=[{"operationType": "upsert", "request": request}])

    assert (done.code, stored(client, store, "t")) == ("OK", value)


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize(
    ("value", "kept"), [(b'{"b":1.0,"a":[1,  2.50]}', b'{"a":[1,2.5],"b":1}'), (b"1e21", b"1e+21"), (b" 12345678901234567 ", None)]
)
def test_saved_json_has_its_numbers_as_over_http(client: Client, store: str, value: bytes, kept: bytes | None) -> None:
    client.call("SaveState", storeName=store, states=[{"key": "n", "value": text(value), "metadata": AS_JSON}])

    assert stored(client, store, "n") == (value.strip() if kept is None else kept)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (b"1e400", "json: cannot unmarshal number 1e400 into Go value of type float64"),
        (b"1 2", "invalid character '2' after top-level value"),
        (b"", "unexpected end of JSON input"),
    ],
)
def test_what_is_no_json_value_is_refused(client: Client, value: bytes, why: str) -> None:
    refused = client.call("SaveState", storeName="cup", states=[{"key": "n", "value": text(value), "metadata": AS_JSON}])

    assert (refused.code, refused.text) == ("UNKNOWN", why)


def test_a_key_asked_for_twice_is_answered_as_over_each_face(client: Client, edged: Sidecar) -> None:
    client.call("SaveState", storeName="bin", states=[{"key": "twice", "value": text(b"1")}])

    found = client.call("GetBulkState", storeName="bin", keys=["twice", "twice", "never"]).message["items"]
    over_http = edged.call("POST", "/v1.0/state/bin/bulk", b'{"keys": ["twice", "twice", "never"]}').json()

    assert [item["key"] for item in found] == ["twice", "never"]
    assert [item["key"] for item in over_http] == ["twice", "never", ""]


def test_an_encrypted_store_keeps_saved_json_as_it_is(client: Client) -> None:
    kept, refused = (
        client.call("SaveState", storeName="sealed", states=[{"key": "j", "value": text(value), "metadata": AS_JSON}])
        for value in (b'{"b": 1.0, "a":"<"}', b"no JSON")
    )

    assert (kept.code, refused.code) == ("OK", "UNKNOWN")
    assert stored(client, "sealed", "j") == b'{"b": 1.0, "a":"<"}'


def test_a_ttl_beyond_64_bits_is_refused_and_a_long_one_kept(client: Client) -> None:
    def save(ttl: str) -> str:
        return client.call("SaveState", storeName="cup", states=[{"key": "ttl", "value": "", "metadata": {"ttlInSeconds": ttl}}]).text

    assert save("9" * 19).endswith(f'strconv.Atoi: parsing "{"9" * 19}": value out of range')
    assert save("9" * 18) == ""
    assert client.call("GetState", storeName="cup", key="ttl").message["metadata"] == {"ttlExpireTime": "9999-12-31T23:59:59Z"}


# --- compression, streams
@pytest.mark.parametrize("size", [3, 30_000, 200_000])
def test_a_client_that_zips_gets_its_answers(edged: Sidecar, size: int) -> None:
    value = text(b"plum" * size)
    with Client(edged.grpc_port, options=[("grpc.default_compression_algorithm", 2)]) as zipping:
        zipping.call("SaveState", storeName="cup", states=[{"key": "z", "value": value}])
        got = zipping.call("GetState", storeName="cup", key="z")
        missing = zipping.call("GetState", storeName="none", key="z")

    assert got.message["data"] == value
    assert (missing.code, missing.text) == ("INVALID_ARGUMENT", "state store none is not found")


def test_a_call_with_one_message_has_no_second(edged: Sidecar) -> None:
    one = message(configuration_pb2.SubscribeConfigurationRequest(store_name="none").SerializeToString())
    path = {":path": "/dapr.proto.runtime.v1.Dapr/SubscribeConfiguration"}

    (none,), (two,) = blocks(edged.grpc_port, path, b""), blocks(edged.grpc_port, path, one + one)

    assert (none["grpc-status"], two["grpc-status"]) == ("13", "13")
    assert two["grpc-message"] == "cardinality violation: received multiple request messages for non-client-streaming RPC"


# --- metadata, paths
def test_baggage_comes_back_as_it_was_read(client: Client) -> None:
    answer = client.call("GetState", storeName="cup", key="k", metadata=[("baggage", "a=b; p=%41, c=d")])

    assert answer.initial["baggage"] == "a=b;p=A,c=d"


@pytest.mark.parametrize(("path", "what"), [("/own.Service/M?x=1", "forbidden character"), ("/own.Service/M\x01", "control character")])
def test_a_path_that_no_method_has_does_not_reach_the_app(client: Client, path: str, what: str) -> None:
    refused = client.raw(path, b"", [("dapr-app-id", "test")])

    assert refused.code == "INVALID_ARGUMENT"
    assert refused.text.startswith(f"invalid method: method contains {what}")


# --- actors
@pytest.mark.parametrize(
    ("type_", "id_", "why"),
    [
        ("", "a/b", 'invalid actorId: name contains forbidden character: "a/b"'),
        ("Mu/le", "", 'invalid actorType: name contains forbidden character: "Mu/le"'),
        ("", "..", 'invalid actorId: name is a path traversal sequence: ".."'),
    ],
)
def test_names_of_actors_are_looked_at_before_their_host(client: Client, type_: str, id_: str, why: str) -> None:
    refused = client.call("InvokeActor", actorType=type_, actorId=id_, method="go")

    assert (refused.code, refused.text) == ("INVALID_ARGUMENT", why)


def test_a_stream_of_actor_events_that_says_nothing_ends_as_read(client: Client) -> None:
    stream = client.stream("SubscribeActorEventsAlpha1")
    stream.half_close()

    end = stream.end()

    assert (end.code, end.text) == ("UNKNOWN", "EOF")


# --- jobs
def test_a_prefix_that_no_job_has_is_refused(client: Client) -> None:
    refused = client.call("DeleteJobsByPrefix", namePrefix="a/b")

    assert refused.code == "INTERNAL"
    assert 'job name is invalid "app||default||test||a/ba": must not contain' in refused.text
    assert client.call("DeleteJobsByPrefix", namePrefix="").code == "OK"
