"""Apps that speak gRPC: jobs by OnJobEvent, and actors over the stream that the app opens (tests/data/app-grpc.jsonl, G5 and G6)."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import json_format

from edge.rpc.pb import appcallback_pb2, struct_pb2, wrappers_pb2  # noqa: F401  (types that an Any may hold)
from edge.rpc.pb.pool import POOL
from tests.grpc_app import GrpcApp, Reply, Seen, grpc_app
from tests.grpc_client import Client, Stream, wait_until
from tests.harness import Sidecar, sidecar
from tests.recorded import row, rows

Row = dict[str, Any]
TOKEN = "an app token"
JOBS = rows("app-grpc", "grpc/job/")
INITIAL = {"initialRequest": {"entities": ["Ingot"], "actorIdleTimeout": "4s", "drainRebalancedActors": True}}
INVOKED = ["invoke", "invoke-get", "invoke-error-flag", *(f"invoke-failed-code-{code}" for code in (2, 5, 12, 13))]
STREAMS = [
    f"grpc/actors/{name}" for name in ("no-initial", "initial-no-entities", *INVOKED, "timer", "reminder", "second-stream", "deactivate")
]


# --- jobs
async def play_jobs(folder: Path) -> dict[str, str]:
    """What went wrong, by row; "" = nothing."""

    def answer(seen: Seen) -> Reply:
        name = appcallback_pb2.JobEventRequest.FromString(seen.data).name
        status = next(one for one in JOBS if _name(one) == name)["answer"]["status"]
        if name == "alphafallback" and seen.method.endswith("Alpha1"):
            status = "OK"
        return Reply(code=grpc.StatusCode[status])

    with grpc_app(default=answer) as app:
        flags = ("--app-protocol", "grpc")
        edged = Sidecar(folder, app_id="forge", app_port=app.port, flags=flags, env={"APP_API_TOKEN": TOKEN})
        try:
            await asyncio.to_thread(edged.start, "/v1.0/healthz", 40.0)
            results = await asyncio.gather(*[asyncio.to_thread(_job, edged, app, one) for one in JOBS], return_exceptions=True)
            return {one["id"]: str(result) for one, result in zip(JOBS, results, strict=True)}
        finally:
            await asyncio.to_thread(edged.kill)


def _name(row: Row) -> str:
    return str(row["trigger"]["do"].rpartition("/")[2])


def _job(edged: Sidecar, app: GrpcApp, row: Row) -> str:
    def mine() -> list[Seen]:
        return [seen for seen in list(app.seen) if appcallback_pb2.JobEventRequest.FromString(seen.data).name == _name(row)]

    method, target = row["trigger"]["do"].split(" ")
    status = edged.call(method, target, row["trigger"]["body"]).status
    wait_until(lambda: len(mine()) >= row["consequence"]["calls"], 20.0)
    time.sleep(0.3)
    calls = [seen.path.removeprefix("/dapr.proto.runtime.v1.") for seen in mine()]
    message = json_format.MessageToDict(appcallback_pb2.JobEventRequest.FromString(mine()[0].data), descriptor_pool=POOL)
    wanted = row["call"]
    metadata = [f"{name}: {mine()[0].value(name)}" for name, value in wanted["metadata"] if name == "dapr-api-token"]
    faults = [f"status {status}"] if status != row["trigger"]["status"] else []
    faults += [f"calls {calls}"] if calls != row["consequence"]["methods"] else []
    faults += [f"message {message}"] if message != wanted["message"] else []
    faults += [f"metadata {metadata}"] if metadata != [f"dapr-api-token: {TOKEN}"] else []
    return "; ".join(faults)


# --- actors
class Host:
    """An app's end of a stream: keeps what it gets and answers as `reply` says."""

    def __init__(self, stream: Stream) -> None:
        self.stream, self.got = stream, list[Row]()
        self.reply: Callable[[str, Row], Row] = lambda kind, request: {kind.replace("Request", "Response"): {"id": request["id"]}}
        self.stream.send(INITIAL)
        assert self.stream.next() == {"initialResponse": {}}
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        try:
            while True:
                message = self.stream.next()
                self.got.append(message)
                [(kind, request)] = message.items()
                self.stream.send(self.reply(kind, request))
        except (grpc.RpcError, StopIteration):
            pass

    def of(self, kind: str) -> list[Row]:
        return [message[kind] for message in list(self.got) if kind in message]


def play_streams(folder: Path) -> dict[str, str]:
    """What went wrong, by row; "" = nothing."""
    with grpc_app() as app, sidecar(folder, app_id="forge", app_port=app.port, flags=("--app-protocol", "grpc")) as edged:
        edged.wait()
        with Client(edged.grpc_port) as client:
            faults = {"no-initial": _refused(client), "initial-no-entities": _nothing_hosted(client)}
            host = Host(client.stream("SubscribeActorEventsAlpha1"))
            faults |= {name: _invoked(edged, host, row("app-grpc", f"grpc/actors/{name}")) for name in INVOKED}
            faults |= {"timer": _timer(edged, host), "reminder": _reminder(edged, host), "second-stream": _second(edged, host, client)}
            faults["deactivate"] = _deactivated(host)
            host.stream.cancel()
    return {f"grpc/actors/{name}": fault for name, fault in faults.items()}


def _refused(client: Client) -> str:
    stream = client.stream("SubscribeActorEventsAlpha1")
    stream.send({"invokeResponse": {"id": "1"}})
    end, wanted = stream.end(), row("app-grpc", "grpc/actors/no-initial")["consequence"]["error"]
    return "" if (end.code, end.text) == (wanted["status"], wanted["details"]) else f"{end}"


def _nothing_hosted(client: Client) -> str:
    stream = client.stream("SubscribeActorEventsAlpha1")
    stream.send({"initialRequest": {}})
    first = stream.next()
    stream.cancel()
    return "" if first == {"initialResponse": {}} else f"{first}"


def _invoked(edged: Sidecar, host: Host, row: Row) -> str:
    [wanted], [sent] = row["consequence"]["received"], row["consequence"]["app_sent"]
    request, answer = wanted["invokeRequest"], row["trigger"]["api_answer"]
    host.reply = lambda kind, got: {name: {**fields, "id": got["id"]} for name, fields in sent.items()}
    verb, headers = ("POST", {"accept-encoding": "identity"}) if "data" in request else ("GET", {"accept-encoding": "identity"})
    if row["trigger"]["do"] == "invoke":
        trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        headers |= {"x-h": "v", "content-type": "application/json", "traceparent": trace}
    body = base64.b64decode(request["data"]) if "data" in request else None
    got = edged.call(verb, f"/v1.0/actors/Ingot/i1/method/{request['method']}", body, headers)
    seen = {**host.of("invokeRequest")[-1], "id": request["id"]}
    for fields in (seen["metadata"], request["metadata"]):
        fields.pop("Traceparent", None)  # of each runtime's own making
        fields.pop("Host", None)
    faults = [f"app got {seen}, not {request}"] if seen != request else []
    faults += (
        [f"{got.status} {got.body!r}"] if (got.status, got.body.decode().strip()) != (answer["status"], answer["body"].strip()) else []
    )
    wanted_headers = {name: value for name, value in answer["headers"] if name in ("content-type", "x-r", "x-daprerrorresponseheader")}
    got_headers = {name: value for name, value in got.headers.items() if name in ("content-type", "x-r", "x-daprerrorresponseheader")}
    faults += [f"headers {got_headers}"] if got_headers != wanted_headers else []
    return "; ".join(faults)


def _timer(edged: Sidecar, host: Host) -> str:
    wanted = row("app-grpc", "grpc/actors/timer")["consequence"]["received"]
    host.reply = lambda kind, got: {kind.replace("Request", "Response"): {"id": got["id"]}}
    body = {"dueTime": "0s", "period": "600ms", "callback": "cb", "data": base64.b64decode("eyJkIjogMX0=").decode()}
    edged.call("POST", "/v1.0/actors/Ingot/i1/timers/t1", {**body, "data": {"d": 1}})
    wait_until(lambda: len(host.of("timerRequest")) >= 3, 20.0)
    edged.call("DELETE", "/v1.0/actors/Ingot/i1/timers/t1")
    return _ticks([message["timerRequest"] for message in wanted], host.of("timerRequest")[:3])


def _reminder(edged: Sidecar, host: Host) -> str:
    wanted = row("app-grpc", "grpc/actors/reminder")["consequence"]["received"]
    edged.call("POST", "/v1.0/actors/Ingot/i1/reminders/r1", {"dueTime": "0s", "period": "1s", "data": {"d": 1}})
    wait_until(lambda: len(host.of("reminderRequest")) >= 2, 20.0)
    edged.call("DELETE", "/v1.0/actors/Ingot/i1/reminders/r1")
    return _ticks([message["reminderRequest"] for message in wanted if "reminderRequest" in message][:2], host.of("reminderRequest")[:2])


def _ticks(wanted: list[Row], got: list[Row]) -> str:
    """The same but for the numbers, and for the spaces in the JSON that the recording's client wrote."""
    shapes = [[{name: value for name, value in tick.items() if name not in ("id", "data")} for tick in ticks] for ticks in (wanted, got)]
    data = [json.loads(base64.b64decode(tick["data"]["value"])) for tick in got]
    return "" if shapes[0] == shapes[1] and data == [{"d": 1}] * len(got) else f"app got {got}"


def _second(edged: Sidecar, first: Host, client: Client) -> str:
    consequence, before = row("app-grpc", "grpc/actors/second-stream")["consequence"], len(first.got)
    second = Host(client.stream("SubscribeActorEventsAlpha1"))
    second.reply = lambda kind, got: {"invokeResponse": {"id": got["id"], "data": base64.b64encode(b'{"r":1}').decode()}}
    calls = []
    for id_ in ("i7", "i8"):
        answer = edged.call("POST", f"/v1.0/actors/Ingot/{id_}/method/pour", b"x")
        calls.append([answer.status, answer.body.decode()])
    got = [[message["invokeRequest"]["id"], message["invokeRequest"]["actorId"]] for message in second.got]
    wanted = [[message["invokeRequest"]["id"], message["invokeRequest"]["actorId"]] for message in consequence["second_received"][1:]]
    second.stream.cancel()
    first.reply = second.reply
    wait_until(lambda: edged.call("POST", "/v1.0/actors/Ingot/i9/method/pour", b"x").status == 200 and "i9" in str(first.got[-1]), 20.0)
    return "" if (calls, got) == (consequence["calls"], wanted) and len(first.got) > before else f"{calls} {got} {first.got[before:]}"


def _deactivated(host: Host) -> str:
    wait_until(lambda: "i9" in str(host.of("deactivateRequest")), 20.0)
    return ""
