"""Bindings behind a socket: input, output, or both by one type."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

from components._pluggable.pulling import pull
from components._pluggable.remote import Remote
from edge.component import DeliverEvent, Feature, Unsubscribe
from edge.errors import Closed
from edge.model import BindingEvent, BindingResult
from edge.rpc.pb import components_pb2 as pb

INPUT, OUTPUT = "InputBinding", "OutputBinding"


class Input(Remote):
    """The component waits for what the app answers."""

    journal_in: ClassVar[bool] = False

    async def open(self) -> None:
        """Raises ComponentError."""
        await self._start(INPUT, features=False)

    async def read(self, deliver: DeliverEvent) -> Unsubscribe:
        if self._closed:
            raise Closed(f"{self._context.name} is closed")
        return pull(self._context.name, partial(self.stream, INPUT, "Read"), None, partial(_handle, deliver), self._context.tasks)


class Output(Remote):
    """operations: as the component lists them."""

    journal_out: ClassVar[bool] = False
    operations: tuple[str, ...] = ()

    async def open(self) -> None:
        """Raises ComponentError."""
        await self._start(OUTPUT, features=False)
        answer = await self.ask(OUTPUT, "ListOperations", pb.ListOperationsRequest())
        self.operations = tuple(pb.ListOperationsResponse.FromString(answer).operations)

    async def invoke(self, operation: str, data: bytes, metadata: Mapping[str, str]) -> BindingResult | None:
        request = pb.InvokeRequest(data=data, metadata=dict(metadata), operation=operation)
        answer = pb.InvokeResponse.FromString(await self.ask(OUTPUT, "Invoke", request))
        return BindingResult(answer.data, dict(answer.metadata), answer.content_type)


class Both(Input, Output):
    """Input and output."""

    async def open(self) -> None:
        await Input.open(self)
        await Output.open(self)


async def _handle(deliver: DeliverEvent, data: bytes) -> Any:
    message = pb.ReadResponse.FromString(data)
    try:
        result = await deliver(BindingEvent(message.data, dict(message.metadata)))
    except Closed:
        raise
    except Exception as error:  # the component decides what becomes of it
        return pb.ReadRequest(message_id=message.message_id, response_error=pb.AckResponseError(message=str(error)))
    return pb.ReadRequest(message_id=message.message_id, response_data=result.data)


def make(socket: str, services: frozenset[str]) -> type:
    """The class of the binding behind a socket."""
    given = {name for name in (INPUT, OUTPUT) if name in services}
    base: type = Both if len(given) == 2 else Input if INPUT in given else Output
    features = {INPUT: Feature.INPUT_BINDING, OUTPUT: Feature.OUTPUT_BINDING}
    return type(base.__name__, (base,), {"socket": socket, "services": services, "features": frozenset(features[name] for name in given)})
