"""Actors over many machines: the daemon's part in a Dapr cluster, when a placement service is given."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from edge.app import App
from edge.mesh.sidecars import Mesh
from edge.settings import DaemonSettings
from edge.tasks import Tasks

if TYPE_CHECKING:
    from edge.blocks.actors.cluster import ClusterPlacement, Member
    from edge.blocks.actors.placement import Place, Placement
    from edge.blocks.series import Keeper


def keeper_of(settings: DaemonSettings, tasks: Tasks) -> Callable[[], Keeper] | None:
    """Makes what keeps jobs and reminders at `--scheduler-host-address`; None = the daemon's own file does."""
    addresses = settings.apps[0].scheduler_addresses if settings.apps else ()
    if not addresses:
        return None

    def make() -> Keeper:
        from edge.mesh.scheduler import RemoteSeries  # protobuf and HTTP/2, when somebody uses jobs or reminders

        return RemoteSeries(addresses, settings.apps[0].app_id, tasks)

    return make


def cluster_of(settings: DaemonSettings, mesh: Mesh, tasks: Tasks) -> Callable[[], Placement] | None:
    """Makes the placement of `--placement-host-address`; None = the daemon is its own."""
    addresses = settings.apps[0].placement_addresses if settings.apps else ()
    if not addresses:
        return None

    def make() -> Placement:
        from edge.blocks.actors.cluster import ClusterPlacement  # protobuf and HTTP/2, when somebody uses actors
        from edge.mesh.actors import RemoteActors
        from edge.mesh.placement import take_part

        def remote(app: App, name: str, app_id: str) -> Place:
            return RemoteActors(mesh.connections(), app, name, app_id)

        async def join(member: Member, placement: ClusterPlacement) -> Any:
            tasks.spawn(f"placement[{member.app.id}]", lambda: take_part(member, placement, addresses))

        return ClusterPlacement(remote, join)

    return make
