"""Which host has an actor, when the daemon is its own placement: types are looked up among the apps of this device.

A type that several apps host is spread over them by actor id (highest random weight), so one that comes or goes moves only its share.
"""

from __future__ import annotations

import asyncio
from hashlib import blake2b
from typing import Protocol

from edge.actor import ActorCall, ActorTick
from edge.app import App
from edge.blocks.actors.table import ActorType
from edge.model import InvokeResponse


class Place(Protocol):
    """Where an actor is called. Raises ActorFailed, AppUnavailable, StackTooDeep, HostGone (look it up again)."""

    async def invoke(self, call: ActorCall) -> InvokeResponse: ...
    async def remind(self, tick: ActorTick) -> bool: ...
    async def timer(self, tick: ActorTick) -> bool: ...


class Placement:
    """The hosted types of all apps of this daemon."""

    def __init__(self) -> None:
        self._types: dict[tuple[str, str], list[ActorType]] = {}
        self._changed = asyncio.Event()

    def find(self, namespace: str, type_: str, id_: str) -> Place | None:
        """The host of that actor now; None = no app has the type."""
        hosts = self._types.get((namespace, type_))
        if hosts is None:
            return None
        return hosts[0] if len(hosts) == 1 else max(hosts, key=lambda host: _weight(host.app.id, id_))

    async def changed(self, timeout: float) -> None:
        """Return when a type came or went, or after `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                await self._changed.wait()
        except TimeoutError:
            pass

    async def member(self, app: App) -> None:
        """The app is there, though it may host nothing."""

    async def add(self, kind: ActorType) -> None:
        """From now on that host has the type; actors that move to it are deactivated where they were."""
        hosts = self._types.setdefault((kind.app.namespace, kind.name), [])
        hosts.append(kind)
        self._notify()
        await self._rebalance(hosts)

    async def remove(self, kind: ActorType, patience: float | None = None) -> None:
        """From now on that host does not have the type; its actors are deactivated."""
        key = (kind.app.namespace, kind.name)
        hosts = self._types.get(key, [])
        if kind in hosts:
            hosts.remove(kind)
            if not hosts:
                del self._types[key]
            self._notify()
        await kind.close(patience)

    async def _rebalance(self, hosts: list[ActorType]) -> None:
        if len(hosts) < 2:
            return
        for host in list(hosts):
            moved = [id_ for id_ in host.active() if self.find(host.app.namespace, host.name, id_) is not host]
            await host.halt(moved)

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def _weight(app_id: str, actor_id: str) -> bytes:
    return blake2b(f"{app_id}\n{actor_id}".encode(), digest_size=8).digest()
