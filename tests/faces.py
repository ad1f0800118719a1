"""The two faces of a sidecar behind one set of verbs, so that a scenario is written once and run over HTTP and over gRPC."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote, urlencode

from tests.grpc_client import Client, Result
from tests.harness import Answer, Sidecar

Metadata = Mapping[str, str]
NONE: Metadata = {}


class Refused(Exception):
    """The API said no. text: its message, the same on both faces."""

    def __init__(self, text: str) -> None:
        self.text = text
        super().__init__(text)


@dataclass(frozen=True)
class Value:
    """What a state store gives."""

    data: bytes
    etag: str


class Face(Protocol):
    """Values are bytes of JSON texts: what both faces can say."""

    def save(self, store: str, key: str, value: bytes, *, etag: str = "", first: bool = False, metadata: Metadata = NONE) -> None: ...
    def get(self, store: str, key: str) -> Value: ...
    def get_many(self, store: str, keys: Sequence[str]) -> dict[str, bytes]: ...
    def delete(self, store: str, key: str, *, etag: str = "") -> None: ...
    def transact(self, store: str, operations: Sequence[tuple[str, str, bytes]]) -> None: ...
    def publish(self, pubsub: str, topic: str, data: bytes, content_type: str, metadata: Metadata = NONE) -> None: ...
    def publish_many(self, pubsub: str, topic: str, entries: Sequence[tuple[str, bytes]]) -> None: ...
    def bind(self, name: str, operation: str, data: bytes, metadata: Metadata = NONE) -> bytes: ...
    def secret(self, store: str, name: str) -> dict[str, str]: ...
    def secrets(self, store: str) -> dict[str, dict[str, str]]: ...
    def metadata(self) -> dict[str, Any]: ...
    def set_metadata(self, key: str, value: str) -> None: ...
    def configuration(self, store: str, keys: Sequence[str]) -> dict[str, str]: ...
    def lock(self, store: str, resource: str, owner: str, seconds: int) -> bool: ...
    def unlock(self, store: str, resource: str, owner: str) -> int: ...
    def invoke(self, app: str, method: str, data: bytes) -> tuple[int, bytes]: ...
    def close(self) -> None: ...


class HttpFace:
    """Over HTTP/1.1."""

    def __init__(self, edged: Sidecar) -> None:
        self._edged = edged

    def _call(self, method: str, path: str, body: Any = None, headers: Metadata = NONE) -> Answer:
        answer = self._edged.call(method, path, body, headers)
        if answer.status >= 400:
            raise Refused(answer.json()["message"])
        return answer

    @staticmethod
    def _item(key: str, value: bytes, etag: str, metadata: Metadata) -> dict[str, Any]:
        item: dict[str, Any] = {"key": key, "value": json.loads(value), "metadata": dict(metadata)}
        return item | {"etag": etag} if etag else item

    def save(self, store: str, key: str, value: bytes, *, etag: str = "", first: bool = False, metadata: Metadata = NONE) -> None:
        item = self._item(key, value, etag, metadata)
        self._call("POST", f"/v1.0/state/{store}", [item | {"options": {"concurrency": "first-write"}} if first else item])

    def get(self, store: str, key: str) -> Value:
        answer = self._call("GET", f"/v1.0/state/{store}/{quote(key)}")
        return Value(answer.body, answer.headers.get("etag", "").strip('"'))

    def get_many(self, store: str, keys: Sequence[str]) -> dict[str, bytes]:
        answer = self._call("POST", f"/v1.0/state/{store}/bulk", {"keys": list(keys)})
        return {item["key"]: json.dumps(item["data"], separators=(",", ":")).encode() if "data" in item else b"" for item in answer.json()}

    def delete(self, store: str, key: str, *, etag: str = "") -> None:
        self._call("DELETE", f"/v1.0/state/{store}/{quote(key)}", None, {"If-Match": etag} if etag else NONE)

    def transact(self, store: str, operations: Sequence[tuple[str, str, bytes]]) -> None:
        items = [
            {"operation": kind, "request": {"key": key, **({"value": json.loads(value)} if value else {})}}
            for kind, key, value in operations
        ]
        self._call("POST", f"/v1.0/state/{store}/transaction", {"operations": items})

    def publish(self, pubsub: str, topic: str, data: bytes, content_type: str, metadata: Metadata = NONE) -> None:
        query = urlencode({f"metadata.{key}": value for key, value in metadata.items()})
        self._call("POST", f"/v1.0/publish/{pubsub}/{topic}?{query}", data, {"Content-Type": content_type})

    def publish_many(self, pubsub: str, topic: str, entries: Sequence[tuple[str, bytes]]) -> None:
        items = [{"entryId": id_, "event": json.loads(data), "contentType": "application/json"} for id_, data in entries]
        self._call("POST", f"/v1.0/publish/bulk/{pubsub}/{topic}", items)

    def bind(self, name: str, operation: str, data: bytes, metadata: Metadata = NONE) -> bytes:
        body = {"operation": operation, "data": json.loads(data or b"null"), "metadata": dict(metadata)}
        return self._call("POST", f"/v1.0/bindings/{name}", body).body

    def secret(self, store: str, name: str) -> dict[str, str]:
        found: dict[str, str] = self._call("GET", f"/v1.0/secrets/{store}/{name}").json()
        return found

    def secrets(self, store: str) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = self._call("GET", f"/v1.0/secrets/{store}/bulk").json()
        return found

    def metadata(self) -> dict[str, Any]:
        found = self._call("GET", "/v1.0/metadata").json()
        return {"id": found["id"], "extended": found["extended"], "components": {one["name"]: one["type"] for one in found["components"]}}

    def set_metadata(self, key: str, value: str) -> None:
        self._call("PUT", f"/v1.0/metadata/{key}", value.encode())

    def configuration(self, store: str, keys: Sequence[str]) -> dict[str, str]:
        query = urlencode([("key", key) for key in keys])
        answer = self._call("GET", f"/v1.0/configuration/{store}?{query}")
        return {key: item["value"] for key, item in answer.json().items()} if answer.body else {}

    def lock(self, store: str, resource: str, owner: str, seconds: int) -> bool:
        body = {"resourceId": resource, "lockOwner": owner, "expiryInSeconds": seconds}
        return bool(self._call("POST", f"/v1.0-alpha1/lock/{store}", body).json()["success"])

    def unlock(self, store: str, resource: str, owner: str) -> int:
        return int(self._call("POST", f"/v1.0-alpha1/unlock/{store}", {"resourceId": resource, "lockOwner": owner}).json()["status"])

    def invoke(self, app: str, method: str, data: bytes) -> tuple[int, bytes]:
        answer = self._edged.call("POST", f"/v1.0/invoke/{app}/method/{method}", data, {"Content-Type": "application/json"})
        if "ERR_DIRECT_INVOKE" in answer.body.decode():
            raise Refused(answer.json()["message"])
        return answer.status, answer.body

    def close(self) -> None:
        """Each request had a connection of its own."""


class GrpcFace:
    """Over gRPC."""

    def __init__(self, edged: Sidecar) -> None:
        self._client = Client(edged.grpc_port)

    def _call(self, name: str, request: Any) -> Any:
        return self._checked(self._client.call(name, request)).message

    @staticmethod
    def _checked(result: Result) -> Result:
        if result.code != "OK":
            raise Refused(result.text)
        return result

    @staticmethod
    def _item(key: str, value: bytes = b"", etag: str = "", metadata: Metadata = NONE) -> dict[str, Any]:
        item: dict[str, Any] = {"key": key, "value": _b64(value), "metadata": dict(metadata)}
        return item | {"etag": {"value": etag}} if etag else item

    def save(self, store: str, key: str, value: bytes, *, etag: str = "", first: bool = False, metadata: Metadata = NONE) -> None:
        item = self._item(key, value, etag, metadata)
        self._call("SaveState", {"storeName": store, "states": [item | {"options": {"concurrency": 1}} if first else item]})

    def get(self, store: str, key: str) -> Value:
        found = self._call("GetState", {"storeName": store, "key": key})
        return Value(base64.b64decode(found.get("data", "")), found.get("etag", ""))

    def get_many(self, store: str, keys: Sequence[str]) -> dict[str, bytes]:
        found = self._call("GetBulkState", {"storeName": store, "keys": list(keys)})
        return {item["key"]: base64.b64decode(item.get("data", "")) for item in found["items"]}

    def delete(self, store: str, key: str, *, etag: str = "") -> None:
        self._call("DeleteState", {"storeName": store, "key": key, **({"etag": {"value": etag}} if etag else {})})

    def transact(self, store: str, operations: Sequence[tuple[str, str, bytes]]) -> None:
        items = [{"operationType": kind, "request": self._item(key, value)} for kind, key, value in operations]
        self._call("ExecuteStateTransaction", {"storeName": store, "operations": items})

    def publish(self, pubsub: str, topic: str, data: bytes, content_type: str, metadata: Metadata = NONE) -> None:
        request = {"pubsubName": pubsub, "topic": topic, "data": _b64(data), "dataContentType": content_type, "metadata": dict(metadata)}
        self._call("PublishEvent", request)

    def publish_many(self, pubsub: str, topic: str, entries: Sequence[tuple[str, bytes]]) -> None:
        items = [{"entryId": id_, "event": _b64(data), "contentType": "application/json"} for id_, data in entries]
        self._call("BulkPublishEvent", {"pubsubName": pubsub, "topic": topic, "entries": items})

    def bind(self, name: str, operation: str, data: bytes, metadata: Metadata = NONE) -> bytes:
        found = self._call("InvokeBinding", {"name": name, "operation": operation, "data": _b64(data), "metadata": dict(metadata)})
        return base64.b64decode(found.get("data", ""))

    def secret(self, store: str, name: str) -> dict[str, str]:
        found: dict[str, str] = self._call("GetSecret", {"storeName": store, "key": name}).get("data", {})
        return found

    def secrets(self, store: str) -> dict[str, dict[str, str]]:
        found = self._call("GetBulkSecret", {"storeName": store}).get("data", {})
        return {name: one["secrets"] for name, one in found.items()}

    def metadata(self) -> dict[str, Any]:
        found = self._call("GetMetadata", {})
        components = {
            one["name"]: one["type"] for one in found["registeredComponents" if "registeredComponents" in found else "components"]
        }
        return {"id": found["id"], "extended": found["extended" if "extended" in found else "extendedMetadata"], "components": components}

    def set_metadata(self, key: str, value: str) -> None:
        self._call("SetMetadata", {"key": key, "value": value})

    def configuration(self, store: str, keys: Sequence[str]) -> dict[str, str]:
        found = self._call("GetConfiguration", {"storeName": store, "keys": list(keys)}).get("items", {})
        return {key: item["value"] for key, item in found.items()}

    def lock(self, store: str, resource: str, owner: str, seconds: int) -> bool:
        request = {"storeName": store, "resourceId": resource, "lockOwner": owner, "expiryInSeconds": seconds}
        return bool(self._call("TryLockAlpha1", request).get("success", False))

    def unlock(self, store: str, resource: str, owner: str) -> int:
        found = self._call("UnlockAlpha1", {"storeName": store, "resourceId": resource, "lockOwner": owner})
        names = ("SUCCESS", "LOCK_DOES_NOT_EXIST", "LOCK_BELONGS_TO_OTHERS", "INTERNAL_ERROR")
        return names.index(found.get("status", "SUCCESS"))

    def invoke(self, app: str, method: str, data: bytes) -> tuple[int, bytes]:
        from edge.rpc.pb import common_pb2, invoke_pb2

        extension = common_pb2.HTTPExtension(verb="POST")
        message = common_pb2.InvokeRequest(method=method, data={"value": data}, content_type="application/json", http_extension=extension)
        sent = invoke_pb2.InvokeServiceRequest(id=app, message=message).SerializeToString()
        result = self._client.raw(self._client.path("InvokeService"), sent)
        if "dapr-http-status" not in result.initial:
            raise Refused(result.text)
        status = int(result.initial["dapr-http-status"])
        if result.code != "OK":
            return status, result.details[0]["metadata"]["http.error_message"].encode()
        return status, common_pb2.InvokeResponse.FromString(result.message).data.value

    def close(self) -> None:
        self._client.channel.close()


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


FACES = {"http": HttpFace, "grpc": GrpcFace}
