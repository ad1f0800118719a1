"""Dapr.Workflow: workflows on its worker, and its client."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.grpc_client import Client
from tests.sdk.dotnet.client import METADATA
from tests.sdk.dotnet.wire import HttpClient, steps
from tests.sdk.dotnet.worker import HUB, Failed, Flow, Task, Turn, Worker

PROTOCOL = ""


def order(turn: Turn, value: Any) -> Flow:
    """Two activities one after the other, two at once, a timer, a child, a status."""
    first = yield turn.activity("Double", value)
    turn.status = {"stage": "halfway"}
    left, right = turn.activity("Double", first), turn.activity("Nothing")
    both = [(yield left), (yield right)]
    yield turn.timer(0.3)
    kid = yield turn.child("Kid", {"n": 1})
    named = yield turn.child("Kid", {"n": 2}, f"{turn.instance}-kid")
    return [first, both, kid, named]


def kid(turn: Turn, value: Any) -> Flow:
    return (yield turn.activity("Double", value["n"]))


def at_once(turn: Turn, value: Any) -> Flow:
    """Ends in its first turn, with a timer and an activity that nobody waits for: its last action and the first one both have number 0."""
    turn.timer(30)
    turn.activity("Double", 1)
    return {"given": value}
    yield Task()


def nothing(turn: Turn, value: Any) -> Flow:
    return None
    yield Task()


def crash(turn: Turn, value: Any) -> Flow:
    raise ValueError("no such order")
    yield Task()


def failing(turn: Turn, value: Any) -> Flow:
    """Tries a failing activity twice, with the timer between that a retry has; then a child that fails."""
    try:
        yield turn.activity("Fail", value)
    except Failed as error:
        seen = str(error)
    yield turn.timer(0.1, activityRetry={"taskExecutionId": "x"})
    try:
        yield turn.child("Crash", None, f"{turn.instance}-crash")
    except Failed as error:
        return [seen, str(error)]
    yield turn.activity("Fail", value)


def waits(turn: Turn, value: Any) -> Flow:
    """An event without a limit, found without regard to case; then one that came before it was waited for."""
    first = yield turn.event("Approve")
    yield turn.activity("Double", 1)
    second = yield turn.event("Other", patient=False)
    return [first, second]


def loops(turn: Turn, value: Any) -> Flow:
    """Goes on as new with the events that nobody took."""
    if value < 3:
        yield turn.activity("Double", value)
        turn.again(value + 1)
        return None
    return [value, (yield turn.event("Kept", patient=False))]


def sends(turn: Turn, value: Any) -> Flow:
    turn.act(sendEvent={"instance": {"instanceId": value}, "name": "approve", "data": json.dumps("sent")})
    return (yield turn.activity("Double", 4))


FLOWS = {
    "Order": order,
    "Kid": kid,
    "AtOnce": at_once,
    "Nothing": nothing,
    "Crash": crash,
    "Failing": failing,
    "Waits": waits,
    "Loops": loops,
    "Sends": sends,
}


def fail(value: Any) -> Any:
    raise ValueError(f"cannot {value}")


ACTIVITIES: dict[str, Callable[[Any], Any]] = {"Double": lambda value: value * 2, "Nothing": lambda value: None, "Fail": fail}


class Hub:
    """The client's calls."""

    def __init__(self, channel: Client) -> None:
        self.channel = channel

    def __call__(self, rpc: str, /, **fields: Any) -> Any:
        result = self.channel.call(f"/{HUB}/{rpc}", fields, METADATA, 20)
        return result.message if result.code == "OK" else [result.code, result.text]

    def start(self, name: str, instance: str, value: Any = None, **more: Any) -> Any:
        return self("StartInstance", instanceId=instance, name=name, input="" if value is None else json.dumps(value), **more)

    def wait(self, instance: str, what: str = "Completion") -> Any:
        return told(self(f"WaitForInstance{what}", instanceId=instance, getInputsAndOutputs=True))

    def history(self, instance: str) -> Any:
        found = self("GetInstanceHistory", instanceId=instance)
        return [shape(event) for event in found["events"]] if isinstance(found, dict) else found


def told(answer: Any) -> Any:
    """What the SDK reads of an instance's state; its times only as being there."""
    if not isinstance(answer, dict) or "workflowState" not in answer:
        return answer
    state = answer["workflowState"]
    for name in ("createdTimestamp", "lastUpdatedTimestamp", "completedTimestamp", "startedAt"):
        if name in state:
            state[name] = True
    return answer


def shape(event: dict[str, Any]) -> Any:
    """An event without times; ids that differ by run as such."""
    kind = next(name for name in event if name not in ("eventId", "timestamp", "router"))
    body = {
        name: value for name, value in event[kind].items() if name not in ("fireAt", "parentTraceContext", "taskExecutionId", "executionId")
    }
    for name in ("workflowInstance",):
        body.pop(name, None)
    return [event.get("eventId", 0), kind, body, event.get("router"), "timestamp" in event]


def sending(hub: Hub, worker: Worker) -> Iterator[tuple[str, Any]]:
    """An event from one workflow to another; with daprd 1.18.3 the sender stays where it is."""
    hub.start("Waits", "w2")
    hub.wait("w2", "Start")
    hub.start("Sends", "e1", "w2")
    hub("RaiseEvent", instanceId="w2", name="other", input="1")
    yield "sent", [hub.wait("e1"), hub.history("e1"), hub.wait("w2")]


def play(http: int, grpc: int, app: int = 0) -> dict[str, Any]:
    with HttpClient(http) as client, Client(grpc) as channel:
        client.wait()
        worker = Worker(channel, FLOWS, ACTIVITIES)
        hub = Hub(channel)
        try:
            return steps((hello, runs, failures, events, control, lists, sending), hub, worker)
        finally:
            worker.stop()


def hello(hub: Hub, worker: Worker) -> Iterator[tuple[str, Any]]:
    yield "keep-alive", hub("Hello")


def runs(hub: Hub, worker: Worker) -> Iterator[tuple[str, Any]]:
    trace = {"traceParent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "traceState": "a=b"}
    yield "start", hub.start("Order", "o1", 3, parentTraceContext=trace)
    state = hub.wait("o1", "Start")
    yield "started", [state.get("exists"), state["workflowState"]["name"]]
    yield "order", hub.wait("o1")
    yield "order's history", sorted(str(event) for event in hub.history("o1") if event[1] != "workflowStarted")
    yield "again", hub.start("Order", "o1", 3)
    yield "at once", [hub.start("AtOnce", "a1"), hub.wait("a1"), hub.history("a1")]
    yield "nothing", [hub.start("Nothing", "n1", {"x": 1}), hub.wait("n1"), hub.history("n1")]
    yield "loops", [hub.start("Loops", "l1", 1), hub("RaiseEvent", instanceId="l1", name="kept", input='"k"'), hub.wait("l1")]
    later = (datetime.now(UTC) + timedelta(seconds=1.5)).isoformat().replace("+00:00", "Z")
    yield "scheduled", hub.start("Nothing", "s1", scheduledStartTimestamp=later)
    yield "before", told(hub("GetInstance", instanceId="s1", getInputsAndOutputs=True))
    yield "after", hub.wait("s1")
    yield "seen", {name: sorted(fields) for name, fields in worker.seen.items()}


def failures(hub: Hub, worker: Worker) -> Iterator[tuple[str, Any]]:
    yield "caught", [hub.start("Failing", "f1", "fly"), hub.wait("f1"), hub.history("f1")]
    yield "crash", [hub.start("Crash", "c1"), hub.wait("c1"), hub.history("c1")]
    yield "no inputs", told(hub("GetInstance", instanceId="c1"))
    yield "none", [hub("GetInstance", instanceId="nowhere", getInputsAndOutputs=True), hub.history("nowhere")]


def events(hub: Hub, worker: Worker) -> Iterator[tuple[str, Any]]:
    hub.start("Waits", "w1")
    hub.wait("w1", "Start")
    yield (
        "raised",
        [hub("RaiseEvent", instanceId="w1", name="other", input="{}"), hub("RaiseEvent", instanceId="w1", name="APPROVE", input="")],
    )
    yield "waits", [hub.wait("w1"), sorted(str(event) for event in hub.history("w1") if event[1] != "workflowStarted")]
    yield "to nobody", hub("RaiseEvent", instanceId="nowhere", name="x", input="")


def control(hub: Hub, worker: Worker) -> Iterator[tuple[str, Any]]:
    hub.start("Waits", "p1")
    hub.wait("p1", "Start")
    yield "suspend", hub("SuspendInstance", instanceId="p1", reason="")
    yield "suspended", settled(hub, "p1", "SUSPENDED")
    hub("RaiseEvent", instanceId="p1", name="approve", input="1")
    hub("RaiseEvent", instanceId="p1", name="other", input="2")
    yield (
        "resume",
        [
            hub("ResumeInstance", instanceId="p1", reason="go on"),
            hub.wait("p1"),
            [event for event in hub.history("p1") if event[1] == "executionSuspended"],
        ],
    )
    hub.start("Waits", "t1")
    hub.wait("t1", "Start")
    yield "terminate", [hub("TerminateInstance", instanceId="t1", output='"enough"', recursive=True), hub.wait("t1"), hub.history("t1")]
    hub.start("Waits", "t2")
    hub.wait("t2", "Start")
    yield "terminate without output", [hub("TerminateInstance", instanceId="t2", output="", recursive=True), hub.wait("t2")]
    yield "purge", [hub("PurgeInstances", instanceId="t1", recursive=True), hub("PurgeInstances", instanceId="t1", recursive=True)]
    hub.start("Waits", "t3")
    hub.wait("t3", "Start")
    yield "purge running", hub("PurgeInstances", instanceId="t3", recursive=True)
    yield (
        "ended",
        [hub("TerminateInstance", instanceId="t1", output="", recursive=True), hub("SuspendInstance", instanceId="nowhere", reason="")],
    )
    again = hub("RerunWorkflowFromEvent", sourceInstanceID="o1", eventID=0, newInstanceID="o2", overwriteInput=True, input="5")
    yield "rerun", [again, hub.wait("o2") if isinstance(again, dict) else None]


def settled(hub: Hub, instance: str, status: str) -> Any:
    for _ in range(200):
        state = told(hub("GetInstance", instanceId=instance, getInputsAndOutputs=True))
        if status in str(state):
            break
        threading.Event().wait(0.02)
    return state


def lists(hub: Hub, worker: Worker) -> Iterator[tuple[str, Any]]:
    found = hub("ListInstanceIDs")
    yield "all", sorted(found["instanceIds"]) if "instanceIds" in found else found
    page = hub("ListInstanceIDs", pageSize=2)
    yield "page", [len(page.get("instanceIds", ())), "continuationToken" in page]
    rest = hub("ListInstanceIDs", pageSize=2, continuationToken=page["continuationToken"])
    yield "next page", [len(rest.get("instanceIds", ())), set(rest["instanceIds"]) & set(page["instanceIds"])]
