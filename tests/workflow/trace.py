"""Plays recorded traces of workflow SDKs against a sidecar: what the SDK sent is sent again, every answer and work item compared."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import uuid
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import json_format
from google.protobuf.message_factory import GetMessageClass

from edge.rpc.pb import dapr_pb2, pool
from edge.rpc.pb import orchestrator_service_pb2 as service
from edge.rpc.pb.history_events_pb2 import HistoryEvent
from tests.harness import Sidecar
from tests.recorded import meant

DATA = Path(__file__).parent.parent / "data" / "workflow"
KNOWN = dapr_pb2.DESCRIPTOR  # imported for the services in it
HUB = "TaskHubSidecarService"
PATIENCE = 20.0
SENTINEL = "0001-02-03T04:05:06Z"
FOREVER = "9999-12-31T23:59:59.999999Z"
ZERO = "0001-01-01T00:00:00Z"
TIME = re.compile(r"<T([+-][0-9.]+)s>")
TEXT_TIME = re.compile(r"<T[+-][0-9.]+s iso (?:Z|naive) \d+ frac>")
UUID = re.compile(r"<uuid-\d+>")
FAR = re.compile(r"<far future [0-9.]+>")
Row = dict[str, Any]


def rows(name: str) -> list[Row]:
    return [json.loads(line) for line in (DATA / f"{name}.jsonl").read_text().splitlines()]


class Hub:
    """One worker stream of an app; its items wait by instance until the scenario that they belong to takes them."""

    def __init__(self, sidecar: Sidecar) -> None:
        self.sidecar = sidecar
        self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{sidecar.grpc_port}")
        self.items: dict[tuple[str, str], asyncio.Queue[Any]] = defaultdict(asyncio.Queue)

    async def open(self) -> None:
        connect = self.channel.unary_stream(
            f"/{HUB}/GetWorkItems",
            request_serializer=service.GetWorkItemsRequest.SerializeToString,
            response_deserializer=service.WorkItem.FromString,
        )
        self._stream = connect(service.GetWorkItemsRequest())
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for item in self._stream:
            kind = item.WhichOneof("request")
            part = getattr(item, kind)
            instance = part.instanceId if kind == "workflowRequest" else part.workflowInstance.instanceId
            self.items[instance, kind].put_nowait(item)

    async def close(self) -> None:
        self._reading.cancel()
        await self.channel.close()

    async def call(self, rpc: str, message: Any, answer: Any, deadline: float | None) -> Any:
        method = self.channel.unary_unary(rpc, request_serializer=type(message).SerializeToString, response_deserializer=answer.FromString)
        return await method(message, timeout=deadline)


class Trace:
    """One recorded scenario on its way."""

    def __init__(self, name: str, hub: Hub) -> None:
        self.name, self.hub, self.rows = name, hub, rows(name)
        self.calls: dict[Any, asyncio.Task[Any]] = {}
        self.bound: dict[str, str] = {}

    async def play(self) -> None:
        """Raises AssertionError at the first difference."""
        self.started = datetime.now(UTC)
        began = asyncio.get_running_loop().time()
        for at, row in enumerate(self.rows):
            where = f"{self.name}:{at + 1} {row.get('rpc')}"
            if "note" in row or row["rpc"] == "Hello" or (row["rpc"], row["kind"]) == ("GetWorkItems", "request"):
                continue
            match row["dir"], row["kind"]:
                case (("sdk->runtime" | "http-client->runtime"), "request"):
                    await asyncio.sleep(began + row["t"] - asyncio.get_running_loop().time())
                    self.calls[self._key(row)] = asyncio.create_task(self._send(row))
                case "runtime->sdk", "stream":
                    await self._item(row, where)
                case _, "response":
                    await self._answer(row, where)
        for call in self.calls.values():
            call.cancel()

    @staticmethod
    def _key(row: Row) -> Any:
        return row.get("call", row["rpc"])

    # --- out
    def _filled(self, value: Any) -> Any:
        """A recorded message as it is sent now."""
        text = UUID.sub(lambda m: self.bound.setdefault(m[0], str(uuid.uuid4())), json.dumps(value))
        text = TIME.sub(lambda m: (self.started + timedelta(seconds=float(m[1]))).isoformat().replace("+00:00", "Z"), text)
        return json.loads(FAR.sub(FOREVER, text.replace("<zero time>", ZERO)))

    async def _send(self, row: Row) -> Any:
        if row["dir"] == "http-client->runtime":
            method, target = row["rpc"].split(" ", 1)
            body = row.get("body", "").encode()
            return await asyncio.to_thread(
                self.hub.sidecar.call, method, self._filled(target), body, {"Content-Type": "application/json"}, 30.0
            )
        path, asked, answer = _method(row["rpc"])
        filled = self._filled(row.get("message", {}))
        if "Dapr/" in path:  # there these fields are bytes, recorded as text
            filled |= {key: base64.b64encode(filled[key].encode()).decode() for key in ("input", "eventData") if key in filled}
        message = json_format.ParseDict(filled, asked())
        return await self.hub.call(path, message, answer, row.get("deadline_s"))

    # --- in
    async def _item(self, row: Row, where: str) -> None:
        (kind, part), *_ = row["message"].items()
        recorded = part.get("instanceId", "") if kind == "workflowRequest" else part["workflowInstance"].get("instanceId", "")
        instance = self.bound.get(recorded, recorded)
        try:
            async with asyncio.timeout(PATIENCE):
                item = await self.hub.items[instance, kind].get()
        except TimeoutError:
            raise AssertionError(f"{where}: no {kind} for {instance}") from None
        self._same(row["message"], item, service.WorkItem, where)

    async def _answer(self, row: Row, where: str) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                answer = await self.calls[self._key(row)]
        except TimeoutError:
            raise AssertionError(f"{where}: no answer") from None
        except grpc.aio.AioRpcError as error:
            assert row.get("code") == error.code().name, f"{where}: {error.code().name} {error.details()}, recorded {row}"
            recorded = re.sub(
                r'"actorreminder\|\|.*\|\|(.*)\|\|start-.*"', r'"\1"', row.get("error", "")
            )  # daprd tells the name of a job of its own
            self._compare(recorded, error.details(), where)
            return
        if row["rpc"] == "ListInstanceIDs" or (self.name, row["rpc"]) == ("py-22-rerun", "GetInstanceHistory"):
            return  # other traces run side by side; see `_sort_past`
        if row["dir"] == "runtime->http-client":
            assert row["code"] == answer.status, f"{where}: {answer.status} {answer.body!r}"
            self._compare(row.get("message"), answer.json() if answer.body else None, where)
            return
        assert "code" not in row, f"{where}: OK, recorded {row['code']} {row.get('error')}"
        if row["rpc"] == "GetInstance" and self.name != "py-30-start-time" and _asked_before_first_turn(row, answer):
            return
        self._same(row.get("message", {}), answer, _method(row["rpc"])[2], where)

    def _same(self, recorded: Any, message: Any, kind: Any, where: str) -> None:
        text = TIME.sub(SENTINEL, json.dumps(recorded).replace("<zero time>", ZERO))
        expected = json.loads(FAR.sub(FOREVER, text))
        found = json_format.MessageToDict(message)
        if "rerunParentInstanceInfo" in text:  # daprd puts the copied events of a turn in another order than they had
            _sort_past(expected), _sort_past(found)
        for old, new in zip(_take_raw(expected), _take_raw(found), strict=True):
            events = [HistoryEvent.FromString(base64.b64decode(event)) for event in new]
            recorded_events = [HistoryEvent.FromString(base64.b64decode(event["b64"])) for event in old]
            assert [e.WhichOneof("eventType") for e in recorded_events] == [e.WhichOneof("eventType") for e in events], where
        self._compare(json_format.MessageToDict(json_format.ParseDict(expected, kind())), found, where)

    def _compare(self, expected: Any, found: Any, where: str) -> None:
        match expected:
            case dict():
                assert isinstance(found, dict), f"{where}: {found!r}, recorded {expected!r}"
                assert expected.keys() == found.keys(), f"{where}: {found!r}, recorded {expected!r}"
                for key, value in expected.items():
                    self._compare(value, found[key], f"{where}.{key}")
            case list():
                assert isinstance(found, list) and len(expected) == len(found), f"{where}: {found!r}, recorded {expected!r}"
                for at, value in enumerate(expected):
                    self._compare(value, found[at], f"{where}[{at}]")
            case str() if expected == SENTINEL or TEXT_TIME.fullmatch(expected) or expected == "<spanid>":
                assert found, f"{where}: empty"
            case str():
                self._compare_text(expected, found, where)
            case _:
                assert expected == found, f"{where}: {found!r}, recorded {expected!r}"

    def _compare_text(self, expected: str, found: Any, where: str) -> None:
        expected = meant(expected)
        pieces = re.split(r"(<uuid-\d+>)", expected)
        names = pieces[1::2]
        pattern = "".join(f"({re.escape(self.bound[p])})" if p in self.bound else "(.+?)" if p in names else re.escape(p) for p in pieces)
        matched = re.fullmatch(pattern, str(found), re.S)
        assert matched, f"{where}: {found!r}, recorded {expected!r} with {self.bound}"
        for name, value in zip(names, matched.groups(), strict=True):
            self.bound.setdefault(name, value)


def _take_raw(value: Any) -> list[list[Any]]:
    """Takes out the lists of events that are bytes on the wire (chunks of propagated history)."""
    match value:
        case dict():
            own = [value.pop("rawEvents")] if value.get("rawEvents") else []
            return own + [raw for inner in value.values() for raw in _take_raw(inner)]
        case list():
            return [raw for inner in value for raw in _take_raw(inner)]
    return []


def _sort_past(item: Any) -> None:
    for part in item.values():
        if isinstance(part, dict) and "pastEvents" in part:
            part["pastEvents"].sort(key=lambda event: (sorted(set(event) - {"timestamp", "eventId", "router"}), event.get("eventId", 0)))


def _method(rpc: str) -> tuple[str, Any, Any]:
    """Path, request and answer class of a recorded RPC."""
    full = rpc if "/" in rpc else f"{HUB}/{rpc}"
    name, method = full.split("/")
    found = pool.POOL.FindServiceByName(name).FindMethodByName(method)
    return f"/{full}", GetMessageClass(found.input_type), GetMessageClass(found.output_type)


def _asked_before_first_turn(row: Row, answer: Any) -> bool:
    """Whether the recording caught an instance still pending that here has had its first turn: milliseconds decide."""
    recorded = row.get("message", {}).get("workflowState", {})
    if recorded.get("workflowStatus") != "ORCHESTRATION_STATUS_PENDING":
        return False
    found = json_format.MessageToDict(answer)["workflowState"]
    running = "workflowStatus" not in found  # the enum's zero, which JSON leaves out
    return running and bool(found["instanceId"])
