"""DaprClient and its younger siblings (state, secrets, lock, crypto, conversation, metadata): what goes out, what is read."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorProto

from edge.rpc.pb import reflection_pb2
from tests.grpc_client import DAPR, Client, Result
from tests.sdk.dotnet.wire import TRACE, HttpClient, steps

PROTOCOL = ""
METADATA = (
    ("user-agent", "dapr-sdk-dotnet/v1.18.5"),
    ("traceparent", TRACE),
    ("grpc-trace-bin", bytes.fromhex(f"0000{TRACE[3:35]}01{TRACE[36:52]}0200")),
)
REFLECTION = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
JSON = "application/json"


def text(data: str | bytes) -> str:
    """Bytes as they stand in a message's JSON."""
    return base64.b64encode(data.encode() if isinstance(data, str) else data).decode()


def plain(data: str | None) -> str:
    return base64.b64decode(data or "").decode(errors="replace")


def play(http: int, grpc: int, app: int = 0) -> dict[str, Any]:
    """Everything, step by step: each step's name with what .NET would have seen."""
    with HttpClient(http) as client, Client(grpc) as channel:
        client.wait()
        call = Caller(channel)
        parts = (sidecar, state, publish, bindings, secrets, configuration, locks, crypto, conversation, errors)
        return steps(parts, call, client)


class Caller:
    """Calls with the metadata that each call of the SDK carries."""

    def __init__(self, channel: Client) -> None:
        self.channel = channel

    def __call__(self, rpc: str, request: Any = None, /, **fields: Any) -> Result:
        return self.channel.call(rpc, fields if request is None else request, METADATA)

    def reply(self, rpc: str, request: Any = None, /, **fields: Any) -> Any:
        """The message, or the code with the text."""
        result = self(rpc, request, **fields)
        return result.message if result.code == "OK" else [result.code, result.text]

    def exchange(self, name: str, messages: list[Any]) -> Result:
        """A duplex call: all messages, half-closed, read to the end."""
        stream = self.channel.stream(name, METADATA, timeout=20)
        for message in messages:
            stream.send(message)
        stream.half_close()
        return stream.end()


def sidecar(call: Caller, client: HttpClient) -> Iterator[tuple[str, Any]]:
    """Health, what the sidecar is, and which methods the SDK believes it has."""
    yield "health", [client.send("GET", f"/v1.0/healthz{path}")[::2] for path in ("/outbound",)]
    yield "set", call.reply("SetMetadata", key="fleet", value="north")
    about = call.reply("GetMetadata")
    yield "about", [about["id"], about["extended"]["fleet"]]
    kinds = ("state", "pubsub", "bindings")
    shown = [one for one in about["components"] if one["type"].startswith(kinds) and one["name"] != "ticker"]
    yield "components", sorted([one["name"], one["type"], sorted(one.get("capabilities", ()))] for one in shown)
    status, headers, body = client.send("GET", "/v1.0/metadata")
    read = json.loads(body)
    yield "over HTTP", [status, headers["Content-Type"], read["id"], read["extended"]["fleet"], read.get("subscriptions")]
    known = methods(call.channel)
    wanted = ("BulkPublishEvent", "BulkPublishEventAlpha1", "ScheduleJob", "ScheduleJobAlpha1", "GetJob", "DeleteJob")
    yield "methods", [name for name in wanted if known is None or name in known]


def methods(channel: Client) -> set[str] | None:
    """Asked by reflection, half-closed after the question. None: refused, which the SDK takes for all of them."""
    question = reflection_pb2.ServerReflectionRequest(file_containing_symbol=DAPR).SerializeToString()
    call: Any = channel.channel.stream_stream(REFLECTION)(iter([question]), timeout=10)
    found: set[str] = set()
    result = Client.finished(call, call)
    for reply in result.replies:
        for raw in reflection_pb2.ServerReflectionResponse.FromString(reply).file_descriptor_response.file_descriptor_proto:
            file = FileDescriptorProto.FromString(raw)
            found |= {each.name for service in file.service if f"{file.package}.{service.name}" == DAPR for each in service.method}
    return found if result.code == "OK" else None


def state(call: Caller, client: HttpClient) -> Iterator[tuple[str, Any]]:
    """Values are JSON; no value is no bytes; an ETag is its own message, also when its text is empty."""

    def save(key: str, value: str | None, **more: Any) -> Any:
        item = {"key": key, **({} if value is None else {"value": text(value)}), **more}
        return call.reply("SaveState", storeName="statestore", states=[item])

    def get(key: str, **more: Any) -> Any:
        found = call.reply("GetState", storeName="statestore", key=key, **more)
        return [plain(found.get("data")), found.get("etag")] if isinstance(found, dict) else found

    strong = {"concurrency": "CONCURRENCY_FIRST_WRITE", "consistency": "CONSISTENCY_STRONG"}
    yield (
        "save",
        [
            save("widget", '{"size":"large","note":"gr\\u00F6\\u00DFer"}', metadata={"ttlInSeconds": "60"}),
            get("widget", consistency="CONSISTENCY_STRONG"),
        ],
    )
    yield "no value", [save("none", None), get("none"), save("null", "null"), get("null"), get("nowhere")]
    etag = get("widget")[1]
    yield "wrong etag", save("widget", "1", etag={"value": "9"}, options=strong)
    yield "odd etag", save("widget", "1", etag={"value": "not a number"}, options=strong)
    yield "empty etag", save("fresh", "1", etag={"value": ""}, options=strong)
    yield "right etag", save("widget", "2", etag={"value": etag}, options=strong)
    yield "bytes", [save("raw", "\x00\x01 and \x7f"), get("raw")]
    yield "delete with wrong etag", call.reply("DeleteState", storeName="statestore", key="widget", etag={"value": "9"})
    keys = ["widget", "none", "null", "nowhere"]
    bulk = call.reply("GetBulkState", storeName="statestore", keys=keys, parallelism=2, metadata={"partitionKey": "x"})
    yield "bulk", sorted([item["key"], plain(item.get("data")), item.get("etag"), item.get("error")] for item in bulk["items"])
    operations = [
        {"operationType": "upsert", "request": {"key": "a", "value": text('"one"')}},
        {"operationType": "upsert", "request": {"key": "b", "value": text('"two"'), "metadata": {"ttlInSeconds": "60"}}},
        {"operationType": "delete", "request": {"key": "widget", "etag": {"value": get("widget")[1]}, "options": strong}},
    ]
    yield "transaction", call.reply("ExecuteStateTransaction", storeName="statestore", operations=operations, metadata={"p": "q"})
    yield "after it", [get("a")[0], get("b")[0], get("widget")]
    wrong = {"operationType": "upsert", "request": {"key": "a", "value": text("3"), "etag": {"value": "9"}}}
    yield "refused transaction", call.reply("ExecuteStateTransaction", storeName="statestore", operations=[wrong])
    gone = call.reply("DeleteBulkState", storeName="statestore", states=[{"key": "a"}, {"key": "b", "etag": {"value": "9"}}])
    yield "bulk delete", [gone, get("a"), get("b")[0]]
    yield "query", call.reply("QueryStateAlpha1", storeName="statestore", query='{"filter":{"EQ":{"a":1}}}')


def publish(call: Caller, client: HttpClient) -> Iterator[tuple[str, Any]]:
    """Without data there is no content type either; a bulk's entries are numbered."""
    bus = {"pubsubName": "pubsub", "topic": "orders"}
    yield "json", call.reply("PublishEvent", bus | {"data": text('{"id":1}'), "dataContentType": JSON})
    yield "nothing", call.reply("PublishEvent", bus)
    yield (
        "event",
        call.reply(
            "PublishEvent",
            bus
            | {
                "data": text('{"id":"i","source":"urn:x","type":"t","specversion":"1.0","data":{"n":1}}'),
                "dataContentType": "application/cloudevents+json",
            },
        ),
    )
    yield (
        "bytes",
        call.reply(
            "PublishEvent",
            bus | {"data": text(b"\xff\x00"), "dataContentType": "application/octet-stream", "metadata": {"rawPayload": "true"}},
        ),
    )
    entries = [
        {"entryId": "0", "event": text('{"n":1}'), "contentType": JSON, "metadata": {"m": "1"}},
        {"entryId": "1", "event": text(b"\x01\xff"), "contentType": "application/octet-stream", "metadata": {"m": "1"}},
    ]
    yield (
        "bulk",
        [call.reply(name, bus | {"entries": entries, "metadata": {"m": "1"}}) for name in ("BulkPublishEvent", "BulkPublishEventAlpha1")],
    )


def bindings(call: Caller, client: HttpClient) -> Iterator[tuple[str, Any]]:
    """Data are JSON of the value, null too."""
    made = call.reply("InvokeBinding", name="files", operation="create", data=text('"some text!"'), metadata={"fileName": "a.txt"})
    yield "create", sorted(json.loads(plain(made["data"])))
    read = call.reply("InvokeBinding", name="files", operation="get", data=text("null"), metadata={"fileName": "a.txt"})
    yield "get", [plain(read.get("data")), read.get("metadata")]
    yield "delete", call.reply("InvokeBinding", name="files", operation="delete", data=text("null"), metadata={"fileName": "a.txt"})
    yield "none", call.reply("InvokeBinding", name="nowhere", operation="get", data=text("null"))


def secrets(call: Caller, client: HttpClient) -> Iterator[tuple[str, Any]]:
    yield "one", call.reply("GetSecret", storeName="secrets", key="mqtt", metadata={"version": "1"})
    yield "all", call.reply("GetBulkSecret", storeName="secrets")
    yield "none", call.reply("GetSecret", storeName="secrets", key="nope")


def configuration(call: Caller, client: HttpClient) -> Iterator[tuple[str, Any]]:
    """A subscription's first answer has its id only; the id ends it."""
    yield "some", call.reply("GetConfiguration", storeName="settings", keys=["colour", "none"])
    yield "all", sorted(call.reply("GetConfiguration", storeName="settings")["items"])
    stream: Any = call.channel.stream("SubscribeConfiguration", METADATA, timeout=20)
    stream.send({"storeName": "settings", "keys": ["colour"]})
    stream.half_close()
    first = stream.next()
    yield "subscribed", sorted(first)
    yield "unsubscribed", call.reply("UnsubscribeConfiguration", storeName="settings", id=first["id"])
    stream.cancel()


def locks(call: Caller, client: HttpClient) -> Iterator[tuple[str, Any]]:
    """Only the owner unlocks; what nobody holds is no error."""
    held = {"storeName": "locks", "resourceId": "gate"}
    yield "lock", [call.reply("TryLockAlpha1", **held, lockOwner=owner, expiryInSeconds=30) for owner in ("ann", "ben")]
    yield "unlock", [call.reply("UnlockAlpha1", **held, lockOwner=owner) for owner in ("ben", "ann", "ann")]


def crypto(call: Caller, client: HttpClient) -> Iterator[tuple[str, Any]]:
    """The options ride on the first block; a stream without a block has none."""
    body = bytes(range(256)) * 40
    options = {
        "componentName": "keys",
        "keyName": "rsa",
        "keyWrapAlgorithm": "RSA-OAEP-256",
        "dataEncryptionCipher": "aes-gcm",
        "omitDecryptionKeyName": True,
    }
    sealed = call.exchange("EncryptAlpha1", blocks(body, options))
    yield "encrypt", [sealed.code, sealed.text]
    cipher = b"".join(base64.b64decode(reply["payload"].get("data", "")) for reply in sealed.replies)
    opened = call.exchange("DecryptAlpha1", blocks(cipher, {"componentName": "keys", "keyName": "rsa"}))
    yield "decrypt", b"".join(base64.b64decode(reply["payload"].get("data", "")) for reply in opened.replies) == body
    bad = call.exchange("DecryptAlpha1", blocks(cipher[:-3] + b"abc", {"componentName": "keys", "keyName": "rsa"}))
    yield "spoiled", [bad.code, bad.text]
    nothing = call.exchange("EncryptAlpha1", [])
    yield "empty stream", [nothing.code, nothing.text]
    for wrap in ("A256KW", "A128CBC"):
        done = call.exchange(
            "EncryptAlpha1",
            blocks(b"x", options | {"keyName": "aes", "keyWrapAlgorithm": wrap, "dataEncryptionCipher": "chacha20-poly1305"}),
        )
        yield wrap, [done.code, done.text]


def blocks(body: bytes, options: dict[str, Any], size: int = 4096) -> list[Any]:
    cut = [body[start : start + size] for start in range(0, len(body), size)]
    messages: list[Any] = [{"payload": {"data": text(part), "seq": str(number)}} for number, part in enumerate(cut)]
    messages[0]["options"] = options
    return messages


def conversation(call: Caller, client: HttpClient) -> Iterator[tuple[str, Any]]:
    tool = {
        "function": {"name": "weather", "description": "d", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}
    }
    messages = [
        {"ofSystem": {"content": [{"text": "be brief"}]}},
        {"ofUser": {"name": "ann", "content": [{"text": "hello"}]}},
        {"ofAssistant": {"toolCalls": [{"id": "1", "function": {"name": "weather", "arguments": "{}"}}]}},
        {"ofTool": {"toolId": "1", "name": "weather", "content": [{"text": "sun"}]}},
    ]
    request = {
        "name": "echo",
        "contextId": "c",
        "temperature": 0.5,
        "toolChoice": "auto",
        "tools": [tool],
        "inputs": [{"messages": messages}],
    }
    yield "with tools", call.reply("ConverseAlpha2", request)
    yield "plain", call.reply("ConverseAlpha2", name="echo", inputs=[{"messages": [messages[1]], "scrubPii": True}])
    yield "none", call.reply("ConverseAlpha2", name="nowhere", inputs=[{"messages": [messages[1]]}])


def errors(call: Caller, client: HttpClient) -> Iterator[tuple[str, Any]]:
    """What an exception's extended information is made of."""
    asked = {
        "state": ("GetState", {"storeName": "nowhere", "key": "k"}),
        "publish": ("PublishEvent", {"pubsubName": "nowhere", "topic": "t"}),
        "topic": ("PublishEvent", {"pubsubName": "pubsub"}),
        "bulk": ("BulkPublishEvent", {"pubsubName": "pubsub", "topic": "t", "entries": [{"entryId": ""}]}),
        "key": ("SaveState", {"storeName": "statestore", "states": [{"key": "a||b"}]}),
        "query": ("QueryStateAlpha1", {"storeName": "statestore", "query": "{}"}),
        "job": ("GetJob", {"name": "nowhere"}),
        "transaction": ("ExecuteStateTransaction", {"storeName": "nowhere"}),
        "secret": ("GetSecret", {"storeName": "nowhere", "key": "k"}),
    }
    for step, (name, request) in asked.items():
        result = call(name, request)
        yield step, [result.code, result.text, result.details]
