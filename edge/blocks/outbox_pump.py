"""The outbox of the daemon: what apps publish and send leaves by one way per component (edge/blocks/outbox_broker.py)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from types import TracebackType
from typing import Self

from edge.app import Part
from edge.blocks.outbox_broker import Broker
from edge.blocks.pressure import Pressure
from edge.component import OutputBinding, Ready
from edge.errors import Unavailable
from edge.journal import REMEMBER, Journal
from edge.model import Message
from edge.tasks import Tasks


class OutboxPump:
    """The ways out to all components that acknowledge. An async context: on exit nothing that was accepted is only in memory."""

    def __init__(self, journal: Journal, tasks: Tasks, pressure: Pressure | None = None) -> None:
        self._journal, self._tasks = journal, tasks
        self._pressure = pressure or Pressure()
        self._brokers: dict[tuple[str, str], Broker] = {}

    def send_backlog(self, parts: Iterable[Part]) -> None:
        """Send what these components have from before a restart. Not before the subscriptions of the apps are made: a broker that keeps
        only what somebody subscribed to would drop it.
        """
        for part in parts:
            if getattr(part.component, "journal_out", False):
                self.wake(part)

    async def accept(self, part: Part, *messages: Message, keys: Sequence[str] = ()) -> None:
        """Return when all messages (of one topic) are on disk or with the broker. Raises Full, Invalid, Unavailable.

        keys: one a message, or none: what was accepted with it before is not accepted again.
        """
        broker = self._brokers.get((part.kind, part.name))
        if broker is None or broker.part is not part:
            broker = self._add(part)
        await broker.accept(messages, keys)
        await self._pressure.ease()

    async def once(self, key: str, work: Callable[[], Awaitable[None]]) -> None:
        """For what goes past the outbox: see `Journal.once`."""
        await self._journal.once(key, REMEMBER, work)

    def wake(self, part: Part) -> None:
        """See to it that rows in the component's lanes are sent (the broker watches them)."""
        broker = self._brokers.get((part.kind, part.name))
        if broker is None or broker.part is not part:
            self._add(part)

    def _add(self, part: Part) -> Broker:
        binding = part.kind == "bindings"
        target = sink(part.component) if binding else part.component
        prefix = f"out-binding/{part.name}/" if binding else f"out/{part.name}/"
        broker = self._brokers[part.kind, part.name] = Broker(part, prefix, target, self._journal, self._tasks)
        return broker

    async def remove(self, part: Part) -> None:
        """The component is about to close (reload); its lanes stay."""
        broker = self._brokers.pop((part.kind, part.name), None)
        if broker is not None:
            await broker.close(0.0)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self, grace: float = 0.0) -> None:
        """Stop sending; wait `grace` seconds for acknowledgements, write what has none. Idempotent."""
        brokers, self._brokers = list(self._brokers.values()), {}
        await asyncio.gather(*(broker.close(grace) for broker in brokers))


class BindingSink:
    """An output binding as a target."""

    def __init__(self, binding: OutputBinding) -> None:
        self._binding = binding

    async def publish(self, message: Message) -> None:
        await self._binding.invoke("create", message.data, message.metadata)


class ReadySink(BindingSink):
    """One that says when it would wait. A `Sender`."""

    def __init__(self, binding: OutputBinding, ready: Callable[[], bool]) -> None:
        super().__init__(binding)
        self._ready = ready

    def send(self, message: Message) -> asyncio.Future[None]:
        if not self._ready():
            raise Unavailable("no connection")
        return asyncio.get_running_loop().create_task(self.publish(message), name="binding.create")


def sink(binding: OutputBinding) -> BindingSink:
    """A binding as a target."""
    return ReadySink(binding, binding.ready) if isinstance(binding, Ready) else BindingSink(binding)
