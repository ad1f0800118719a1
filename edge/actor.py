"""What the actor block and the two ways to an actor's app (HTTP callbacks, the gRPC stream) have in common.

A host is where actors of a type run: an app's HTTP port, an app's stream, or another sidecar.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

from edge.model import InvokeResponse
from edge.record import record

ERROR_HEADER = "x-daprerrorresponseheader"
CANCEL_HEADER = "x-daprremindercancel"
CANCELLED = "reminder has been canceled"
REENTRANCY_HEADER = "dapr-reentrancy-id"


@record
class ActorCall:
    """A method call. headers: the caller's, lower-case names in order. query: without `?`. method: unescaped, may hold slashes.

    reentrancy: the id of the stack of calls, "" = none. spelling: of header names that a gRPC caller gave, by lower-case name.
    """

    type: str
    id: str
    method: str
    body: bytes = b""
    query: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str | None = None
    reentrancy: str = ""
    spelling: Mapping[str, str] | None = None

    def within(self, reentrancy: str) -> ActorCall:
        """The same call as part of that stack."""
        return self if reentrancy == self.reentrancy else replace(self, reentrancy=reentrancy)


@record
class ActorTick:
    """A firing of a timer or reminder. data: JSON text, None = none was given. due_time, period: as the app is to see them."""

    type: str
    id: str
    name: str
    data: bytes | None = None
    due_time: str = ""
    period: str = ""
    callback: str = ""


class ActorFailed(Exception):
    """The app refused or failed the call; the text is Dapr's (`error from actor service: (500) …`)."""


class HostGone(Exception):
    """Nobody hosts the actor there any more (moved, closing, disconnected): look it up again."""


class ActorHost(Protocol):
    """How actors of one app are called. All but deactivate raise ActorFailed, HostGone or AppUnavailable."""

    async def invoke(self, call: ActorCall) -> InvokeResponse:
        """The app's answer: status 200 and its body; with `ERROR_HEADER` among its headers when the actor itself failed."""
        ...

    async def remind(self, tick: ActorTick) -> bool:
        """Deliver a reminder; True = the app asked to end the series."""
        ...

    async def timer(self, tick: ActorTick) -> bool:
        """Deliver a timer's tick; True = the app asked to end the series."""
        ...

    async def deactivate(self, type_: str, id_: str) -> None:
        """Tell the app that the instance may go. Raises ActorFailed, AppUnavailable."""
        ...
