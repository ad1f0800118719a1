"""`edged workflow`: an app's workflows through its running sidecar, by the protocol that the SDKs speak."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import click

from edge.cli import api
from edge.cli.data import app_option, json_option
from edge.cli.instance import data_dir_option

PAGE = 1000
PATH = "/TaskHubSidecarService/"
LISTED = {"id": "ID", "name": "NAME", "status": "STATUS", "created": "CREATED", "updated": "UPDATED"}
HISTORY = {"time": "TIME", "id": "ID", "event": "EVENT", "name": "NAME", "data": "DATA"}
Call = Callable[[str, Any, Any], Any]


@click.group()
def workflow() -> None:
    """List, show and steer an app's workflows.

    \b
      edged workflow list -a irrigation
      edged workflow history -a irrigation bed-7
      edged workflow raise -a irrigation bed-7 approve '{"by": "ann"}'
    """


def _with_hub(app_id: str, data_dir: str, task: Callable[[Call, Any], Any]) -> Any:
    """Run `task(call, messages)` with a connection to the app's sidecar; a refusal ends the command with its text."""
    from edge.rpc.client import Channel, Target  # gRPC and protobuf, only for this command
    from edge.rpc.pb import orchestrator_service_pb2 as messages
    from edge.rpc.status import RpcError

    one = api.instance(app_id, data_dir)
    socket = one.http_socket.removesuffix("-http.socket") + "-grpc.socket" if one.http_socket else ""
    token = api.token(one.app_id)
    metadata = (("dapr-api-token", token),) if token else ()

    async def main() -> Any:
        channel = Channel(Target(unix=socket) if socket else Target("127.0.0.1", one.grpc_port))

        async def call(rpc: str, message: Any, answer: Any) -> Any:
            found = await channel.unary(PATH + rpc, message.SerializeToString(), metadata, 30.0)
            return answer.FromString(found.message)

        try:
            return await task(call, messages)
        finally:
            await channel.close()

    try:
        return asyncio.run(main())
    except RpcError as error:
        raise click.ClickException(error.message) from error


@workflow.command("list")
@click.option("--status", help="Only those in this state, such as RUNNING or FAILED.")
@click.option("--limit", default=1000, show_default=True)
@app_option
@json_option
@data_dir_option
def list_(status: str | None, limit: int, app_id: str, as_json: bool, data_dir: str) -> None:
    """List workflows in the order of their creation."""

    async def task(call: Call, messages: Any) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        token = ""
        while True:
            page = await call(
                "ListInstanceIDs",
                messages.ListInstanceIDsRequest(pageSize=PAGE, continuationToken=token or None),
                messages.ListInstanceIDsResponse,
            )
            for instance_id in page.instanceIds:
                row = await _state(call, messages, instance_id)
                if row is not None and (status is None or row["status"] == status.upper()):
                    rows.append(row)
                if len(rows) >= limit:
                    return rows
            token = page.continuationToken
            if not token:
                return rows

    api.show(_with_hub(app_id, data_dir, task), LISTED, as_json, "No workflows.")


async def _state(call: Call, messages: Any, instance_id: str) -> dict[str, Any] | None:
    request = messages.GetInstanceRequest(instanceId=instance_id, getInputsAndOutputs=True)
    answer = await call("GetInstance", request, messages.GetInstanceResponse)
    if not answer.exists:
        return None
    state = answer.workflowState
    row: dict[str, Any] = {"id": state.instanceId, "name": state.name, "status": _status(state)}
    row |= {"created": _time(state.createdTimestamp), "updated": _time(state.lastUpdatedTimestamp)}
    for key, field in (("input", "input"), ("output", "output"), ("custom_status", "customStatus")):
        if state.HasField(field):
            row[key] = getattr(state, field).value
    if state.HasField("failureDetails"):
        row["failure"] = f"{state.failureDetails.errorType}: {state.failureDetails.errorMessage}"
    return row


def _status(state: Any) -> str:
    from edge.rpc.pb import orchestration_pb2

    return str(orchestration_pb2.OrchestrationStatus.Name(state.workflowStatus)).removeprefix("ORCHESTRATION_STATUS_")


def _time(stamp: Any) -> str:
    from datetime import UTC, datetime

    return "" if stamp.seconds <= 0 else datetime.fromtimestamp(stamp.seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


@workflow.command("show")
@click.argument("instance_id")
@app_option
@json_option
@data_dir_option
def show(instance_id: str, app_id: str, as_json: bool, data_dir: str) -> None:
    """Show one workflow: its state, input and output."""
    row = _with_hub(app_id, data_dir, lambda call, messages: _state(call, messages, instance_id))
    if row is None:
        raise click.ClickException(f"app {app_id} has no workflow {instance_id}; see `edged workflow list -a {app_id}`")
    rows = [{"field": key, "value": value} for key, value in row.items()]
    api.show([row] if as_json else rows, {"field": "FIELD", "value": "VALUE"}, as_json, "")


@workflow.command("history")
@click.argument("instance_id")
@app_option
@json_option
@data_dir_option
def history(instance_id: str, app_id: str, as_json: bool, data_dir: str) -> None:
    """Print what happened, event by event."""

    async def task(call: Call, messages: Any) -> list[dict[str, Any]]:
        request = messages.GetInstanceHistoryRequest(instanceId=instance_id)
        answer = await call("GetInstanceHistory", request, messages.GetInstanceHistoryResponse)
        return [_event(event) for event in answer.events]

    api.show(_with_hub(app_id, data_dir, task), HISTORY, as_json, "No events.")


def _event(event: Any) -> dict[str, Any]:
    kind = event.WhichOneof("eventType") or "unknown"
    body = getattr(event, kind) if kind != "unknown" else None
    about = next((getattr(body, field) for field in ("taskScheduledId", "timerId") if hasattr(body, field)), None)
    row = {"time": _time(event.timestamp), "id": event.eventId if event.eventId >= 0 else "", "event": kind, "name": "", "data": ""}
    name = getattr(body, "name", "")
    row["name"] = name if isinstance(name, str) else name.value
    if about is not None:
        row["name"] = f"of {about}"
    for field in ("input", "result", "data"):
        if hasattr(body, field) and body is not None and body.HasField(field):
            row["data"] = getattr(body, field).value
    if hasattr(body, "failureDetails") and body is not None and body.HasField("failureDetails"):
        row["data"] = f"{body.failureDetails.errorType}: {body.failureDetails.errorMessage}"
    return row


@workflow.command("raise")
@click.argument("instance_id")
@click.argument("event")
@click.argument("data", required=False)
@app_option
@data_dir_option
def raise_(instance_id: str, event: str, data: str | None, app_id: str, data_dir: str) -> None:
    """Hand a workflow an event, with DATA (JSON) if given."""

    async def task(call: Call, messages: Any) -> None:
        request = messages.RaiseEventRequest(instanceId=instance_id, name=event)
        if data is not None:
            request.input.value = data
        await call("RaiseEvent", request, messages.RaiseEventResponse)

    _with_hub(app_id, data_dir, task)
    click.echo(f"event {event} raised on {instance_id}")


@workflow.command("suspend")
@click.argument("instance_id")
@click.option("--reason", default="", help="Kept in the history.")
@app_option
@data_dir_option
def suspend(instance_id: str, reason: str, app_id: str, data_dir: str) -> None:
    """Pause a workflow; what comes in meanwhile is kept."""

    async def task(call: Call, messages: Any) -> None:
        request = messages.SuspendRequest(instanceId=instance_id)
        request.reason.value = reason
        await call("SuspendInstance", request, messages.SuspendResponse)

    _with_hub(app_id, data_dir, task)
    click.echo(f"{instance_id} suspended")


@workflow.command("resume")
@click.argument("instance_id")
@app_option
@data_dir_option
def resume(instance_id: str, app_id: str, data_dir: str) -> None:
    """Let a suspended workflow go on."""

    async def task(call: Call, messages: Any) -> None:
        await call("ResumeInstance", messages.ResumeRequest(instanceId=instance_id), messages.ResumeResponse)

    _with_hub(app_id, data_dir, task)
    click.echo(f"{instance_id} resumed")


@workflow.command("terminate")
@click.argument("instance_id")
@click.option("--output", help="What the workflow's output becomes (JSON).")
@click.option("--recursive/--no-recursive", default=True, show_default=True, help="Its children too.")
@app_option
@data_dir_option
def terminate(instance_id: str, output: str | None, recursive: bool, app_id: str, data_dir: str) -> None:
    """End a workflow; its worker has to be connected."""

    async def task(call: Call, messages: Any) -> None:
        request = messages.TerminateRequest(instanceId=instance_id, recursive=recursive)
        if output is not None:
            request.output.value = output
        await call("TerminateInstance", request, messages.TerminateResponse)

    _with_hub(app_id, data_dir, task)
    click.echo(f"{instance_id} terminated")


@workflow.command("purge")
@click.argument("instance_id")
@click.option("--recursive/--no-recursive", default=True, show_default=True, help="Its children too.")
@click.option("--force", is_flag=True, help="Even if it has not ended.")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@app_option
@data_dir_option
def purge(instance_id: str, recursive: bool, force: bool, dry_run: bool, app_id: str, data_dir: str) -> None:
    """Remove an ended workflow and its history."""
    if dry_run:
        row = _with_hub(app_id, data_dir, lambda call, messages: _state(call, messages, instance_id))
        click.echo(f"would remove {instance_id} ({row['status']})" if row else f"there is no workflow {instance_id}")
        return

    async def task(call: Call, messages: Any) -> int:
        request = messages.PurgeInstancesRequest(instanceId=instance_id, recursive=recursive, force=force)
        return int((await call("PurgeInstances", request, messages.PurgeInstancesResponse)).deletedInstanceCount)

    click.echo(f"{_with_hub(app_id, data_dir, task)} removed")


@workflow.command("rerun")
@click.argument("instance_id")
@click.option("--event-id", default=0, show_default=True, help="Where to begin; see `edged workflow history`.")
@click.option("--new-id", help="Id of the new workflow; a random one if not given.")
@app_option
@data_dir_option
def rerun(instance_id: str, event_id: int, new_id: str | None, app_id: str, data_dir: str) -> None:
    """Run an ended workflow again from one of its events on, as a new one; prints the new id."""

    async def task(call: Call, messages: Any) -> str:
        request = messages.RerunWorkflowFromEventRequest(sourceInstanceID=instance_id, eventID=event_id)
        if new_id is not None:
            request.newInstanceID = new_id
        return str((await call("RerunWorkflowFromEvent", request, messages.RerunWorkflowFromEventResponse)).newInstanceID)

    click.echo(_with_hub(app_id, data_dir, task))
