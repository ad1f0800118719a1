"""A worker that is never told of anything: it runs trips, each of three bookings and perhaps their cancellation, until it is ended."""

from __future__ import annotations

import signal
from typing import Any

import dapr.ext.workflow as wf

runtime = wf.WorkflowRuntime()


@runtime.activity
def book(ctx: Any, what: str) -> str:
    if what.startswith("car") and int(what.split()[1]) % 2:
        raise ValueError("no car left")
    return what


@runtime.activity
def cancel(ctx: Any, what: str) -> str:
    return what


@runtime.workflow
def trip(ctx: wf.DaprWorkflowContext, number: int) -> Any:
    done: list[str] = []
    try:
        for what in ("flight", "hotel", "car"):
            done.append((yield ctx.call_activity(book, input=f"{what} {number}")))
    except Exception:
        for what in reversed(done):
            yield ctx.call_activity(cancel, input=what)
        return f"{number} undone"
    return f"{number} booked"


runtime.start()
signal.sigwait({signal.SIGTERM, signal.SIGINT})
