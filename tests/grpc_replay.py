"""Plays the exchanges of tests/data/grpc.jsonl, recorded with daprd 1.18.3, against a real sidecar and says what differs.

A recorded text is a pattern: placeholders in it stand for what differs from run to run; `<etag-…>` keeps its first value.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from google.protobuf import json_format
from google.protobuf.message_factory import GetMessageClass

from edge.rpc.pb import any_pb2
from edge.rpc.pb.pool import POOL
from tests.grpc_client import Client, Result
from tests.recorded import DATA, meant

Row = dict[str, Any]
HOLE = re.compile(r"(<[a-z0-9][a-z0-9 -]*>)")
KINDS = {
    "<uuid>": r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "<time>": r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z| ?[+-]\d\d:?\d\d(?: \S+)?)?",
    "<http-date>": r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT",
    "<traceparent>": r"00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]",
    "<n>": r"\d+",
    "<trace-id>": "[0-9a-f]{32}",
    "<span-id>": "[0-9a-f]{16}",
}
BYTES = re.compile(r"<(\d+) bytes>")
SERVICES = {"Check": "grpc.health.v1.Health", "ServerReflectionInfo": "grpc.reflection.v1.ServerReflection", "Grind": "mill.Mill"}
GRPCIO = re.compile(r"Stream removed \((.*)\)")  # newer versions of the client say so of their own deadlines
OUR_DEADLINE = "context deadline exceeded"  # the sidecar may be quicker than the client's own clock
STREAM_TIME = 3.0


def rows(setup: str) -> Iterator[Row]:
    """The recorded exchanges of a setup, in order."""
    for line in (DATA / "grpc.jsonl").read_text().splitlines():
        row = json.loads(line)
        if row["setup"] == setup:
            yield row


def build(type_: Any, value: Mapping[str, Any]) -> Any:
    """A message of JSON in which an Any may be given by its bytes alone."""
    message, rest = GetMessageClass(type_)(), dict(value)
    by_name = {name: one for one in type_.fields for name in (one.name, one.json_name)}
    for name in list(rest):
        one = by_name[name]
        if one.message_type is None or (one.message_type.full_name.startswith("google.protobuf.") and not _bare_any(one, rest[name])):
            continue
        if one.message_type.GetOptions().map_entry:
            continue
        given = rest.pop(name)
        if one.is_repeated:
            getattr(message, one.name).extend(_part(one, each) for each in given)
        else:
            getattr(message, one.name).CopyFrom(_part(one, given))
    return json_format.ParseDict(rest, message, descriptor_pool=POOL)


def _bare_any(one: Any, value: Any) -> bool:
    return one.message_type.full_name == "google.protobuf.Any" and "@type" not in value


def _part(one: Any, value: Any) -> Any:
    if one.message_type.full_name == "google.protobuf.Any":
        return any_pb2.Any(value=base64.b64decode(value["value"]))
    return build(one.message_type, value)


@dataclass
class Play:
    """One setup being replayed. known: values of placeholders. during: what is done while a stream is open, by row name."""

    client: Client
    known: Mapping[str, str] = field(default_factory=dict)
    during: Mapping[str, Callable[[], None]] = field(default_factory=dict)
    kept: dict[str, str] = field(default_factory=dict)
    documents: dict[str, bytes] = field(default_factory=dict)

    def play(self, row: Row) -> list[str]:
        """Make one row's call; what differs from the recording, in words."""
        result = self._call(row)
        text = "Deadline Exceeded" if result.text == OUR_DEADLINE else GRPCIO.sub(r"\1", result.text)
        found = self._compare("code", row["code"], result.code) + self._compare("message", GRPCIO.sub(r"\1", row["message"]), text)
        found += self._compare("details", [_snake(each) for each in row["details"]], [_snake(each) for each in result.details])
        found += self._compare_response(row, result)
        if "headers" in row:
            found += self._compare("headers", _headers(row["headers"]), _headers(result.initial.items()))
        return [f"{row['group']}/{row['name']} {row['rpc']}: {text}" for text in found]

    # --- the call
    def _call(self, row: Row) -> Result:
        rpc, request = row["rpc"], row["request"]
        metadata = [(name, value) for name, value in row.get("metadata") or ()]
        path = self.client.path(rpc) if rpc not in SERVICES else f"/{SERVICES[rpc]}/{rpc}"
        try:
            method = self.client.method(path)
        except KeyError:
            return self.client.raw(path, b"", metadata)
        if method.client_streaming and rpc not in SERVICES:
            return self._stream(row, rpc, request, metadata)
        data = b"\xff" * 4 if isinstance(request, str) else build(method.input_type, self._filled(request)).SerializeToString()
        timeout = 1.0 if "deadline" in row["name"] else 15.0
        if method.server_streaming and rpc not in SERVICES:
            return self._watch(row, path, data, metadata, method)
        result = self.client.raw(path, data, metadata, timeout)
        result.message = None if result.message is None else _json(method, result.message)
        return result

    def _watch(self, row: Row, path: str, data: bytes, metadata: Any, method: Any) -> Result:
        call: Any = self.client.channel.unary_stream(path)(data, metadata=metadata, timeout=STREAM_TIME)
        if not row["code"].startswith("("):
            result = self.client.finished(call, (_json(method, each) for each in call))
            result.message = result.replies
            return result
        replies = self._until_told(row, lambda: _json(method, next(call)))
        call.cancel()
        return Result(row["code"], replies=replies, message=replies)

    def _stream(self, row: Row, rpc: str, request: Any, metadata: Any) -> Result:
        stream = self.client.stream(rpc, metadata, timeout=STREAM_TIME)
        for message in self._requests(row, request):
            stream.send(message)
        if row["code"].startswith("("):
            replies = self._until_told(row, stream.next)
            stream.cancel()
            return Result(row["code"], replies=replies, message=replies)
        if row["code"] != "DEADLINE_EXCEEDED" and not (request and "initialRequest" in request[0]):
            stream.half_close()
        result = stream.end()
        result.message = result.replies
        if rpc in ("EncryptAlpha1", "DecryptAlpha1") and isinstance(row["response"], dict):
            result.message = self._document(row, result.replies)
        return result

    def _until_told(self, row: Row, read: Callable[[], Any]) -> list[Any]:
        replies = [read()]
        if row["name"] in self.during:
            self.during[row["name"]]()
        return replies + [read() for _ in row["response"][1:]]

    def _requests(self, row: Row, request: Any) -> list[Any]:
        if isinstance(request, list):
            return request
        data = base64.b64encode(self.documents["encrypt"]).decode()
        return [{"options": {"componentName": "cask"}, "payload": {"data": data}}]

    def _document(self, row: Row, replies: list[Any]) -> Row:
        pieces = [each["payload"] for each in replies]
        data = b"".join(base64.b64decode(piece["data"]) for piece in pieces)
        self.documents[row["name"]] = data
        found: Row = {"seqs": [int(piece.get("seq", 0)) for piece in pieces], "bytes": len(data)}
        if row["rpc"] == "EncryptAlpha1":
            return found | {"first_line": data.partition(b"\n")[0].decode()}
        return found | {"text": data.decode()}

    def _filled(self, value: Any) -> Any:
        match value:
            case {"of": actor, **operation}:
                type_, _, id_ = actor.partition(" ")[0].partition("/")
                return {"actorType": type_, "actorId": id_, "operations": [operation]}
            case dict():
                return {key: self._filled(item) for key, item in value.items()}
            case list():
                return [self._filled(item) for item in value]
            case str() if size := BYTES.fullmatch(value):
                return base64.b64encode(b"x" * int(size[1])).decode()
            case str():
                return self.kept.get(value, value)
        return value

    # --- the answer
    def _compare_response(self, row: Row, result: Result) -> list[str]:
        wanted, got = row["response"], result.message
        if "data_text" in row:
            text = base64.b64decode((got or {}).get("data", {}).get("value", "")).decode()
            return self._compare("data", row["data_text"], text)
        if wanted is None and row["code"] != "OK":
            return []
        return self._compare("response", wanted, got)

    def _compare(self, where: str, wanted: Any, got: Any) -> list[str]:
        if isinstance(wanted, dict) and isinstance(got, dict):
            names = sorted(set(wanted) | set(got))
            return [text for name in names for text in self._compare(f"{where}.{name}", wanted.get(name), got.get(name))]
        if isinstance(wanted, list) and isinstance(got, list) and len(wanted) == len(got):
            pairs = enumerate(zip(wanted, got, strict=True))
            return [text for at, (one, other) in pairs for text in self._compare(f"{where}[{at}]", one, other)]
        if isinstance(wanted, str) and isinstance(got, str | int) and self._fits(wanted, str(got)):
            return []
        return [] if wanted == got else [f"{where} is {got!r:.400}, not {wanted!r:.400}"]

    def _fits(self, wanted: str, got: str) -> bool:
        wanted = meant(wanted)
        if wanted.startswith(("<etag-", "<subscription-id")):
            return self.kept.setdefault(wanted, got) == got
        pattern = "".join(
            KINDS.get(part, re.escape(self.known.get(part, part))) if HOLE.fullmatch(part) else re.escape(part)
            for part in HOLE.split(wanted)
        )
        return re.fullmatch(pattern, got, re.DOTALL) is not None


def _json(method: Any, data: bytes) -> Any:
    """A reply as JSON; an Any of no known type as its bytes."""
    message = GetMessageClass(method.output_type).FromString(data)
    try:
        return json_format.MessageToDict(message, descriptor_pool=POOL)
    except (TypeError, json_format.Error):
        return {"data": {"value": base64.b64encode(message.data.value).decode()}, "contentType": message.content_type}


def _headers(items: Any) -> dict[str, Any]:
    """Metadata by name; lengths and dates are each run's own, repeated names keep their last value."""
    return {name: value for name, value in items if name not in ("metadata.content-length", "metadata.date")}


def _snake(detail: Any) -> Any:
    """A detail with the proto's field names, as the recordings show it."""
    if not isinstance(detail, dict):
        return detail
    found = {}
    for name, value in detail.items():
        if name not in ("@type", "metadata"):
            name = re.sub("[A-Z]", lambda match: f"_{match.group().lower()}", name)
            value = [_snake(each) for each in value] if isinstance(value, list) else value
        found[name] = value
    return found
