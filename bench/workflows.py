#!/usr/bin/env python3
"""Workflows side by side, interleaved: chains of five activities per second and their latency at 1 and 64 at once, bytes written per step,
memory of workflows that wait.

A is edged; B, if its paths are given, is daprd with its placement and its scheduler beside it, all processes' memory added up. The worker is
a plain gRPC client that answers at once, so what is measured is the runtime:
workflows.py [--a CMD] [--daprd PATH --placement PATH --scheduler PATH] [--rounds 3] [--seconds 3] [--waiting 1000]
"""

import argparse
import asyncio
import contextlib
import os
import pathlib
import shutil
import statistics
import sys
import tempfile
import time
import uuid

import grpc
from actors import Actors, daprd
from compare import CACHE

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from edge.rpc.pb import orchestrator_actions_pb2 as actions  # noqa: E402
from edge.rpc.pb import orchestrator_service_pb2 as service  # noqa: E402

STEPS = 5
DONE = 1
FAR = 253402300799


def answer(request):
    """What the worker says to a turn: the next of five activities, the end, or (name `wait`) a wait for ever."""
    events = [*request.pastEvents, *request.newEvents]
    name = next(e.executionStarted.name for e in events if e.HasField("executionStarted"))
    ended = sum(e.HasField("taskCompleted") for e in events)
    said = service.WorkflowResponse(instanceId=request.instanceId)
    if name == "wait":
        if not request.pastEvents:
            timer = actions.CreateTimerAction()
            timer.fireAt.seconds = FAR
            said.actions.add(id=1, createTimer=timer)
    elif ended < STEPS:
        said.actions.add(id=ended + 1, scheduleTask=actions.ScheduleTaskAction(name="step", taskExecutionId=str(uuid.uuid4())))
    else:
        said.actions.add(id=ended + 1, completeWorkflow=actions.CompleteWorkflowAction(workflowStatus=DONE))
    return said


class Worker:
    """One stream of work items, answered at once; and the client's calls."""

    def __init__(self, port):
        self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")

    def call(self, rpc, message, reply):
        made = self.channel.unary_unary(
            f"/TaskHubSidecarService/{rpc}", request_serializer=type(message).SerializeToString, response_deserializer=reply.FromString
        )
        return made(message)

    async def serve(self):
        stream = self.channel.unary_stream(
            "/TaskHubSidecarService/GetWorkItems",
            request_serializer=service.GetWorkItemsRequest.SerializeToString,
            response_deserializer=service.WorkItem.FromString,
        )(service.GetWorkItemsRequest())
        background = set()
        async for item in stream:
            task = asyncio.ensure_future(self.reply(item))
            background.add(task)
            task.add_done_callback(background.discard)

    async def reply(self, item):
        with contextlib.suppress(grpc.aio.AioRpcError):  # the item comes again
            if item.HasField("workflowRequest"):
                await self.call("CompleteOrchestratorTask", answer(item.workflowRequest), service.CompleteTaskResponse)
            else:
                one = item.activityRequest
                done = service.ActivityResponse(instanceId=one.workflowInstance.instanceId, taskId=one.taskId)
                await self.call("CompleteActivityTask", done, service.CompleteTaskResponse)

    async def run(self, name):
        """One workflow from its start to its end; the seconds it took."""
        began, instance = time.perf_counter(), uuid.uuid4().hex
        await self.call("StartInstance", service.CreateInstanceRequest(instanceId=instance, name=name), service.CreateInstanceResponse)
        await self.call("WaitForInstanceCompletion", service.GetInstanceRequest(instanceId=instance), service.GetInstanceResponse)
        return time.perf_counter() - began

    async def start_only(self, name):
        request = service.CreateInstanceRequest(instanceId=uuid.uuid4().hex, name=name)
        await self.call("StartInstance", request, service.CreateInstanceResponse)


async def chains(worker, at_once, seconds):
    """Chains for some seconds: how long each took, and how many failed."""
    until, took, failed = time.perf_counter() + seconds, [], []

    async def loop():
        while time.perf_counter() < until:
            try:
                took.append(await asyncio.wait_for(worker.run("chain"), 60))
            except (grpc.aio.AioRpcError, TimeoutError) as error:
                failed.append(error)
                await asyncio.sleep(0.05)

    await asyncio.gather(*(loop() for _ in range(at_once)))
    return took, len(failed)


def written(side):
    """Bytes written by the sidecar and what runs beside it."""
    total = 0
    for pid in [*side.pids(), *(one.pid for one in side.beside)]:
        for line in pathlib.Path(f"/proc/{pid}/io").read_text().splitlines():
            if line.startswith("write_bytes"):
                total += int(line.split()[1])
    return total


async def measure_one(side, at_once, seconds):
    worker = Worker(side.grpc)
    serving = asyncio.ensure_future(worker.serve())
    await worker.run("chain")
    before, began = written(side), time.perf_counter()
    took, failed = await chains(worker, at_once, seconds)
    spent = time.perf_counter() - began
    steps = max(1, len(took)) * (STEPS + 1)
    latency = sorted(t * 1000 / (STEPS + 1) for t in took)
    serving.cancel()
    await worker.channel.close()
    return {
        "per s": len(took) / spent,
        "p99 ms a step": latency[int(len(latency) * 0.99)] if latency else float("nan"),
        "bytes a step": (written(side) - before) / steps,
        "failed": failed,
    }


async def wait_many(side, count):
    worker = Worker(side.grpc)
    serving = asyncio.ensure_future(worker.serve())
    await worker.run("chain")
    before = side.memory()
    for _ in range(0, count, 50):
        await asyncio.gather(*(worker.start_only("wait") for _ in range(50)), return_exceptions=True)
    await asyncio.sleep(1)
    more = side.memory() - before
    serving.cancel()
    await worker.channel.close()
    return max(0.0, more)


def measure(options, sides, note):
    for side in sides:
        side.start()
    time.sleep(2)
    for _ in range(options.rounds):
        for at_once in (1, 64):
            got = [asyncio.run(measure_one(side, at_once, options.seconds)) for side in sides]
            for key in got[0]:
                note(f"chains at {at_once}, {key}", [one[key] for one in got])
    if options.waiting:
        note(f"{options.waiting} waiting workflows, MB more", [asyncio.run(wait_many(side, options.waiting)) for side in sides])
    note("all processes, MB", [side.memory() for side in sides])


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--a", default=f"{sys.executable} -m edge run")
    for name in ("daprd", "placement", "scheduler"):
        ap.add_argument(f"--{name}", default=os.environ.get(name.upper(), ""))
    ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--seconds", type=float, default=3)
    ap.add_argument("--waiting", type=int, default=1000)
    options = ap.parse_args()
    CACHE.mkdir(parents=True, exist_ok=True)
    root = pathlib.Path(tempfile.mkdtemp(prefix="edged-workflows-"))
    figures, procs, sides = {}, [], []
    try:
        sides.append(Actors("A", options.a, root, 0))
        if options.daprd:
            command, beside = daprd(options, root, procs)
            sides.append(Actors("B", command, root, 0, beside))
        measure(options, sides, lambda name, row: figures.setdefault(name, []).append(row))
    finally:
        for side in sides:
            if side.p is not None:
                side.stop()
        for one in procs:
            one.terminate()
        shutil.rmtree(root, ignore_errors=True)
    print(f"{'figure':44} {'A':>12} {'B':>12} {'A/B':>8}")
    for name, rows in figures.items():
        medians = [statistics.median(row[i] for row in rows) for i in range(len(rows[0]))]
        a, b = medians[0], medians[1] if len(medians) > 1 else float("nan")
        print(f"{name:44} {a:12.2f} {b:12.2f} {a / b if b else float('nan'):8.2f}")


if __name__ == "__main__":
    main()
