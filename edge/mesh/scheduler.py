"""Jobs and reminders kept by Dapr's scheduler service instead of the daemon's file. Implements `edge.blocks.series.Keeper`.

What is due comes over a WatchJobs stream to each of the service's addresses.
Source: Dapr pkg/runtime/scheduler, pkg/actors/internal/scheduler @1.18.3.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from edge.blocks.actors.reminders import SEPARATOR
from edge.blocks.schedule import Plan, Policy, is_time
from edge.blocks.series import Deliver, Item, Outcome
from edge.channel.grpc_answers import wording
from edge.channel.jobs import job_any
from edge.errors import Grpc, Unavailable
from edge.mesh.policy import message_of, policy_of
from edge.model import JobData
from edge.rpc.client import Channel, StreamReply, Target
from edge.rpc.pb import any_pb2, scheduler_pb2, wrappers_pb2
from edge.rpc.reply import Refused
from edge.rpc.status import RpcError
from edge.scheduler import Detach
from edge.tasks import Tasks

log = logging.getLogger("dapr.runtime.scheduler")
SERVICE = "/dapr.proto.scheduler.v1.Scheduler/"
BYTES = "type.googleapis.com/google.protobuf.BytesValue"
TIMEOUT = 30.0
PAUSE = 1.0


class RemoteSeries:
    """The series of one daemon at the service. app_id: in whose name reminders are kept."""

    def __init__(self, addresses: Sequence[str], app_id: str, tasks: Tasks) -> None:
        self._targets = [_target(address) for address in addresses]
        self._channel = Channel(self._targets[0])
        self._app_id, self._tasks = app_id, tasks

    async def put(self, kind: str, item: Item, *, overwrite: bool) -> bool:
        """On return the service has it. False: it exists and is not to be overwritten. Raises Unavailable."""
        job = _job(kind, item)
        about = self._about(kind, item.key)
        request = scheduler_pb2.ScheduleJobRequest(name=_name(kind, item.key), job=job, metadata=about, overwrite=overwrite)
        try:
            await self._channel.unary(f"{SERVICE}ScheduleJob", request.SerializeToString(), timeout=TIMEOUT)
        except RpcError as error:
            if error.code == Grpc.ALREADY_EXISTS:
                return False
            raise Unavailable(wording(error)) from None
        return True

    async def get(self, kind: str, key: str) -> Item | None:
        """The series of that key. Raises Unavailable."""
        request = scheduler_pb2.GetJobRequest(name=_name(kind, key), metadata=self._about(kind, key))
        try:
            answer = await self._channel.unary(f"{SERVICE}GetJob", request.SerializeToString(), timeout=TIMEOUT)
        except RpcError as error:
            if error.code == Grpc.NOT_FOUND:
                return None
            raise Unavailable(wording(error)) from None
        return _item(kind, key, scheduler_pb2.GetJobResponse.FromString(answer.message).job)

    async def list(self, kind: str, prefix: str = "") -> list[Item]:
        """All of a kind, or those of one actor, by key. Raises Unavailable."""
        request = scheduler_pb2.ListJobsRequest(metadata=self._about(kind, prefix))
        data = await self._call("ListJobs", request)
        found = []
        for named in scheduler_pb2.ListJobsResponse.FromString(data).jobs:
            actor = named.metadata.target.actor
            key = f"{actor.id}{SEPARATOR}{named.name}" if kind.startswith("reminder/") else named.name
            found.append(_item(kind, key, named.job))
        return sorted(found, key=lambda item: item.key)

    async def delete(self, kind: str, key: str) -> None:
        """End one series; nothing if there is none. Raises Unavailable."""
        await self._call("DeleteJob", scheduler_pb2.DeleteJobRequest(name=_name(kind, key), metadata=self._about(kind, key)))

    async def delete_prefix(self, kind: str, prefix: str) -> None:
        """End all whose key starts with `prefix`: of reminders all, or those of one actor. Raises Unavailable."""
        about = self._about(kind, prefix)
        if kind.startswith("reminder/"):
            await self._call("DeleteByMetadata", scheduler_pb2.DeleteByMetadataRequest(metadata=about, id_prefix_match=not prefix))
        else:
            await self._call("DeleteByNamePrefix", scheduler_pb2.DeleteByNamePrefixRequest(name_prefix=prefix, metadata=about))

    def attach(self, kind: str, deliver: Deliver) -> Detach:
        """Take what is due from now on. Returns how to stop."""
        watching = [self._tasks.start(f"scheduler[{kind}]", self._watch(kind, deliver, target)) for target in self._targets]

        async def detach(patience: float) -> None:
            for task in watching:
                task.cancel()
            await asyncio.wait(watching)

        return detach

    async def _watch(self, kind: str, deliver: Deliver, target: Target) -> None:
        told = ""
        while True:
            channel = Channel(target)
            try:
                await self._stream(kind, deliver, channel)
            except (OSError, RpcError, Refused, TimeoutError) as error:
                if str(error) != told:
                    told = str(error)
                    log.warning("No scheduler service at %s: %s", target.address, told)
            finally:
                channel.abandon()
            await asyncio.sleep(PAUSE)

    async def _stream(self, kind: str, deliver: Deliver, channel: Channel) -> None:
        stream = await channel.stream(f"{SERVICE}WatchJobs")
        await stream.send(scheduler_pb2.WatchJobsRequest(initial=self._initial(kind)).SerializeToString())
        running: set[asyncio.Task[None]] = set()
        try:
            while (data := await stream.receive()) is not None:
                task = self._tasks.start(f"due[{kind}]", self._due(kind, deliver, stream, scheduler_pb2.WatchJobsResponse.FromString(data)))
                running.add(task)
                task.add_done_callback(running.discard)
        finally:
            for task in running:
                task.cancel()
            stream.cancel()

    async def _due(self, kind: str, deliver: Deliver, stream: StreamReply, response: Any) -> None:
        actor = response.metadata.target.actor
        key = f"{actor.id}{SEPARATOR}{response.name}" if kind.startswith("reminder/") else response.name
        outcome = await deliver(_item(kind, key, scheduler_pb2.Job(data=response.data if response.HasField("data") else None)))
        status = scheduler_pb2.SUCCESS if outcome is Outcome.DONE else scheduler_pb2.FAILED
        result = scheduler_pb2.WatchJobsRequestResult(id=response.id, status=status)
        with contextlib.suppress(RpcError, Refused, OSError):  # the service is gone: it gives the tick again
            await stream.send(scheduler_pb2.WatchJobsRequest(result=result).SerializeToString())

    async def _call(self, method: str, request: Any) -> bytes:
        try:
            return (await self._channel.unary(SERVICE + method, request.SerializeToString(), timeout=TIMEOUT)).message
        except RpcError as error:
            raise Unavailable(wording(error)) from None

    def _initial(self, kind: str) -> Any:
        what, namespace, name = kind.split("/", 2)
        initial = scheduler_pb2.WatchJobsRequestInitial(app_id=self._app_id, namespace=namespace)
        if what == "job":
            initial.app_id = name
            initial.accept_job_types.append(scheduler_pb2.JOB_TARGET_TYPE_JOB)
        else:
            initial.actor_types.append(name)
            initial.accept_job_types.append(scheduler_pb2.JOB_TARGET_TYPE_ACTOR_REMINDER)
        return initial

    def _about(self, kind: str, key: str) -> Any:
        what, namespace, name = kind.split("/", 2)
        if what == "job":
            target = scheduler_pb2.JobTargetMetadata(job=scheduler_pb2.TargetJob())
            return scheduler_pb2.JobMetadata(app_id=name, namespace=namespace, target=target)
        actor = scheduler_pb2.TargetActorReminder(id=key.partition(SEPARATOR)[0], type=name)
        target = scheduler_pb2.JobTargetMetadata(actor=actor)
        return scheduler_pb2.JobMetadata(app_id=self._app_id, namespace=namespace, target=target)


def _target(address: str) -> Target:
    host, _, port = address.rpartition(":")
    return Target(host.strip("[]"), int(port))


def _name(kind: str, key: str) -> str:
    return key.partition(SEPARATOR)[2] if kind.startswith("reminder/") else key


def _job(kind: str, item: Item) -> Any:
    plan, payload = item.plan, item.payload
    due, ttl = payload["due"] or None, payload.get("ttl") or None
    job = scheduler_pb2.Job(schedule=plan.schedule or None, repeats=plan.repeats, due_time=due, ttl=ttl)
    if plan.policy != Policy():
        job.failure_policy.CopyFrom(message_of(plan.policy))
    data = payload["data"]
    if data is None:
        return job
    if kind.startswith("reminder/"):
        job.data.CopyFrom(any_pb2.Any(type_url=BYTES, value=wrappers_pb2.BytesValue(value=data.encode()).SerializeToString()))
    elif "json" in data:
        job.data.CopyFrom(job_any(JobData("type.googleapis.com/google.protobuf.Value", data["json"].encode(), is_json=True)))
    else:
        job.data.CopyFrom(any_pb2.Any(type_url=data["type"], value=base64.b64decode(data["value"])))
    return job


def _item(kind: str, key: str, job: Any) -> Item:
    policy = policy_of(job.failure_policy) if job.HasField("failure_policy") else None
    plan = Plan(job.schedule, 0.0, repeats=job.repeats if job.HasField("repeats") else None, policy=policy or Policy())
    due, ttl = (getattr(job, name) if job.HasField(name) else None for name in ("due_time", "ttl"))
    if kind.startswith("reminder/"):
        id_, _, name = key.partition(SEPARATOR)
        data = wrappers_pb2.BytesValue.FromString(job.data.value).value.decode() if job.HasField("data") else None
        payload = {"type": kind.split("/", 2)[2], "id": id_, "name": name, "due": due or "", "data": data, "ttl": ttl or ""}
        return Item(key, replace(plan, fixed=("expires",) if ttl and is_time(ttl) else ()), payload)
    given = {"type": job.data.type_url, "value": base64.b64encode(job.data.value).decode()} if job.HasField("data") else None
    return Item(key, plan, {"due": due, "ttl": ttl, "data": given})
