"""Placement in a Dapr cluster: types are spread over all sidecars that report them to Dapr's placement service.

Source: Dapr pkg/actors/internal/placement @1.18.3. Calls go on by the table that holds while a new one comes; when it has come, actors that
moved are deactivated here. Without the service nothing is hosted: actors are deactivated until it is back, calls look for their host.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping

from edge.app import App
from edge.blocks.actors.placement import Place, Placement
from edge.blocks.actors.ring import Ring
from edge.blocks.actors.table import ActorType

log = logging.getLogger("dapr.runtime.actors.placement")

Remote = Callable[[App, str, str], Place]
"""An own app, and a host's name and app id → that host."""


class Member:
    """An app of this daemon in the cluster. name: of its sidecar, `ip:port`. types: what it hosts. changed: called when these change."""

    def __init__(self, app: App, name: str) -> None:
        self.app, self.name = app, name
        self.types: dict[str, ActorType] = {}
        self.changed: Callable[[], None] = lambda: None


class ClusterPlacement(Placement):
    """Implements `find` by the cluster's tables, one for each namespace. join: keeps an app's stream to the service open."""

    def __init__(self, remote: Remote, join: Callable[[Member, ClusterPlacement], Awaitable[None]]) -> None:
        super().__init__()
        self._remote, self._join = remote, join
        self._members: dict[str, Member] = {}
        self._rings: dict[str, dict[str, Ring]] = {}

    async def member(self, app: App) -> None:
        """The app takes part from now on, also if it hosts nothing."""
        address = app.internal_address
        if address is not None and app.id not in self._members:
            member = self._members[app.id] = Member(app, f"{address.host}:{address.port}")
            await self._join(member, self)

    def find(self, namespace: str, type_: str, id_: str) -> Place | None:
        ring = self._rings.get(namespace, {}).get(type_)
        name = None if ring is None else ring.find(id_)
        if ring is None or name is None:
            return None
        own = [member for member in self._members.values() if member.app.namespace == namespace]
        for member in own:
            if member.name == name:
                return member.types.get(type_)
        return self._remote(own[0].app, name, ring.hosts[name])

    async def add(self, kind: ActorType) -> None:
        await self.member(kind.app)
        member = self._members[kind.app.id]
        member.types[kind.name] = kind
        member.changed()

    async def remove(self, kind: ActorType, patience: float | None = None) -> None:
        member = self._members[kind.app.id]
        member.types.pop(kind.name, None)
        member.changed()
        await kind.close(patience)

    # --- what the stream learns
    async def placed(self, member: Member, rings: Mapping[str, Ring]) -> None:
        """A new table: on return actors that are elsewhere now are not active here any more."""
        self._rings[member.app.namespace] = dict(rings)
        self._notify()
        await self._halt_moved(member)

    async def lost(self, member: Member) -> None:
        """The service is away."""
        self._rings.pop(member.app.namespace, None)
        await self._halt_moved(member)

    async def _halt_moved(self, member: Member) -> None:
        for kind in list(member.types.values()):
            await kind.halt([id_ for id_ in kind.active() if self.find(member.app.namespace, kind.name, id_) is not kind])
