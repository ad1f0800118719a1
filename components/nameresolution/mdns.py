"""`nameresolution.mdns`: apps found by multicast DNS, with the same records as daprd's, so that both find each other.

A sidecar announces `<app id>.local` → `<host>:<pid>.<app id>.local` with its internal port, its address and the app id as text. Known
addresses count for 60 s and are asked for again after 30 s of use; several take turns. Announcing costs one socket and no package: the
few records that are needed are read and written here. Source: components-contrib nameresolution/mdns @1.18.4.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from typing import ClassVar

from components.nameresolution import _dns
from components.nameresolution._dns import Record
from components.nameresolution._link import HOST_ONLY, PORT, REACH, Link
from edge.component import Context, Feature
from edge.errors import NotFound
from edge.model import Address
from edge.record import record

log = logging.getLogger("dapr.nameresolution.mdns")
LIFE, REFRESH = 60.0, 30.0
ASK_AT = (0.0, 0.15, 0.5)  # seconds; a lost datagram is asked for again
PATIENCE = 1.0
REJOIN = 60.0
TTL, HOST_TTL = 3200, 120


@record
class Fields:
    """No fields."""


def is_loopback(host: str) -> bool:
    """Only this machine can call it."""
    return host.startswith("127.") or host == "::1"


class Known:
    """The addresses of one app: address → when it ends. asked: when it was last asked for."""

    __slots__ = ("asked", "found", "turn", "until")

    def __init__(self) -> None:
        self.until: dict[Address, float] = {}
        self.asked = 0.0
        self.turn = 0
        self.found = asyncio.Event()

    def next(self) -> Address | None:
        """One that is known, each in its turn; IPv4 first."""
        now = time.monotonic()
        self.until = {address: until for address, until in self.until.items() if until > now}
        fourth = [address for address in self.until if ":" not in address.host]
        choice = fourth or list(self.until)
        if not choice:
            self.found.clear()
            return None
        self.turn += 1
        return choice[self.turn % len(choice)]


class Resolver:
    """The resolver of one daemon."""

    Metadata: ClassVar[type] = Fields
    features: ClassVar[frozenset[Feature]] = frozenset()

    def __init__(self, metadata: Fields, context: Context) -> None:
        self._context = context
        self._link = Link(self._heard)
        self._own: dict[str, Address] = {}
        self._known: dict[str, Known] = {}
        host = socket.gethostname()
        self._instance = f"{host}:{os.getpid()}".replace(".", "\\.")
        self._host = f"{host.partition('.')[0]}-{os.getpid()}.local"
        self._rejoin: asyncio.TimerHandle | None = None

    async def open(self) -> None:
        """Raises OSError."""
        self._link.open()
        self._rejoin = asyncio.get_running_loop().call_later(REJOIN, self._again)

    def _again(self) -> None:
        """A device gets its network late, or another one."""
        self._link.join()
        self._rejoin = asyncio.get_running_loop().call_later(REJOIN, self._again)

    async def close(self) -> None:
        """Say goodbye (RFC 6762 §10.1)."""
        if self._rejoin is not None:
            self._rejoin.cancel()
        for app_id in self._own:
            self._send(app_id, ttl=0)
        self._own.clear()
        self._link.close()

    # --- being found
    async def register(self, app_id: str, address: Address) -> None:
        """Answer for an app. One on loopback is told to this machine only."""
        self._own[app_id] = address
        self._send(app_id)
        log.info("local service entry announced: %s -> %s:%d", app_id, address.host, address.port)

    def _send(self, app_id: str, ttl: int | None = None) -> None:
        hops = HOST_ONLY if is_loopback(self._own[app_id].host) else REACH
        self._link.send(self._answer(app_id, ttl), hops)

    def _answer(self, app_id: str, ttl: int | None = None, id_: int = 0) -> bytes:
        """The records of one app."""
        address, service = self._own[app_id], f"{app_id}.local"
        instance = f"{self._instance}.{service}"
        life, host_life = (TTL, HOST_TTL) if ttl is None else (ttl, ttl)
        kind = _dns.AAAA if ":" in address.host else _dns.A
        extra = (
            Record(instance, _dns.SRV, life, target=self._host, port=address.port),
            Record(instance, _dns.TXT, life, texts=(app_id,)),
            Record(self._host, kind, host_life, address=address.host),
        )
        return _dns.response((Record(service, _dns.PTR, life, target=instance),), extra, id_)

    # --- finding
    async def resolve(self, app_id: str, namespace: str) -> Address:
        """Raises NotFound after a second without an answer."""
        known = self._known.setdefault(app_id, Known())
        address = known.next()
        if address is None:
            await self._ask(app_id, known)
            address = known.next()
        elif time.monotonic() - known.asked > REFRESH:
            self._query(app_id, known)
        if address is None:
            raise NotFound(f"couldn't find service: {app_id}")
        return address

    def forget(self, app_id: str, address: Address) -> None:
        """Nobody answers there."""
        if (known := self._known.get(app_id)) is not None:
            known.until.pop(address, None)

    async def _ask(self, app_id: str, known: Known) -> None:
        """Return when somebody answered, or after a second."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        for begin, end in zip(ASK_AT, (*ASK_AT[1:], PATIENCE), strict=True):
            self._query(app_id, known)
            try:
                async with asyncio.timeout_at(began + end if end > begin else None):
                    await known.found.wait()
                    return
            except TimeoutError:
                continue

    def _query(self, app_id: str, known: Known) -> None:
        known.asked = time.monotonic()
        self._link.join()
        self._link.send(_dns.query(f"{app_id}.local"), REACH)

    # --- the group
    def _heard(self, data: bytes, sender: tuple[str, int]) -> None:
        try:
            packet = _dns.parse(data)
        except _dns.Malformed:
            return
        if packet.response:
            self._learn(packet)
            return
        names = {f"{app_id}.local".lower(): app_id for app_id in self._own}
        for question in packet.questions:
            app_id = names.get(question.name)
            if app_id is None or question.type not in (_dns.PTR, _dns.ANY):
                continue
            if sender[1] == PORT:
                self._send(app_id)
            elif not is_loopback(self._own[app_id].host):  # RFC 6762 §6.7
                self._link.reply(self._answer(app_id, id_=packet.id), sender)

    def _learn(self, packet: _dns.Packet) -> None:
        """Keep the addresses of apps that somebody here asked for."""
        wanted = {f"{app_id}.local".lower(): app_id for app_id in self._known}
        services = {one.target: wanted[one.name] for one in packet.records if one.type == _dns.PTR and one.name in wanted}
        if not services:
            return
        texts = {one.name: one.texts for one in packet.records if one.type == _dns.TXT}
        hosts: dict[str, list[str]] = {}
        for one in packet.records:
            if one.type in (_dns.A, _dns.AAAA):
                hosts.setdefault(one.name, []).append(one.address)
        for one in packet.records:
            app_id = services.get(one.name)
            if one.type == _dns.SRV and app_id is not None and app_id in texts.get(one.name, ()):
                for host in hosts.get(one.target, ()):
                    self._keep(self._known[app_id], Address(host, one.port), one.ttl)

    @staticmethod
    def _keep(known: Known, address: Address, ttl: int) -> None:
        if ttl == 0:
            known.until.pop(address, None)
            return
        known.until[address] = time.monotonic() + LIFE
        known.found.set()
