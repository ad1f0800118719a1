"""Configuration items: read, subscribe, unsubscribe. Source: dapr pkg/api/http, pkg/api/universal (configuration) @1.18.3."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from edge import errors
from edge.app import App, AppChannel, AppRefused, AppUnavailable, Part, Parts
from edge.blocks.retries import PolicyOf, no_policy
from edge.errors import ComponentError, EdgeError
from edge.model import NO_METADATA, ConfigItem

if TYPE_CHECKING:
    from edge.component import Unsubscribe

log = logging.getLogger("dapr.api")
Deliver = Callable[[str, Mapping[str, ConfigItem]], Awaitable[None]]
"""Gets the subscription's id and the items that changed; a deleted one is empty."""


Begin = Callable[[Part], "Awaitable[Unsubscribe]"]


class Watch:
    """One subscription. ended: told when it ends by `unsubscribe` or with the daemon. begin: subscribes at a component."""

    __slots__ = ("app_id", "begin", "ended", "stop", "store")

    def __init__(self, app_id: str, store: str, stop: Unsubscribe, begin: Begin, ended: Callable[[], None] | None) -> None:
        self.app_id, self.store, self.stop, self.begin, self.ended = app_id, store, stop, begin, ended


class ConfigurationService:
    """The configuration API of all apps."""

    def __init__(self, parts: Parts, outbound: PolicyOf = no_policy, inbound: PolicyOf = no_policy) -> None:
        """outbound, inbound: the policies of calls to a store, and from it to an app, by its name."""
        self._parts, self._outbound, self._inbound = parts, outbound, inbound
        self._watches: dict[str, Watch] = {}

    async def get(self, app: App, store: str, keys: Sequence[str], metadata: Mapping[str, str] = NO_METADATA) -> dict[str, ConfigItem]:
        """The items that are there, all without keys. Raises EdgeError: CONFIG_NOT_CONFIGURED, CONFIG_NOT_FOUND, CONFIG_GET."""
        part = self.part(app, store)
        try:
            found: dict[str, ConfigItem] = await self._run(app, part, lambda: part.component.get(keys, metadata))
        except ComponentError as error:
            raise EdgeError(errors.CONFIG_GET, keys=_list(keys), name=store, error=error) from error
        return found

    async def subscribe(
        self,
        app: App,
        store: str,
        keys: Sequence[str],
        metadata: Mapping[str, str],
        deliver: Deliver,
        ended: Callable[[], None] | None = None,
    ) -> str:
        """Hear of changes until `unsubscribe`; the subscription's id. Raises EdgeError as `get`, CONFIG_SUBSCRIBE."""
        part, id_ = self.part(app, store), str(uuid4())

        async def changed(items: dict[str, ConfigItem]) -> None:
            await deliver(id_, items)

        async def begin(part: Part) -> Unsubscribe:
            stop: Unsubscribe = await part.component.subscribe(sorted(keys), changed, metadata)
            return stop

        try:
            stop = await self._run(app, part, lambda: begin(part))
        except ComponentError as error:
            raise EdgeError(errors.CONFIG_SUBSCRIBE, keys=_list(keys), name=store, error=error) from error
        self._watches[id_] = Watch(app.id, store, stop, begin, ended)
        return id_

    async def subscribe_app(self, app: App, store: str, keys: Sequence[str], metadata: Mapping[str, str] = NO_METADATA) -> str:
        """Push changes to the app's own listener: one call per key, each with all items that changed. Raises as `subscribe`."""
        self.part(app, store)
        channel = app.channel
        if channel is None:
            raise EdgeError(errors.APP_CHANNEL_NIL, error="cannot subscribe to configuration updates")

        async def deliver(id_: str, items: Mapping[str, ConfigItem]) -> None:
            for key in items:
                await self._push(app, channel, store, key, id_, items)

        return await self.subscribe(app, store, keys, metadata, deliver)

    async def unsubscribe(self, app: App, id_: str) -> bool:
        """End a subscription of this app; False if there is none with that id."""
        watch = self._watches.get(id_)
        if watch is None or watch.app_id != app.id:
            return False
        await self._end(id_)
        return True

    async def renew(self, part: Part) -> None:
        """The component was exchanged: its subscriptions go on at the new one."""
        for watch in [watch for watch in self._watches.values() if watch.store == part.name]:
            try:
                old, watch.stop = watch.stop, await watch.begin(part)
                await old()
            except ComponentError as error:
                log.error("failed to subscribe anew to Configuration store %s: %s", part.name, error)

    async def close(self) -> None:
        """End all subscriptions."""
        for id_ in tuple(self._watches):
            await self._end(id_)

    def part(self, app: App, store: str) -> Part:
        """The store. Raises EdgeError: CONFIG_NOT_CONFIGURED, CONFIG_NOT_FOUND."""
        part = self._parts.find("configuration", store, app)
        if part is not None:
            return part
        if not self._parts.any("configuration", app):
            raise EdgeError(errors.CONFIG_NOT_CONFIGURED)
        raise EdgeError(errors.CONFIG_NOT_FOUND, name=store)

    async def _end(self, id_: str) -> None:
        watch = self._watches.pop(id_)
        await watch.stop()
        if watch.ended is not None:
            watch.ended()

    async def _push(self, app: App, channel: AppChannel, store: str, key: str, id_: str, items: Mapping[str, ConfigItem]) -> None:
        """One call of the app; a failure is logged, and tried again only under a resiliency policy, as in Dapr."""
        policy = self._inbound(app, store)

        async def call() -> None:
            await channel.configuration_changed(store, key, id_, items)

        try:
            await (call() if policy is None else policy(call))
        except (AppUnavailable, AppRefused, ComponentError) as error:
            log.error("error sending configuration item to the app: %s", error)

    async def _run(self, app: App, part: Part, call: Callable[[], Awaitable[Any]]) -> Any:
        policy = self._outbound(app, part.name)
        return await (call() if policy is None else policy(call))


def _list(keys: Sequence[str]) -> str:
    """Go's %v of a list."""
    return f"[{' '.join(keys)}]"
