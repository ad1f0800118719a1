"""A process that keeps a short lane full and tidies its file at once: `python -m tests.faults.points FILE BURSTS` prints what is accepted.

It is armed from outside (EDGED_CRASH_AT), so that it dies where the journal prunes, the file shrinks, a checkpoint or a migration runs.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from edge.database import Database, idle, writer
from edge.journal import Journal, Limits, Policy
from edge.model import Message
from edge.runtime import DATABASE

LANE, MOST, BURST = "out/wire/t", 20, 30


async def fill(file: Path, bursts: int) -> None:
    async with Database.open(file, DATABASE) as database, Journal.open(database) as journal:
        journal.set_limits("out/wire/", Limits(max_entries=MOST, policy=Policy.DROP_OLDEST))
        for burst in range(bursts):
            for number in range(burst * BURST, (burst + 1) * BURST):
                await journal.put(LANE, Message("t", b"%d" % number + b" " * (200 if burst % 2 else 4000), id=str(number)))
                print(number, flush=True)
            await asyncio.sleep(0.05)


def main() -> None:
    idle.WAL_KEPT_BYTES = idle.FREE_KEPT_BYTES = 0
    writer.IDLE_AFTER = 0.01
    asyncio.run(fill(Path(sys.argv[1]), int(sys.argv[2])))


if __name__ == "__main__":
    main()
