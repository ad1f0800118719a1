"""One UDP socket in the mDNS group on every interface, loopback included: apps of a device find each other without a network."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct
from collections.abc import Callable

log = logging.getLogger("dapr.nameresolution.mdns")
GROUP, PORT = "224.0.0.251", 5353
LARGEST = 9000
REACH, HOST_ONLY = 255, 0  # hops

Heard = Callable[[bytes, tuple[str, int]], None]


class Link:
    """heard: called with each datagram and who sent it."""

    def __init__(self, heard: Heard) -> None:
        self._heard = heard
        self._socket: socket.socket | None = None
        self._joined: set[int] = set()

    def open(self) -> None:
        """Raises OSError when the port can't be shared."""
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            made.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
            made.bind(("", PORT))
        except OSError:
            made.close()
            raise
        self._socket = made
        self.join()
        asyncio.get_running_loop().add_reader(made, self._read)

    def join(self) -> None:
        """Be in the group on interfaces that are there now."""
        made = self._socket
        if made is None:
            return
        there = {index for index, _ in socket.if_nameindex()}
        self._joined &= there
        for index in there - self._joined:
            with contextlib.suppress(OSError):  # an interface without an address
                made.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, _member(index))
                self._joined.add(index)

    def send(self, data: bytes, hops: int) -> None:
        """To the group, on every interface; what can't be sent is lost, as datagrams are."""
        made = self._socket
        if made is None:
            return
        for index in self._joined:
            with contextlib.suppress(OSError):
                made.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, _member(index))
                made.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, hops)
                made.sendto(data, (GROUP, PORT))

    def reply(self, data: bytes, to: tuple[str, int]) -> None:
        """To one asker that is not in the group."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.sendto(data, to)

    def _read(self) -> None:
        made = self._socket
        while made is not None:
            try:
                data, sender = made.recvfrom(LARGEST)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                log.debug("mDNS: %s", error)
                return
            self._heard(data, sender)

    def close(self) -> None:
        """Leave the group."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None


def _member(index: int) -> bytes:
    """struct ip_mreqn."""
    return struct.pack("@4s4si", socket.inet_aton(GROUP), b"\0\0\0\0", index)
