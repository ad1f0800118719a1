"""Jobs scheduled and received with the Python SDK's gRPC app."""

from __future__ import annotations

import asyncio
import json

from dapr.clients import DaprClient, Job
from dapr.clients.grpc._jobs import ConstantFailurePolicy, DropFailurePolicy
from dapr.ext.grpc import App, JobEvent
from google.protobuf.any_pb2 import Any as GrpcAny
from report import APP_PORT, say, until

fired: list[str] = []
failures: list[str] = []
app = App()


@app.job_event("water")
def water(event: JobEvent) -> None:
    fired.append(f"{event.name} {event.get_data_as_string()}")


@app.job_event("bare")
def bare(event: JobEvent) -> None:
    fired.append(event.name)


@app.job_event("stubborn")
def stubborn(event: JobEvent) -> None:
    failures.append(event.name)
    if len(failures) < 3:
        raise RuntimeError("not yet")


async def steps(client: DaprClient) -> None:
    data = GrpcAny(value=json.dumps({"litres": 3}).encode())
    client.schedule_job(Job("water", schedule="@every 50ms", repeats=3, data=data))
    await until(lambda: len(fired) >= 3)
    say("fired", fired)
    fired.clear()
    client.schedule_job(Job("bare", due_time="0s"))
    client.schedule_job(Job("stubborn", due_time="0s", failure_policy=ConstantFailurePolicy(max_retries=2, interval_seconds=0)))
    await until(lambda: fired and len(failures) >= 3)
    say("fired", fired)
    say("tries", len(failures))
    client.schedule_job(Job("later", schedule="0 30 6 * * *", due_time="10h", repeats=4, ttl="48h", failure_policy=DropFailurePolicy()))
    try:
        client.schedule_job(Job("later", due_time="1h"))
    except Exception as error:
        say("again", "ALREADY_EXISTS" in str(error))
    client.schedule_job(Job("later", schedule="@daily", repeats=2, ttl="24h"), overwrite=True)
    job = client.get_job("later")
    say("job", [job.name, job.schedule, job.repeats, job.ttl, job.due_time])
    client.delete_job("later")
    client.delete_job("never there")
    try:
        client.get_job("later")
    except Exception as error:
        say("gone", "job not found: later" in str(error))


async def main() -> None:
    serving = asyncio.create_task(asyncio.to_thread(app.run, APP_PORT))
    with DaprClient() as client:
        await steps(client)
    app.stop()
    await serving


asyncio.run(main())
