"""Running sagas survive `kill -9` of edged: every one ends, and no step is in a history twice."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import grpc
import pytest

from edge.rpc.pb import orchestrator_service_pb2 as service
from edge.rpc.pb.wrappers_pb2 import StringValue
from tests.harness import ROOT, Sidecar
from tests.workflow.trace import HUB

COMPLETED = 1


class Client:
    """The workflow API of one app, over kills and restarts of its sidecar."""

    def __init__(self, port: int) -> None:
        options = [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 200)]
        self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options)

    async def call(self, rpc: str, message: Any, answer: Any) -> Any:
        """Call until it is answered; a start that was done already counts as done."""
        method = self.channel.unary_unary(
            f"/{HUB}/{rpc}", request_serializer=type(message).SerializeToString, response_deserializer=answer.FromString
        )
        while True:
            try:
                return await method(message, timeout=60)
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.ALREADY_EXISTS:
                    return None
                assert error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.UNKNOWN), error
                await asyncio.sleep(0.05)

    async def trip(self, number: int) -> str:
        """Start one and wait for its end; its output."""
        name = f"trip-{number}"
        start = service.CreateInstanceRequest(instanceId=name, name="trip", input=StringValue(value=str(number)))
        await self.call("StartInstance", start, service.CreateInstanceResponse)
        request = service.GetInstanceRequest(instanceId=name, getInputsAndOutputs=True)
        answer = await self.call("WaitForInstanceCompletion", request, service.GetInstanceResponse)
        assert answer.workflowState.workflowStatus == COMPLETED
        return str(answer.workflowState.output.value)

    async def steps(self, number: int) -> Counter[str]:
        """How often each scheduled step ended, by the history."""
        request = service.GetInstanceHistoryRequest(instanceId=f"trip-{number}")
        answer = await self.call("GetInstanceHistory", request, service.GetInstanceHistoryResponse)
        ended = [getattr(e, kind) for e in answer.events for kind in ("taskCompleted", "taskFailed") if e.HasField(kind)]
        return Counter(str(one.taskScheduledId) for one in ended)


async def killer(edged: Sidecar, kills: int, chance: random.Random) -> None:
    """Kill the sidecar again and again, each time a moment after it is up and has work."""
    for _ in range(kills):
        await asyncio.sleep(chance.uniform(0.05, 0.4))
        await asyncio.to_thread(edged.kill)
        await asyncio.to_thread(edged.start)


async def play(edged: Sidecar, trips: int, kills: int) -> None:
    client = Client(edged.grpc_port)
    killing = asyncio.create_task(killer(edged, kills, random.Random(5)))
    outputs = await asyncio.gather(*(client.trip(n) for n in range(trips)))
    await killing
    assert outputs == [f'"{n} {"undone" if n % 2 else "booked"}"' for n in range(trips)]
    for number in range(trips):
        steps = await client.steps(number)
        assert len(steps) == (5 if number % 2 else 3)
        assert set(steps.values()) == {1}
    await client.channel.close()


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("trips", "kills"), [(20, 3), pytest.param(200, 50, marks=pytest.mark.slow)])
def test_sagas_end_and_no_step_counts_twice(tmp_path: Path, trips: int, kills: int) -> None:
    edged = Sidecar(tmp_path, app_id="trips")
    edged.start()
    worker = subprocess.Popen(
        [sys.executable, str(ROOT / "tests" / "sdk" / "python" / "saga_worker.py")],
        env=os.environ | {"DAPR_GRPC_PORT": str(edged.grpc_port), "DAPR_RUNTIME_HOST": "127.0.0.1"},
        stderr=subprocess.DEVNULL,
    )
    try:
        asyncio.run(play(edged, trips, kills))
    finally:
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        edged.kill()
