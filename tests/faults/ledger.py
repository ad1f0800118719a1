"""What was accepted and what arrived, kept outside the process under test; producers that go on over its deaths; and the verdict."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tests.harness import Sidecar


@dataclass
class Ledger:
    """accepted, arrived: per topic the numbers in order. refused: answers that were neither 204 nor a broken connection."""

    accepted: dict[str, list[int]] = field(default_factory=dict)
    arrived: dict[str, list[int]] = field(default_factory=dict)
    refused: dict[int, int] = field(default_factory=dict)
    kills: int = 0

    def accept(self, topic: str, number: int) -> None:
        self.accepted.setdefault(topic, []).append(number)

    def arrive(self, topic: str, number: int) -> None:
        self.arrived.setdefault(topic, []).append(number)

    def answers(self) -> int:
        """To how many calls there was one."""
        return sum(map(len, self.accepted.values())) + sum(self.refused.values())

    def lost(self) -> dict[str, list[int]]:
        """What was accepted and never came."""
        found = {topic: sorted(set(numbers) - set(self.arrived.get(topic, ()))) for topic, numbers in self.accepted.items()}
        return {topic: numbers for topic, numbers in found.items() if numbers}

    def disorder(self) -> dict[str, list[int]]:
        """Numbers whose first arrival was after that of a later one."""
        found: dict[str, list[int]] = {}
        for topic, numbers in self.arrived.items():
            highest = -1
            for number in dict.fromkeys(numbers):
                if number < highest:
                    found.setdefault(topic, []).append(number)
                highest = max(highest, number)
        return found

    def __str__(self) -> str:
        accepted = sum(map(len, self.accepted.values()))
        arrived = [number for numbers in self.arrived.values() for number in numbers]
        unique = sum(len(set(numbers)) for numbers in self.arrived.values())
        lost = sum(map(len, self.lost().values()))
        refused = f", refused {dict(sorted(self.refused.items()))}" if self.refused else ""
        return (
            f"kills {self.kills}, accepted {accepted}, delivered {unique}, duplicates {len(arrived) - unique}, "
            f"out of order {sum(map(len, self.disorder().values()))}{refused}, lost {lost}"
        )


class Caller:
    """Requests to a sidecar on one connection that is opened anew when it broke."""

    def __init__(self, sidecar: Sidecar) -> None:
        self._port = sidecar.http_port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, path: str, body: bytes, timeout: float = 30.0) -> int | None:
        """The status; None when the connection broke before it came (nobody knows then whether it was accepted)."""
        try:
            async with asyncio.timeout(timeout):
                return await self._post(path, body)
        except (OSError, asyncio.IncompleteReadError, TimeoutError, ValueError):
            self.close()
            return None

    async def _post(self, path: str, body: bytes) -> int:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        writer.write(b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (path.encode(), len(body), body))
        status = int((await reader.readuntil(b"\r\n")).split()[1])
        length = 0
        while (line := await reader.readuntil(b"\r\n")) != b"\r\n":
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        await reader.readexactly(length)
        return status

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None


async def produce(ledger: Ledger, sidecar: Sidecar, path: Callable[[str], str], topic: str, pause: float = 0.002, first: int = 0) -> None:
    """Publish first, first + 1… to a topic until cancelled; a number without an answer is sent again until it has one."""
    caller, number = Caller(sidecar), first
    with contextlib.closing(caller):
        while True:
            status = await caller.post(path(topic), str(number).encode())
            if status == 204:
                ledger.accept(topic, number)
                number += 1
            elif status is not None:
                ledger.refused[status] = ledger.refused.get(status, 0) + 1
            await asyncio.sleep(pause if status == 204 else 0.02)


async def settled(ledger: Ledger, timeout: float) -> None:
    """Wait until everything that was accepted arrived, at most `timeout` seconds."""
    loop = asyncio.get_running_loop()
    end = loop.time() + timeout
    while ledger.lost() and loop.time() < end:
        await asyncio.sleep(0.05)


async def stopped(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel and wait."""
    running = list(tasks)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
