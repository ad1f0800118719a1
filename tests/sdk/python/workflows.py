"""Workflows with the Python SDK: the patterns that its users write."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import dapr.ext.workflow as wf
from report import say

runtime = wf.WorkflowRuntime()
client = wf.DaprWorkflowClient()
undone: list[str] = []
tries: list[int] = []


@runtime.activity
def add_one(ctx: Any, number: int) -> int:
    return number + 1


@runtime.activity
def flaky(ctx: Any, times: int) -> str:
    tries.append(times)
    if len(tries) < times:
        raise RuntimeError("not yet")
    return f"after {len(tries)}"


@runtime.activity
def book(ctx: Any, what: str) -> str:
    if what == "car":
        raise ValueError("no car left")
    return f"{what} booked"


@runtime.activity
def cancel(ctx: Any, what: str) -> None:
    undone.append(what)


@runtime.workflow
def chain(ctx: wf.DaprWorkflowContext, number: int) -> Any:
    for _ in range(5):
        number = yield ctx.call_activity(add_one, input=number)
    return number


@runtime.workflow
def fan(ctx: wf.DaprWorkflowContext, width: int) -> Any:
    results = yield wf.when_all([ctx.call_activity(add_one, input=n) for n in range(width)])
    return sum(results)


@runtime.workflow
def monitor(ctx: wf.DaprWorkflowContext, left: int) -> Any:
    if left == 0:
        return "healthy"
    yield ctx.create_timer(timedelta(milliseconds=20))
    ctx.continue_as_new(left - 1)
    return None


@runtime.workflow
def approval(ctx: wf.DaprWorkflowContext, seconds: float) -> Any:
    said, late = ctx.wait_for_external_event("decision"), ctx.create_timer(timedelta(seconds=seconds))
    first = yield wf.when_any([said, late])
    return said.get_result() if first == said else "too late"


@runtime.workflow
def saga(ctx: wf.DaprWorkflowContext, _: Any) -> Any:
    done: list[str] = []
    try:
        for what in ("flight", "hotel", "car"):
            yield ctx.call_activity(book, input=what)
            done.append(what)
    except Exception as error:
        for what in reversed(done):
            yield ctx.call_activity(cancel, input=what)
        return f"undone: {error}"
    return "booked"


@runtime.workflow
def parent(ctx: wf.DaprWorkflowContext, numbers: list[int]) -> Any:
    results = yield wf.when_all([ctx.call_child_workflow(chain, input=n) for n in numbers])
    return results


@runtime.workflow
def counter(ctx: wf.DaprWorkflowContext, state: dict[str, int]) -> Any:
    if state["at"] == state["to"]:
        return state["at"]
    ctx.continue_as_new({"at": state["at"] + 1, "to": state["to"]})
    return None


@runtime.workflow
def retrying(ctx: wf.DaprWorkflowContext, times: int) -> Any:
    policy = wf.RetryPolicy(first_retry_interval=timedelta(milliseconds=10), max_number_of_attempts=5)
    result = yield ctx.call_activity(flaky, input=times, retry_policy=policy)
    return result


def outcome(instance: str) -> list[Any]:
    state = client.wait_for_workflow_completion(instance, timeout_in_seconds=60)
    assert state is not None
    return [state.runtime_status.name, state.serialized_output]


def ran(workflow: Any, given: Any) -> list[Any]:
    return outcome(client.schedule_new_workflow(workflow, input=given))


def main() -> None:
    runtime.start()
    say("chain", ran(chain, 1))
    say("fan", ran(fan, 100))
    say("monitor", ran(monitor, 5))
    say("timeout", ran(approval, 0.1))
    waiting = client.schedule_new_workflow(approval, input=60)
    client.raise_workflow_event(waiting, "decision", data={"by": "ann"})
    say("approved", outcome(waiting))
    status, output = ran(saga, None)
    say("saga", [status, "no car left" in output, undone])
    say("children", ran(parent, [1, 2, 3]))
    say("rounds", ran(counter, {"at": 0, "to": 1000}))
    say("retries", ran(retrying, 3))
    life(client.schedule_new_workflow(approval, input=60, instance_id="life"))
    runtime.shutdown()


def life(instance: str) -> None:
    client.wait_for_workflow_start(instance)
    client.pause_workflow(instance)
    say("paused", client.get_workflow_state(instance).runtime_status.name)
    client.resume_workflow(instance)
    say("resumed", client.get_workflow_state(instance).runtime_status.name)
    client.terminate_workflow(instance, output="enough")
    say("terminated", outcome(instance))
    client.purge_workflow(instance)
    say("purged", client.get_workflow_state(instance))
    began = time.monotonic()
    later = client.schedule_new_workflow(chain, input=0, start_at=None, instance_id="later")
    say("later", [outcome(later), time.monotonic() - began < 30])


main()
