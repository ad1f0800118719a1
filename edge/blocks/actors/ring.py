"""Who has an actor in a Dapr cluster: consistent hashing as all sidecars of the cluster do it.

Source: Dapr pkg/placement/hashing @1.18.3: BLAKE2b-512 of the host's name and a number, first 8 bytes little-endian.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from functools import lru_cache
from hashlib import blake2b


class Ring:
    """The hosts of one actor type. hosts: name (`ip:port` of its sidecar) → app id."""

    def __init__(self, hosts: Mapping[str, str], replication: int) -> None:
        self.hosts = dict(hosts)
        points = sorted((point, host) for host in hosts for point in _points(host, replication))
        self._points = [point for point, _ in points]
        self._names = [host for _, host in points]

    def find(self, actor_id: str) -> str | None:
        """The name of the actor's host; None = there is none."""
        if not self._points:
            return None
        at = bisect_left(self._points, _hash(actor_id))
        return self._names[at if at < len(self._points) else 0]


@lru_cache(256)
def _points(host: str, replication: int) -> tuple[int, ...]:
    return tuple(_hash(f"{host}{number}") for number in range(replication))


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode()).digest()[:8], "little")
