"""Dapr.Workflow's worker over TaskHubSidecarService.

The worker asks for work with an empty message, answers each turn with CompleteOrchestratorTask, numbers its actions from 0 and gives
the last one, which completes the workflow, no number. Tasks are found again by the id of their execution.
"""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from google.protobuf import json_format

from edge.rpc.pb.orchestrator_service_pb2 import WorkItem
from tests.grpc_client import Client
from tests.sdk.dotnet.client import METADATA

HUB = "TaskHubSidecarService"
NAMESPACE = uuid.UUID("6f927a2e-9c7e-4a1d-9b8d-7a86f2e7f62f")
FOREVER = "9999-12-31T23:59:59.999999999Z"
BODIES = ("taskCompleted", "taskFailed", "childWorkflowInstanceCompleted", "childWorkflowInstanceFailed", "timerFired")
Flow = Generator["Task", Any, Any]


class Failed(Exception):
    """A task that failed; its text is the failure's message."""


@dataclass
class Task:
    """Something that a workflow waits for."""

    done: bool = False
    value: Any = None
    error: str = ""


@dataclass
class Turn:
    """One run of a workflow over its whole history."""

    instance: str
    execution: str
    now: datetime
    actions: dict[int, dict[str, Any]] = field(default_factory=dict)
    tasks: dict[Any, Task] = field(default_factory=dict)
    waiting: dict[str, list[Task]] = field(default_factory=dict)
    buffered: list[dict[str, Any]] = field(default_factory=list)
    status: Any = None
    number: int = 0

    def act(self, **action: Any) -> int:
        id_, self.number = self.number, self.number + 1
        self.actions[id_] = {"id": id_, **action}
        return id_

    def activity(self, name: str, value: Any = None) -> Task:
        key = uuid.uuid5(NAMESPACE, f"{self.instance}|activity|{self.number}|{name}").hex
        id_ = self.act(scheduleTask={"name": name, "input": json.dumps(value), "taskExecutionId": key})
        self.tasks[id_] = self.tasks[key] = Task()
        return self.tasks[id_]

    def timer(self, after: float, **origin: Any) -> Task:
        due = (self.now + timedelta(seconds=after)).isoformat().replace("+00:00", "Z")
        return self._timer(due, origin or {"createTimer": {}})

    def _timer(self, due: str, origin: dict[str, Any]) -> Task:
        id_ = self.act(createTimer={"fireAt": due, **origin})
        self.tasks[id_] = Task()
        return self.tasks[id_]

    def child(self, name: str, value: Any, instance: str = "") -> Task:
        instance = instance or str(uuid.uuid5(NAMESPACE, f"{self.instance}_{self.number}"))
        id_ = self.act(createChildWorkflow={"name": name, "instanceId": instance, "input": json.dumps(value)})
        self.tasks[id_] = Task()
        return self.tasks[id_]

    def event(self, name: str, *, patient: bool = True) -> Task:
        """patient: with a timer of no end, as for a wait without a limit."""
        if patient:
            self._timer(FOREVER, {"externalEvent": {"name": name}})
        task = Task()
        found = next((one for one in self.buffered if one["eventRaised"]["name"].lower() == name.lower()), None)
        if found is None:
            self.waiting.setdefault(name.lower(), []).append(task)
        else:
            self.buffered.remove(found)
            task.done, task.value = True, _read(found["eventRaised"].get("input"))
        return task

    def again(self, value: Any) -> None:
        self.act(
            completeWorkflow={
                "workflowStatus": "ORCHESTRATION_STATUS_CONTINUED_AS_NEW",
                "result": json.dumps(value),
                "carryoverEvents": self.buffered,
            }
        )

    def take(self, event: dict[str, Any]) -> None:
        """One event of the history."""
        kind = next(name for name in event if name not in ("eventId", "timestamp", "router"))
        body = event[kind]
        if kind in ("taskScheduled", "timerCreated", "childWorkflowInstanceCreated", "eventSent"):
            self.actions.pop(event.get("eventId", 0), None)
        elif kind in BODIES:
            key = body.get("timerId" if kind == "timerFired" else "taskScheduledId", 0)
            task = self.tasks.get(key) or self.tasks.get(body.get("taskExecutionId"))
            assert task is not None, event
            task.done, task.value, task.error = True, _read(body.get("result")), body.get("failureDetails", {}).get("errorMessage", "")
        elif kind == "eventRaised":
            waiters = self.waiting.get(body["name"].lower())
            if waiters:
                task = waiters.pop(0)
                task.done, task.value = True, _read(body.get("input"))
            else:
                self.buffered.append(event)
        elif kind == "workflowStarted":
            self.now = _time(event["timestamp"])


def _read(text: str | None) -> Any:
    return json.loads(text) if text else None


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text[:26].rstrip("Z") + "+00:00") if "." in text else datetime.fromisoformat(text.replace("Z", "+00:00"))


class Worker:
    """The stream of work. flows: workflows by name; activities by name. seen: what came that the SDK looks at."""

    def __init__(self, channel: Client, flows: dict[str, Callable[[Turn, Any], Flow]], activities: dict[str, Callable[[Any], Any]]) -> None:
        self.channel, self.flows, self.activities = channel, flows, activities
        self.seen: dict[str, set[str]] = {"workflow": set(), "activity": set()}
        self.stream = channel.channel.unary_stream(f"/{HUB}/GetWorkItems")(b"", metadata=METADATA)
        self.thread = threading.Thread(target=self._work, daemon=True)
        self.thread.start()

    def stop(self) -> None:
        self.stream.cancel()
        self.thread.join(5)

    def _work(self) -> None:
        try:
            for data in self.stream:
                item = json_format.MessageToDict(WorkItem.FromString(data))
                threading.Thread(target=self._one, args=(item,), daemon=True).start()
        except Exception:
            return

    def _one(self, item: dict[str, Any]) -> None:
        token = item.get("completionToken", "")
        if "workflowRequest" in item:
            request = item["workflowRequest"]
            self.seen["workflow"] |= set(request) - {"pastEvents", "propagatedHistory"} | {f"token {token}"[:6]}
            answer = self._turn(request) | {"instanceId": request["instanceId"], "completionToken": token}
            self.channel.call(f"/{HUB}/CompleteOrchestratorTask", answer, METADATA)
        elif "activityRequest" in item:
            request = item["activityRequest"]
            self.seen["activity"] |= set(request)
            result = self._activity(request)
            answer = {
                "instanceId": request["workflowInstance"]["instanceId"],
                "taskId": request.get("taskId", 0),
                "completionToken": token,
                **result,
            }
            self.channel.call(f"/{HUB}/CompleteActivityTask", answer, METADATA)

    def _activity(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            result = self.activities[request["name"]](_read(request.get("input")))
            return {"result": "" if result is None else json.dumps(result)}
        except Exception as error:
            return {
                "failureDetails": {
                    "errorType": "System.InvalidOperationException",
                    "errorMessage": str(error),
                    "stackTrace": "   at Program",
                }
            }

    def _turn(self, request: dict[str, Any]) -> dict[str, Any]:
        past, new = request.get("pastEvents", []), request.get("newEvents", [])
        events = [*past, *new]
        if "executionTerminated" in events[-1]:
            return {"actions": [{"completeWorkflow": {"workflowStatus": "ORCHESTRATION_STATUS_TERMINATED"}}]}
        if "executionSuspended" in events[-1]:
            return {}
        started = next(event["executionStarted"] for event in reversed(events) if "executionStarted" in event)
        turn = Turn(request["instanceId"], request.get("executionId", ""), _time(events[0]["timestamp"]))
        flow = self.flows[started["name"]](turn, _read(started.get("input")))
        ended = self._drive(turn, flow, events)
        actions = [turn.actions[key] for key in sorted(turn.actions)]
        if ended is not None and not any("completeWorkflow" in action for action in actions):
            actions.append({"completeWorkflow": ended})
        return {"actions": actions, **({} if turn.status is None else {"customStatus": json.dumps(turn.status)})}

    @staticmethod
    def _drive(turn: Turn, flow: Flow, events: list[dict[str, Any]]) -> dict[str, Any] | None:
        """Run until the history ends; how the workflow ended, if it did."""
        ended: dict[str, Any] | None = None
        task: Task | None = None

        def go() -> None:
            nonlocal ended, task
            try:
                while ended is None and (task is None or task.done):
                    if task is not None and task.error:
                        task = flow.throw(Failed(task.error))
                    else:
                        task = flow.send(None if task is None else task.value)
            except StopIteration as stop:
                result = "" if stop.value is None else json.dumps(stop.value)
                ended = {"result": result, "workflowStatus": "ORCHESTRATION_STATUS_COMPLETED"}
            except Exception as error:
                details = {"errorType": type(error).__name__, "errorMessage": str(error), "stackTrace": "", "isNonRetriable": True}
                ended = {"workflowStatus": "ORCHESTRATION_STATUS_FAILED", "failureDetails": details}

        go()
        for event in events:
            turn.take(event)
            go()
        return ended
