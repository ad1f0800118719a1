"""A stand-in for Dapr's scheduler service, for machines that have not the real one ($SCHEDULER): what is due at once is sent at once.

It keeps jobs by name and target, sends them to a stream that accepts their kind, again after a failure, and forgets them after a success.
"""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc

from edge.rpc.pb import scheduler_pb2 as pb
from tests.harness import free_port

SERVICE = "/dapr.proto.scheduler.v1.Scheduler/"
AGAIN = 0.05


class StandIn:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: dict[tuple[str, str], Any] = {}
        self._streams: list[tuple[Any, queue.Queue[Any]]] = []
        self._sent: dict[int, tuple[str, str]] = {}

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        name = str(details.method).removeprefix(SERVICE)
        if name == "WatchJobs":
            return grpc.stream_stream_rpc_method_handler(
                self._watch, pb.WatchJobsRequest.FromString, pb.WatchJobsResponse.SerializeToString
            )
        work: dict[str, tuple[Any, Callable[[Any, grpc.ServicerContext], Any]]] = {
            "ScheduleJob": (pb.ScheduleJobRequest, self._schedule),
            "GetJob": (pb.GetJobRequest, self._get),
            "DeleteJob": (pb.DeleteJobRequest, self._delete),
            "ListJobs": (pb.ListJobsRequest, self._list),
        }
        if name not in work:
            return None
        type_, handle = work[name]
        return grpc.unary_unary_rpc_method_handler(handle, type_.FromString, lambda message: message.SerializeToString())

    @staticmethod
    def _key(request: Any) -> tuple[str, str]:
        return str(request.metadata.target), str(request.name)

    def _schedule(self, request: Any, context: grpc.ServicerContext) -> Any:
        with self._lock:
            if self._key(request) in self._jobs and not request.overwrite:
                context.abort(grpc.StatusCode.ALREADY_EXISTS, f"job already exists: '{request.name}'")
            self._jobs[self._key(request)] = request
        if request.job.due_time == "0s":
            self._fire(self._key(request))
        return pb.ScheduleJobResponse()

    def _get(self, request: Any, context: grpc.ServicerContext) -> Any:
        found = self._jobs.get(self._key(request))
        if found is None:
            context.abort(grpc.StatusCode.NOT_FOUND, f"job not found: {request.name}")
        return pb.GetJobResponse(job=found.job)

    def _delete(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._jobs.pop(self._key(request), None)
        return pb.DeleteJobResponse()

    def _list(self, request: Any, context: grpc.ServicerContext) -> Any:
        kind = request.metadata.target.WhichOneof("type")
        jobs = [one for one in self._jobs.values() if one.metadata.target.WhichOneof("type") == kind]
        return pb.ListJobsResponse(jobs=[pb.NamedJob(name=one.name, metadata=one.metadata, job=one.job) for one in jobs])

    def _fire(self, key: tuple[str, str]) -> None:
        with self._lock:
            request = self._jobs.get(key)
            if request is None:
                return
            actor = request.metadata.target.WhichOneof("type") == "actor"
            wanted = pb.JOB_TARGET_TYPE_ACTOR_REMINDER if actor else pb.JOB_TARGET_TYPE_JOB
            takers = [responses for initial, responses in self._streams if wanted in initial.accept_job_types]
            number = len(self._sent) + 1
            self._sent[number] = key
        if not takers:
            threading.Timer(AGAIN, self._fire, (key,)).start()
            return
        takers[-1].put(pb.WatchJobsResponse(name=request.name, id=number, data=request.job.data, metadata=request.metadata))

    def _watch(self, requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        responses: queue.Queue[Any] = queue.Queue()
        context.add_callback(lambda: responses.put(None))
        entry = (next(requests).initial, responses)
        with self._lock:
            self._streams.append(entry)
        threading.Thread(target=self._results, args=(requests,), daemon=True).start()
        while (response := responses.get()) is not None:
            yield response
        with self._lock:
            self._streams.remove(entry)

    def _results(self, requests: Iterator[Any]) -> None:
        with contextlib.suppress(grpc.RpcError, Exception):
            for request in requests:
                key = self._sent[request.result.id]
                if request.result.status == pb.SUCCESS:
                    self._jobs.pop(key, None)
                else:
                    threading.Timer(AGAIN, self._fire, (key,)).start()


@contextlib.contextmanager
def stand_in() -> Iterator[str]:
    """Its address."""
    server = grpc.server(ThreadPoolExecutor(16), handlers=(StandIn(),))  # type: ignore[arg-type]
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(0).wait(5)


@contextlib.contextmanager
def real(folder: Path) -> Iterator[str]:
    """The address of Dapr's own, whose program $SCHEDULER names."""
    port, peer = free_port(), free_port()
    command = [os.environ["SCHEDULER"], "--port", str(port), "--healthz-port", str(free_port()), "--metrics-port", str(free_port())]
    command += ["--etcd-data-dir", str(folder / "etcd"), "--etcd-client-port", str(free_port())]
    command += ["--etcd-initial-cluster", f"dapr-scheduler-server-0=http://127.0.0.1:{peer}"]
    with (folder / "scheduler.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            time.sleep(3)
            yield f"127.0.0.1:{port}"
        finally:
            process.kill()
