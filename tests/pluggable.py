"""A pluggable component as anybody would write one: a gRPC server on a unix socket, on grpcio, with reflection. Run as a program:

    python tests/pluggable.py SOCKET=SERVICE,SERVICE…

It is a state store with transactions, a pub/sub that gives each message to who pulls its topic, bindings that echo, a secret store.
"""

from __future__ import annotations

import queue
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import grpc
from grpc_reflection.v1alpha import reflection

from edge.rpc.pb import any_pb2, error_details_pb2, status_pb2
from edge.rpc.pb import components_pb2 as pb

PREFIX = "dapr.proto.components.v1."


class Plug:
    """All services on one memory. asked: names of the calls, in order."""

    def __init__(self) -> None:
        self.values: dict[str, tuple[bytes, int]] = {}
        self.topics: dict[str, queue.Queue[Any]] = defaultdict(queue.Queue)
        self.settings: dict[str, str] = {}
        self.acks: list[tuple[str, str]] = []
        self.lock = threading.Lock()

    def init(self, request: Any, _context: Any) -> Any:
        self.settings = dict(request.metadata.properties)
        return pb.Empty()

    # --- state
    def get(self, request: Any, _context: Any) -> Any:
        found = self.values.get(request.key)
        return pb.GetResponse() if found is None else pb.GetResponse(data=found[0], etag=pb.Etag(value=str(found[1])))

    def bulk_get(self, request: Any, _context: Any) -> Any:
        answer = pb.BulkGetResponse()
        for item in request.items:
            if (found := self.values.get(item.key)) is not None:
                answer.items.add(key=item.key, data=found[0], etag=pb.Etag(value=str(found[1])))
        return answer

    def set(self, request: Any, context: Any) -> Any:
        with self.lock:
            _, version = self.values.get(request.key, (b"", 0))
            if request.HasField("etag") and request.etag.value != str(version):
                _refuse(context, grpc.StatusCode.FAILED_PRECONDITION, "another etag")
            self.values[request.key] = (request.value, version + 1)
        return pb.Empty()

    def delete(self, request: Any, _context: Any) -> Any:
        self.values.pop(request.key, None)
        return pb.Empty()

    def transact(self, request: Any, context: Any) -> Any:
        for operation in request.operations:
            if operation.WhichOneof("request") == "set":
                self.set(operation.set, context)
            else:
                self.delete(operation.delete, context)
        return pb.Empty()

    # --- pub/sub
    def publish(self, request: Any, _context: Any) -> Any:
        message = pb.PullMessagesResponse(data=request.data, topic_name=request.topic, metadata=request.metadata, id=str(len(request.data)))
        self.topics[request.topic].put(message)
        return pb.Empty()

    def pull(self, requests: Iterator[Any], context: Any) -> Iterator[Any]:
        topic = next(requests).topic.name
        waiting: dict[str, Any] = {}

        def acknowledge() -> None:
            for request in requests:
                message = waiting.pop(request.ack_message_id)
                if request.HasField("ack_error"):
                    self.topics[topic].put(message)

        threading.Thread(target=acknowledge, daemon=True).start()
        while context.is_active():
            try:
                message = self.topics[topic].get(timeout=0.05)
            except queue.Empty:
                continue
            waiting[message.id] = message
            yield message
        for message in waiting.values():
            self.topics[topic].put(message)

    # --- bindings
    def read(self, requests: Iterator[Any], _context: Any) -> Iterator[Any]:
        for number in range(3):
            yield pb.ReadResponse(data=b"%d" % number, metadata={"n": str(number)}, message_id=str(number))
            answer = next(requests)
            self.acks.append((answer.message_id, answer.response_error.message))
        for _ in requests:
            pass

    def invoke(self, request: Any, context: Any) -> Any:
        if request.operation == "fail":
            context.abort(grpc.StatusCode.INTERNAL, "as you wish")
        if request.operation == "acks":
            return pb.InvokeResponse(data=repr(self.acks).encode())
        return pb.InvokeResponse(data=request.data[::-1], metadata={"echo": request.metadata.get("say", ""), **self.settings})

    # --- secrets
    def secret(self, request: Any, context: Any) -> Any:
        if request.key == "none":
            context.abort(grpc.StatusCode.NOT_FOUND, "no such secret")
        return pb.GetSecretResponse(data={request.key: "hush"})

    def secrets(self, _request: Any, _context: Any) -> Any:
        return pb.BulkGetSecretResponse(data={"a": pb.SecretResponse(secrets={"a": "1"})})

    def services(self) -> dict[str, dict[str, Any]]:
        """Handlers by service and method."""
        empty, features = pb.PingRequest, pb.FeaturesResponse

        def one(run: Any, request: Any) -> Any:
            return grpc.unary_unary_rpc_method_handler(run, request.FromString, lambda message: message.SerializeToString())

        def many(run: Any, request: Any) -> Any:
            return grpc.stream_stream_rpc_method_handler(run, request.FromString, lambda message: message.SerializeToString())

        start = {"Init": one(self.init, pb.InitRequest), "Ping": one(lambda *_: pb.Empty(), empty)}

        def can(*names: str) -> dict[str, Any]:
            return {**start, "Features": one(lambda *_: features(features=names), pb.FeaturesRequest)}

        return {
            "StateStore": {
                **can("ETAG", "TRANSACTIONAL"),
                "Get": one(self.get, pb.GetRequest),
                "BulkGet": one(self.bulk_get, pb.BulkGetRequest),
                "Set": one(self.set, pb.SetRequest),
                "Delete": one(self.delete, pb.DeleteRequest),
            },
            "TransactionalStateStore": {"Transact": one(self.transact, pb.TransactionalStateRequest)},
            "TransactionalStoreMultiMaxSize": {
                "MultiMaxSize": one(lambda *_: pb.MultiMaxSizeResponse(max_size=10), pb.MultiMaxSizeRequest)
            },
            "PubSub": {**can(), "Publish": one(self.publish, pb.PublishRequest), "PullMessages": many(self.pull, pb.PullMessagesRequest)},
            "InputBinding": {**start, "Read": many(self.read, pb.ReadRequest)},
            "OutputBinding": {
                **start,
                "ListOperations": one(lambda *_: pb.ListOperationsResponse(operations=["turn", "fail", "acks"]), pb.ListOperationsRequest),
                "Invoke": one(self.invoke, pb.InvokeRequest),
            },
            "SecretStore": {
                **can("MULTIPLE_KEY_VALUES_PER_SECRET"),
                "Get": one(self.secret, pb.GetSecretRequest),
                "BulkGet": one(self.secrets, pb.BulkGetSecretRequest),
            },
        }


def _refuse(context: Any, code: grpc.StatusCode, text: str) -> None:
    """With the detail by which an ETag that did not match is told."""
    violation = error_details_pb2.BadRequest.FieldViolation(field="etag", description=text)
    detail = any_pb2.Any(
        type_url="type.googleapis.com/google.rpc.BadRequest",
        value=error_details_pb2.BadRequest(field_violations=[violation]).SerializeToString(),
    )
    status = status_pb2.Status(code=code.value[0], message=text, details=[detail])
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    context.abort(code, text)


def serve(path: str, names: list[str]) -> grpc.Server:
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=16))
    services = Plug().services()
    for name in names:
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(PREFIX + name, services[name]),))
    reflection.enable_server_reflection((*(PREFIX + name for name in names), reflection.SERVICE_NAME), server)
    server.add_insecure_port(f"unix:{path}")
    server.start()
    return server


def main() -> None:
    servers = [serve(path, names.split(",")) for path, _, names in (argument.partition("=") for argument in sys.argv[1:])]
    servers[0].wait_for_termination()


if __name__ == "__main__":
    main()
