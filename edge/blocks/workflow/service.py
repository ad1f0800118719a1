"""Dapr's workflow API (HTTP and the `…WorkflowBeta1` RPCs): its id rules, statuses and texts over the manager.

Source: http-api.md §13, grpc-api.md §13, recorded exchanges. Differs: a start with no worker connected is stored and answered; daprd
keeps nothing and lets the caller hang until a worker comes.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from edge import errors
from edge.app import App
from edge.blocks.workflow.access import PurgeDenied
from edge.blocks.workflow.manager import AlreadyActive, Manager, NoSuchInstance, NotBegun, NotEnded
from edge.errors import Code, EdgeError

LONGEST_ID = 64
ACTIVE_WAIT = 3.0
NO_TEXT = "string field contains invalid UTF-8"
NAMES = ("RUNNING", "COMPLETED", "CONTINUED_AS_NEW", "FAILED", "CANCELED", "TERMINATED", "PENDING", "SUSPENDED", "UNKNOWN")


@dataclass(frozen=True, slots=True)
class WorkflowInfo:
    """The answer of get. Times are (epoch seconds, nanos); properties: Dapr's `dapr.workflow.…` keys."""

    id: str
    name: str
    created: tuple[int, int]
    updated: tuple[int, int]
    status: str
    properties: Mapping[str, str]


class WorkflowService:
    """The block behind both fronts. manager: made at the first use, since it brings protobuf."""

    def __init__(self, manager: Callable[[], Manager]) -> None:
        self._make, self._made = manager, None

    @property
    def manager(self) -> Manager:
        made: Manager | None = self._made
        if made is None:
            made = self._make()
            self._made = made  # type: ignore[assignment]
        return made

    @property
    def started(self) -> bool:
        """Somebody used workflows already."""
        return self._made is not None

    async def start(self, app: App, name: str, instance_id: str | None, data: bytes, start: str | None = None) -> str:
        """Store a new instance and answer its id. data: the input, UTF-8. start: RFC 3339. Raises EdgeError."""
        if not name:
            raise EdgeError(errors.WORKFLOW_NAME_MISSING)
        instance_id = instance_id or str(uuid.uuid4())
        if len(instance_id) > LONGEST_ID:
            raise EdgeError(errors.WORKFLOW_ID_LONG, max=LONGEST_ID)
        if not all(c.isalnum() or c in "_-" for c in instance_id):
            raise EdgeError(errors.WORKFLOW_ID_INVALID, id=instance_id)
        try:
            return await self.manager.start(app.id, instance_id, name, start=_stamp(start, name), input=_text(data.decode()))
        except UnicodeDecodeError:
            text = f"unable to start workflow: failed to start workflow: failed to marshal CreateWorkflowInstanceRequest: {NO_TEXT}"
            raise EdgeError(errors.WORKFLOW_START, name=name, error=text) from None
        except AlreadyActive as error:
            await asyncio.sleep(ACTIVE_WAIT)
            text = f"unable to start workflow: failed to start workflow: rpc error: code = AlreadyExists desc = {error}"
            raise EdgeError(errors.WORKFLOW_START, name=name, error=text) from error

    async def get(self, app: App, instance_id: str) -> WorkflowInfo | None:
        """State of an instance, None when unknown."""
        _need(instance_id)
        state = await self.manager.state(app.id, instance_id)
        return None if state is None else _info(state)

    async def terminate(self, app: App, instance_id: str) -> None:
        """End it and its children; returns once that is stored."""
        _need(instance_id)
        try:
            await self.manager.terminate(app.id, instance_id, None, recursive=True, wait=False)
        except NoSuchInstance as error:
            raise _missing(instance_id, f"failed to submit termination request:: {error}") from error

    async def purge(self, app: App, instance_id: str) -> None:
        """Remove an ended instance and its children."""
        _need(instance_id)
        try:
            await self.manager.purge(app.id, instance_id, recursive=True)
        except NotBegun as error:
            raise _missing(instance_id, f"failed to purge workflow state: {error}") from error
        except NoSuchInstance as error:
            raise _missing(instance_id, f"failed to purge workflow state: failed to fetch workflow state: {error}") from error
        except (NotEnded, PurgeDenied) as error:
            text = f"failed to Purge workflow {instance_id}: failed to purge workflow state: {error}"
            raise EdgeError(errors.WORKFLOW_PURGE, id=instance_id, error=text) from error

    async def pause(self, app: App, instance_id: str) -> None:
        """Suspend it."""
        with _Worded(errors.WORKFLOW_PAUSE, instance_id, f"failed to pause workflow {instance_id}: failed to suspend workflow"):
            await self.manager.suspend(app.id, instance_id, None, wait=False)

    async def resume(self, app: App, instance_id: str) -> None:
        """Let it go on."""
        with _Worded(errors.WORKFLOW_RESUME, instance_id, f"failed to resume workflow {instance_id}: failed to resume workflow"):
            await self.manager.resume(app.id, instance_id, None, wait=False)

    async def raise_event(self, app: App, instance_id: str, event: str, data: bytes) -> None:
        """Hand it an event. data: UTF-8, b"" = none."""
        _need(instance_id)
        if not event:
            raise EdgeError(errors.WORKFLOW_EVENT_MISSING)
        text = f"failed to raise event {event} on workflow {instance_id}: failed to raise event"
        with _Worded(errors.WORKFLOW_RAISE, instance_id, text):
            await self.manager.raise_event(app.id, instance_id, event, _decoded(data, instance_id, text))


def _decoded(data: bytes, instance_id: str, text: str) -> str | None:
    try:
        return data.decode() or None
    except UnicodeDecodeError:
        raise EdgeError(errors.WORKFLOW_RAISE, id=instance_id, error=f"{text}: {NO_TEXT}") from None


class _Worded:
    """Turns NoSuchInstance into the code of the call."""

    def __init__(self, code: Code, instance_id: str, text: str) -> None:
        _need(instance_id)
        self.code, self.instance_id, self.text = code, instance_id, text

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, NoSuchInstance):
            raise EdgeError(self.code, id=self.instance_id, error=f"{self.text}: {error}") from error


def _need(instance_id: str) -> None:
    if not instance_id:
        raise EdgeError(errors.WORKFLOW_ID_MISSING)


def _text(data: str) -> Any:
    from edge.blocks.workflow import wire  # protobuf, only with workflows

    return wire.text(data)


def _stamp(start: str | None, name: str) -> Any:
    if not start:
        return None
    from edge.blocks.workflow import wire

    try:
        moment = datetime.fromisoformat(start)
    except ValueError as error:
        raise EdgeError(errors.WORKFLOW_START, name=name, error=f"unable to parse start time: {error}") from error
    stamp = wire.Timestamp()
    stamp.seconds = int(moment.timestamp())
    stamp.nanos = moment.microsecond * 1000
    return stamp


def _info(state: Any) -> WorkflowInfo:
    properties: dict[str, str] = {}
    for key, field in (("input", "input"), ("output", "output"), ("custom_status", "customStatus")):
        if state.HasField(field) and (key == "input" or getattr(state, field).value):
            properties[f"dapr.workflow.{key}"] = getattr(state, field).value
    if state.HasField("failureDetails"):
        failure = state.failureDetails
        properties["dapr.workflow.failure.error_type"] = failure.errorType
        properties["dapr.workflow.failure.error_message"] = failure.errorMessage
        if failure.HasField("stackTrace"):
            properties["dapr.workflow.failure.stack_trace"] = failure.stackTrace.value
    return WorkflowInfo(
        state.instanceId,
        state.name,
        (state.createdTimestamp.seconds, state.createdTimestamp.nanos),
        (state.lastUpdatedTimestamp.seconds, state.lastUpdatedTimestamp.nanos),
        NAMES[state.workflowStatus],
        properties,
    )


def _missing(instance_id: str, cause: str) -> EdgeError:
    """Dapr's text has one argument too many, which Go puts behind it with marks of its own."""
    text = f"unable to find workflow with the provided instance ID: {instance_id}: {cause}"
    return EdgeError(errors.WORKFLOW_NOT_FOUND, message=text)
