"""Watering the beds of a garden: one workflow per bed, written with the Dapr SDK as for daprd.

A bed that is dry is watered unless rain is coming; much water needs somebody's approval; a pump that fails is shut and somebody told.
What was begun goes on after a power cut: edged keeps the history of each workflow on disk.
"""

from __future__ import annotations

import json
import signal
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import dapr.ext.workflow as wf

GARDEN = json.loads((Path(__file__).parent / "garden.json").read_text())
APPROVAL_ABOVE = 50

runtime = wf.WorkflowRuntime()


def tell(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


@runtime.activity
def moisture(ctx: Any, bed: str) -> int:
    return int(GARDEN["beds"][bed]["moisture"])


@runtime.activity
def rain(ctx: Any, bed: str) -> int:
    """Litres per square metre in the forecast for tomorrow."""
    return int(GARDEN["forecast"][GARDEN["beds"][bed]["place"]])


@runtime.activity
def valve(ctx: Any, order: dict[str, Any]) -> str:
    if order["open"] and GARDEN["beds"][order["bed"]].get("pump") == "broken":
        raise RuntimeError("the pump gives no pressure")
    tell(f"{order['bed']}: valve {'opened' if order['open'] else 'shut'}")
    return "open" if order["open"] else "shut"


@runtime.activity
def notify(ctx: Any, text: str) -> None:
    tell(f"note to the gardener: {text}")


@runtime.workflow
def water(ctx: wf.DaprWorkflowContext, bed: str) -> Any:
    wet = yield ctx.call_activity(moisture, input=bed)
    expected = yield ctx.call_activity(rain, input=bed)
    if wet > 60 or expected > 5:
        return f"not needed: {wet} % wet, {expected} l/m2 of rain expected"
    litres = (60 - wet) * 2
    if litres > APPROVAL_ABOVE:
        yield ctx.call_activity(notify, input=f"{bed} wants {litres} l: edged workflow raise -a garden {bed} approve")
        approved, late = ctx.wait_for_external_event("approve"), ctx.create_timer(timedelta(seconds=4))
        if (yield wf.when_any([approved, late])) == late:
            return f"not approved: {litres} l"
    try:
        yield ctx.call_activity(valve, input={"bed": bed, "open": True})
        yield ctx.create_timer(timedelta(seconds=litres / 20))
    except Exception as error:
        yield ctx.call_activity(valve, input={"bed": bed, "open": False})
        yield ctx.call_activity(notify, input=f"{bed} was not watered: {error}")
        return "undone: the pump failed"
    yield ctx.call_activity(valve, input={"bed": bed, "open": False})
    return f"{litres} l"


if __name__ == "__main__":
    runtime.start()
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
