"""The stream of one app to Dapr's placement service: what the app hosts goes there, tables of who hosts what come back.

A round is lock, update, unlock, each answered with its version. Source: Dapr pkg/actors/internal/placement/loops @1.18.3.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from itertools import cycle
from typing import Any

from edge.blocks.actors.cluster import ClusterPlacement, Member
from edge.blocks.actors.ring import Ring
from edge.rpc.client import Channel, StreamReply, Target
from edge.rpc.pb import placement_pb2
from edge.rpc.reply import Refused
from edge.rpc.status import RpcError

log = logging.getLogger("dapr.runtime.actors.placement")
REPORT_STATUS = "/dapr.proto.placement.v1.Placement/ReportDaprStatus"
API_LEVEL = 20
PAUSE = 0.5
OPERATIONS = {"lock": placement_pb2.LOCK, "update": placement_pb2.UPDATE, "unlock": placement_pb2.UNLOCK}


async def take_part(member: Member, placement: ClusterPlacement, addresses: Sequence[str]) -> None:
    """Keep the stream open, at each address in turn: only the leader of several answers. Runs until cancelled."""
    told = ""
    for address in cycle(addresses):
        host, _, port = address.rpartition(":")
        channel = Channel(Target(host.strip("[]"), int(port)))
        try:
            await _stream(member, placement, channel)
        except (OSError, RpcError, Refused, TimeoutError) as error:
            if str(error) != told:
                told = str(error)
                log.warning("No placement service at %s: %s", address, told)
        finally:
            member.changed = lambda: None
            channel.abandon()
        await placement.lost(member)
        await asyncio.sleep(PAUSE)


async def _stream(member: Member, placement: ClusterPlacement, channel: Channel) -> None:
    stream = await channel.stream(REPORT_STATUS)
    reports = asyncio.Event()
    reports.set()
    member.changed = reports.set
    reporting = asyncio.create_task(_report(member, stream, reports), name=f"placement.report[{member.app.id}]")
    try:
        while (data := await stream.receive()) is not None:
            await _ordered(member, placement, stream, placement_pb2.PlacementOrder.FromString(data))
    finally:
        reporting.cancel()
        stream.cancel()


async def _report(member: Member, stream: StreamReply, reports: asyncio.Event) -> None:
    """Say what is hosted, at first and whenever that changed."""
    while True:
        await reports.wait()
        reports.clear()
        host = _host(member, placement_pb2.REPORT)
        host.name, host.api_level = member.name, API_LEVEL
        host.entities.extend(member.types)
        await stream.send(host.SerializeToString())


async def _ordered(member: Member, placement: ClusterPlacement, stream: StreamReply, order: Any) -> None:
    operation = OPERATIONS.get(order.operation)
    if operation is None:
        log.warning("The placement service ordered %r, which is not known here", order.operation)
        return
    if operation == placement_pb2.UPDATE:
        rings = {}
        for type_, table in order.tables.entries.items():
            rings[type_] = Ring({name: host.id for name, host in table.load_map.items()}, order.tables.replication_factor)
        await placement.placed(member, rings)
        log.info("Placement tables updated, version %d: %s", order.version, ", ".join(sorted(rings)))
    answer = _host(member, operation)
    answer.version = order.version
    await stream.send(answer.SerializeToString())


def _host(member: Member, operation: Any) -> Any:
    return placement_pb2.Host(id=member.app.id, namespace=member.app.namespace, operation=operation)
