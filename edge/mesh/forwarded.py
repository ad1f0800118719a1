"""What a call to another app's sidecar carries besides the caller's own headers (app-channel.md §10.1)."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import struct
import time
from collections.abc import Iterator, Sequence

from edge.app import App

Headers = Sequence[tuple[str, str]]
PROBES = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))  # RFC 5737, RFC 3849: a route is looked up, nothing is sent
SIOCGIFADDR = 0x8915
LOOPBACK = "127.0.0.1"
KNOWN_FOR = 10.0  # seconds; a device gets another address now and then
STAMPED = frozenset(("dapr-caller-app-id", "dapr-callee-app-id", "dapr-caller-namespace", "destination-app-id"))


def host_address() -> str:
    """The address that other machines know this one by: $DAPR_HOST_IP, that of the route to the world, an interface's, loopback."""
    if given := os.environ.get("DAPR_HOST_IP"):
        return given
    for family, address in PROBES:
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 80))
            return str(probe.getsockname()[0])
    return next(interface_addresses(), LOOPBACK)


def interface_addresses() -> Iterator[str]:
    """The IPv4 address of each interface but loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            with contextlib.suppress(OSError):
                answer = fcntl.ioctl(probe, SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
                address = socket.inet_ntoa(answer[20:24])
                if not address.startswith("127."):
                    yield address


class Origin:
    """This machine as its calls name it."""

    def __init__(self) -> None:
        self._name, self._address, self._until = socket.gethostname(), "", 0.0

    def stamped(self, headers: Headers, caller: App, callee: str) -> list[tuple[str, str]]:
        """The caller's headers, through which hosts the call came, and who calls whom (which the caller cannot say itself)."""
        address, name = self._known(), self._name
        node = f'"[{address}]"' if ":" in address else address
        own = (
            ("x-forwarded-for", address),
            ("x-forwarded-host", name),
            ("forwarded", f"for={node};by={node};host={name}"),
            ("dapr-caller-namespace", caller.namespace),
            ("dapr-caller-app-id", caller.id),
            ("dapr-callee-app-id", callee),
        )
        return [*(field for field in headers if field[0] not in STAMPED), *own]

    def _known(self) -> str:
        now = time.monotonic()
        if now > self._until:
            self._address, self._until = host_address(), now + KNOWN_FOR
        return self._address
