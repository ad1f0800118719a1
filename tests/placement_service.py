"""A stand-in for Dapr's placement service with its protocol's three steps, for machines that have not the real one ($PLACEMENT)."""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc

from edge.rpc.pb import placement_pb2
from tests.harness import free_port

PATH = "/dapr.proto.placement.v1.Placement/ReportDaprStatus"
REPLICATION = 100


class StandIn:
    """Tells every stream who hosts what whenever a report comes or a stream ends. answered: the operations that sidecars confirmed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._hosts: dict[int, Any] = {}
        self._streams: dict[int, queue.Queue[Any]] = {}
        self._version = 0
        self.answered: list[int] = []

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        if details.method != PATH:
            return None
        serialize, parse = placement_pb2.PlacementOrder.SerializeToString, placement_pb2.Host.FromString
        return grpc.stream_stream_rpc_method_handler(self._stream, parse, serialize)

    def _stream(self, hosts: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        orders: queue.Queue[Any] = queue.Queue()
        key = id(orders)
        context.add_callback(lambda: self._gone(key))
        threading.Thread(target=self._read, args=(key, orders, hosts), daemon=True).start()
        while (order := orders.get()) is not None:
            yield order

    def _read(self, key: int, orders: queue.Queue[Any], hosts: Iterator[Any]) -> None:
        with contextlib.suppress(grpc.RpcError, Exception):
            for host in hosts:
                with self._lock:
                    if host.operation != placement_pb2.REPORT:
                        self.answered.append(host.operation)
                        continue
                    self._hosts[key], self._streams[key] = host, orders
                    self._tell()

    def _gone(self, key: int) -> None:
        with self._lock:
            self._hosts.pop(key, None)
            if (orders := self._streams.pop(key, None)) is not None:
                orders.put(None)
                self._tell()

    def _tell(self) -> None:
        self._version += 1
        tables = placement_pb2.PlacementTables(replication_factor=REPLICATION)
        for host in self._hosts.values():
            for type_ in host.entities:
                tables.entries[type_].load_map[host.name].CopyFrom(placement_pb2.Host(name=host.name, id=host.id))
        for orders in self._streams.values():
            for operation in ("lock", "update", "unlock"):
                given = tables if operation == "update" else None
                orders.put(placement_pb2.PlacementOrder(operation=operation, version=self._version, tables=given))


@contextlib.contextmanager
def stand_in() -> Iterator[str]:
    """Its address."""
    server = grpc.server(ThreadPoolExecutor(8), handlers=(StandIn(),))  # type: ignore[arg-type]
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(0).wait(5)


@contextlib.contextmanager
def real(folder: Path) -> Iterator[str]:
    """The address of Dapr's own, whose program $PLACEMENT names."""
    port = free_port()
    command = [os.environ["PLACEMENT"], "--port", str(port), "--healthz-port", str(free_port()), "--metrics-port", str(free_port())]
    with (folder / "placement.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            time.sleep(1)
            yield f"127.0.0.1:{port}"
        finally:
            process.kill()
