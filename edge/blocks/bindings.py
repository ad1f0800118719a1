"""Bindings: output calls with Dapr's refusals, and input events on their way to the app (app-channel.md §6, components.md §9.1).

Source: dapr pkg/runtime/processor/binding @1.18.3; differs: an input binding that does not start keeps no other from starting and is tried
again; `create` on a binding that waits for a broker is accepted when the message is on disk (edge/blocks/outbox_pump.py).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from edge import errors, gofloat, gojson
from edge.app import App, AppChannel, AppRefused, AppUnavailable, Part, Parts
from edge.blocks.gate import Gates
from edge.blocks.inbox_lane import LaneSettings
from edge.blocks.inbox_pump import SingleLane
from edge.blocks.intake import first_contact
from edge.blocks.outcome import DELIVERED, End, Outcome
from edge.blocks.pubsub import Outbox
from edge.blocks.retries import Attempts, BreakerOpen, PolicyOf, no_policy
from edge.blocks.traced import binding
from edge.component import Replies, Unsubscribe
from edge.errors import ComponentError, EdgeError, Full, Grpc, Unavailable
from edge.goscanner import JsonError
from edge.journal import Journal
from edge.journal.keeping import keeping
from edge.model import BindingEvent, BindingResult, Message
from edge.resiliency import TimedOut
from edge.tasks import Tasks

log = logging.getLogger("dapr.runtime.processor.binding")
FIRST_DELAY, LONGEST_DELAY = 1.0, 60.0


class OutputBindings:
    """The binding API of all apps."""

    def __init__(self, parts: Parts, outbox: Outbox, policy_of: PolicyOf = no_policy) -> None:
        """policy_of: outbound policies."""
        self._parts, self._outbox, self._policy_of = parts, outbox, policy_of

    async def invoke(
        self, app: App, name: str, operation: str, data: bytes, metadata: Mapping[str, str], key: str = ""
    ) -> BindingResult | None:
        """Run an operation; None when the binding answered nothing, and when a `create` was accepted durably.

        key: a `create` for a broker that repeats one of the app is answered with success and not accepted again, "" = none.
        Raises EdgeError OUTPUT_BINDING for everything that fails, with the response's metadata as headers if there was a response.
        """
        if not operation:
            raise _refused(name, "operation field is missing from request")
        part = self._parts.find("bindings", name, app)
        if part is None or not hasattr(part.component, "operations") or not _has_direction(part, "output"):
            raise _refused(name, f"couldn't find output binding {name}")
        operations: tuple[str, ...] = part.component.operations
        if operation not in operations:
            text = f"binding {name} does not support operation {operation}. supported operations:{' '.join(operations)}"
            raise _refused(name, text)
        try:
            if operation == "create" and part.component.journal_out:
                await self._accept(part, data, metadata, f"key|{app.id}|bindings/{name}|{key}" if key else "")
                return None
            return await self._invoke(app, part, operation, data, metadata)
        except Full as error:
            raise _full(name, error) from error
        except ComponentError as error:
            raise _refused(name, str(error), getattr(error, "metadata", {})) from error

    async def _accept(self, part: Part, data: bytes, metadata: Mapping[str, str], key: str = "") -> None:
        topic = metadata.get("topic") or part.properties.get("topic", "")
        await self._outbox.accept(part, Message(topic, data, metadata), keys=(key,) if key else ())

    async def _invoke(self, app: App, part: Part, operation: str, data: bytes, metadata: Mapping[str, str]) -> BindingResult | None:
        policy = self._policy_of(app, part.name)
        result: BindingResult | None
        if policy is None:
            result = await part.component.invoke(operation, data, metadata)
        else:
            result = await policy.run(lambda: part.component.invoke(operation, data, metadata))
        return result

    async def answer(self, app: App, result: BindingResult) -> None:
        """Send what an app answered to an input event to the output bindings that it named; failures are only logged (as Dapr)."""
        if not result.to:
            return
        try:
            data = gojson.encode(gofloat.decode(result.data, stream=False))
        except JsonError:
            data = b"null"
        if result.parallel:
            await asyncio.gather(*(self._answer(app, name, data) for name in result.to))
            return
        for name in result.to:
            if not await self._answer(app, name, data):
                return

    async def reply(self, part: Part, event: BindingEvent, result: BindingResult) -> None:
        """Send what an app answered to whoever sent the event, if he wants it; durably, as any `create`. Failures are only logged."""
        if not isinstance(part.component, Replies) or (metadata := part.component.reply_to(event)) is None:
            return
        if result.content_type:
            metadata = {"contentType": result.content_type, **metadata}
        try:
            await self._accept(part, result.data, metadata)
        except ComponentError as error:
            log.error("binding %s: the answer to %s could not be sent: %s", part.name, metadata.get("topic"), error)

    async def _answer(self, app: App, name: str, data: bytes) -> bool:
        try:
            await self.invoke(app, name, "create", data, {})
        except EdgeError as error:
            log.error("error executing app response: %s", error)
            return False
        return True


class BindingCourier:
    """Attempts for one input binding of one app; a `Courier`."""

    def __init__(self, app: App, part: Part, channel: AppChannel, outputs: OutputBindings, attempts: Attempts) -> None:
        self._app, self._part, self._channel, self._outputs, self._attempts = app, part, channel, outputs, attempts
        self._route = part.properties.get("route", "")

    async def attempt(self, message: Message, failures: int) -> Outcome:
        """Deliver one event. Raises AppUnavailable when no one is at the app's port, BreakerOpen."""
        try:
            await self.trigger(BindingEvent(message.data, message.metadata))
        except AppUnavailable as error:
            if not error.sent:
                raise
            return self._failed(failures, f"error invoking app: {error}", 0)
        except AppRefused as error:
            return self._failed(failures, str(error), error.code)
        except TimedOut as error:
            return self._failed(failures, f"error invoking app: {error}", 0)
        return DELIVERED

    async def trigger(self, event: BindingEvent) -> BindingResult:
        """One call of the app and what follows from its answer. Raises AppUnavailable, AppRefused, TimedOut, BreakerOpen."""
        metrics, call = self._app.metrics, partial(self._attempts.run, lambda: binding(self._app, self._part.name, event, self._hand_over))
        result = await (call() if metrics is None else metrics.timed("component_input_binding", (self._part.name,), call))
        await self._outputs.answer(self._app, result)
        await self._outputs.reply(self._part, event, result)
        return result

    async def _hand_over(self, event: BindingEvent) -> BindingResult:
        return await self._channel.trigger(self._part.name, self._route, event)

    async def at_once(self, event: BindingEvent) -> BindingResult:
        """For a binding that waits for the answer: attempts by policy, here and now. Raises Unavailable."""
        failures = 0
        while True:
            try:
                return await self.trigger(event)
            except (AppUnavailable, AppRefused, BreakerOpen, TimedOut) as error:
                failures += 1
                pause = None if isinstance(error, BreakerOpen) else self._attempts.pause(failures, getattr(error, "code", 0))
                if pause is None:
                    raise Unavailable(str(error)) from error
            await asyncio.sleep(pause)

    def _failed(self, failures: int, reason: str, code: int) -> Outcome:
        pause = self._attempts.pause(failures + 1, code)
        if pause is None:
            return Outcome(End.DEAD, reason)
        return Outcome(End.AGAIN, reason, pause)


class _Reader:
    """One input binding that is read for an app. lane: None when it waits for the app's answer."""

    def __init__(self, lane: SingleLane | None, stop: Unsubscribe) -> None:
        self.lane, self.stop = lane, stop

    async def close(self) -> None:
        if self.lane is not None:
            await self.lane.close()
        await self.stop()


class _Reading:
    """What is read for an app. retrying: the binding that did not start → its task."""

    def __init__(self) -> None:
        self.readers: dict[str, _Reader] = {}
        self.retrying: dict[str, asyncio.Task[None]] = {}


class InputBindings:
    """The input bindings of all apps.

    timeout: seconds for the app's answer to the probe (`--app-binding-options-timeout`).
    """

    def __init__(
        self,
        parts: Parts,
        outputs: OutputBindings,
        journal: Journal,
        tasks: Tasks,
        gates: Gates,
        policy_of: PolicyOf = no_policy,
        timeout: float = 3.0,
    ) -> None:
        self._parts, self._outputs, self._journal, self._tasks, self._gates = parts, outputs, journal, tasks, gates
        self._policy_of, self._timeout = policy_of, timeout
        self._reading: dict[str, _Reading] = {}

    async def start(self, app: App) -> None:
        """Read the bindings that the app wants. Called again after `pause`, it asks the app again (as Dapr)."""
        reading = self._reading.setdefault(app.id, _Reading())
        for part in self._parts.of("bindings", app):
            if part.name in reading.readers or not hasattr(part.component, "read") or not _has_direction(part, "input"):
                continue
            await self._try(app, reading, part)

    async def pause(self, app: App) -> None:
        """The app is unhealthy: events that are kept go on being kept, the others are not read (as Dapr)."""
        reading = self._reading.get(app.id, _Reading())
        for name in [name for name, reader in reading.readers.items() if reader.lane is None]:
            await reading.readers.pop(name).close()

    async def release(self, part: Part) -> None:
        """The component is about to close: nothing reads it any more."""
        for reading in self._reading.values():
            if (task := reading.retrying.pop(part.name, None)) is not None:
                task.cancel()
            if (reader := reading.readers.pop(part.name, None)) is not None:
                await reader.close()

    async def stop(self, app: App) -> None:
        """Read nothing more for the app. Idempotent."""
        reading = self._reading.pop(app.id, _Reading())
        for task in reading.retrying.values():
            task.cancel()
        await asyncio.gather(*(reader.close() for reader in reading.readers.values()))

    async def _try(self, app: App, reading: _Reading, part: Part) -> bool:
        """Start one binding; a failure is logged and tried again in the background."""
        try:
            await self._start(app, reading, part)
        except (AppUnavailable, ComponentError) as error:
            if part.name not in reading.retrying:
                log.warning("failed to read from bindings: %s ", error)
                reading.retrying[part.name] = self._tasks.start(f"binding[{part.name}]", self._insist(app, reading, part))
            return False
        return True

    async def _insist(self, app: App, reading: _Reading, part: Part) -> None:
        delay = FIRST_DELAY
        while True:
            await asyncio.sleep(delay)
            await self._gates.of(app).passed()
            if part.name in reading.readers or await self._try(app, reading, part):
                break
            delay = min(delay * 2, LONGEST_DELAY)
        reading.retrying.pop(part.name, None)

    async def _start(self, app: App, reading: _Reading, part: Part) -> None:
        channel, route = app.channel, part.properties.get("route", "")
        if channel is None:
            return
        explicit = "direction" in part.properties
        if not explicit and not await channel.wants_binding(part.name, route, self._timeout):
            log.info("app has not subscribed to binding %s.", part.name)
            return
        journalled = part.component.journal_in
        attempts = Attempts(self._policy_of(app, part.name), forever=journalled)
        courier = BindingCourier(app, part, channel, self._outputs, attempts)
        if not journalled:
            reading.readers[part.name] = _Reader(None, await part.component.read(courier.at_once))
            return
        name, kept = f"in-binding/{app.id}/{part.name}", keeping(part.properties)
        kept.bind(self._journal, name)
        settings = LaneSettings(name, part.properties.get("durability", "either").lower(), keeping=kept)
        lane = SingleLane(settings, courier, self._journal, self._gates.of(app), self._tasks)
        try:
            stop = await part.component.read(_into(lane, part.name))
        except BaseException:
            await lane.close()
            raise
        reading.readers[part.name] = _Reader(lane, stop)
        await first_contact([part])


def _into(lane: SingleLane, name: str) -> Callable[[BindingEvent], Awaitable[BindingResult]]:
    """What a binding delivers goes into its lane, in order per topic."""

    async def deliver(event: BindingEvent) -> BindingResult:
        await lane.deliver(Message(event.metadata.get("topic", name), event.data, event.metadata))
        return BindingResult()

    return deliver


def _has_direction(part: Part, direction: str) -> bool:
    """No `direction` in the metadata means both."""
    given = part.properties.get("direction")
    return given is None or direction in {word.strip().lower() for word in given.split(",")}


def _refused(name: str, error: str, metadata: Mapping[str, str] | None = None) -> EdgeError:
    headers = tuple((f"metadata.{key}", value) for key, value in (metadata or {}).items())
    return EdgeError(errors.OUTPUT_BINDING, headers=headers, name=name, error=error)


def _full(name: str, error: Full) -> EdgeError:
    """As of a publish: nothing was stored, it may be tried again soon."""
    again = (("Retry-After", "1"),)
    return EdgeError(errors.OUTPUT_BINDING, http=507, grpc=Grpc.RESOURCE_EXHAUSTED, headers=again, name=name, error=error)
