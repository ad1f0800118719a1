"""The job RPCs; `job.data` is any Any and reaches a gRPC app as it was given."""

from __future__ import annotations

from typing import Any

from edge import errors
from edge.api.grpc.call import Call, Unary
from edge.blocks.jobs import Job, JobService
from edge.channel.jobs import job_any
from edge.errors import EdgeError
from edge.mesh.policy import message_of, policy_of
from edge.model import JobData
from edge.rpc.pb import jobs_pb2


def _jobs(call: Call) -> JobService:
    service: JobService = call.blocks.jobs
    return service


async def schedule(call: Call, request: Any) -> Any:
    if not request.HasField("job"):
        raise EdgeError(errors.JOB_EMPTY, info={"appID": call.app.id, "namespace": call.app.namespace})
    given = request.job
    fields = {name: getattr(given, name) if given.HasField(name) else None for name in ("schedule", "due_time", "repeats", "ttl")}
    job = Job(
        given.name,
        data=JobData(given.data.type_url, given.data.value) if given.HasField("data") else None,
        policy=policy_of(given.failure_policy) if given.HasField("failure_policy") else None,
        **fields,
    )
    await _jobs(call).schedule(call.app, job, overwrite=request.overwrite)
    return jobs_pb2.ScheduleJobResponse()


async def get(call: Call, request: Any) -> Any:
    return jobs_pb2.GetJobResponse(job=_message(await _jobs(call).get(call.app, request.name)))


async def delete(call: Call, request: Any) -> Any:
    await _jobs(call).delete(call.app, request.name)
    return jobs_pb2.DeleteJobResponse()


async def delete_by_prefix(call: Call, request: Any) -> Any:
    await _jobs(call).delete_prefix(call.app, request.name_prefix)
    alpha = isinstance(request, jobs_pb2.DeleteJobsByPrefixRequestAlpha1)
    return jobs_pb2.DeleteJobsByPrefixResponseAlpha1() if alpha else jobs_pb2.DeleteJobsByPrefixResponse()


async def list_all(call: Call, request: Any) -> Any:
    jobs = [_message(job) for job in await _jobs(call).list(call.app)]
    alpha = isinstance(request, jobs_pb2.ListJobsRequestAlpha1)
    return jobs_pb2.ListJobsResponseAlpha1(jobs=jobs) if alpha else jobs_pb2.ListJobsResponse(jobs=jobs)


def _message(job: Job) -> Any:
    message = jobs_pb2.Job(name=job.name, schedule=job.schedule, repeats=job.repeats, due_time=job.due_time, ttl=job.ttl)
    if job.data is not None:
        message.data.CopyFrom(job_any(job.data))
    if job.policy is not None:
        message.failure_policy.CopyFrom(message_of(job.policy))
    return message


RPCS: dict[str, tuple[type, Unary]] = {
    "ScheduleJob": (jobs_pb2.ScheduleJobRequest, schedule),
    "ScheduleJobAlpha1": (jobs_pb2.ScheduleJobRequest, schedule),
    "GetJob": (jobs_pb2.GetJobRequest, get),
    "GetJobAlpha1": (jobs_pb2.GetJobRequest, get),
    "DeleteJob": (jobs_pb2.DeleteJobRequest, delete),
    "DeleteJobAlpha1": (jobs_pb2.DeleteJobRequest, delete),
    "DeleteJobsByPrefix": (jobs_pb2.DeleteJobsByPrefixRequest, delete_by_prefix),
    "DeleteJobsByPrefixAlpha1": (jobs_pb2.DeleteJobsByPrefixRequestAlpha1, delete_by_prefix),
    "ListJobs": (jobs_pb2.ListJobsRequest, list_all),
    "ListJobsAlpha1": (jobs_pb2.ListJobsRequestAlpha1, list_all),
}
