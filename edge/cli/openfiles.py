"""Open files: as many as the system grants, and one clear line when even those are spent (layer 6).

asyncio tries a listener's whole backlog again each second and logs a traceback for each failure, 1,024 lines a second.
"""

from __future__ import annotations

import asyncio
import logging
import resource
from typing import Any

log = logging.getLogger("dapr.runtime")
GIVEN = resource.getrlimit(resource.RLIMIT_NOFILE)
"""What this process was started with; an app that edged starts gets that."""
SPENT = "socket.accept() out of system resource"
QUIET = 10.0


def raise_limit() -> None:
    """The soft limit becomes the hard one, as Go's runtime does for daprd: each caller costs a descriptor."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (GIVEN[1], GIVEN[1]))


class Watch:
    """The loop's exception handler: a line each ten seconds while nobody new can connect, everything else as before."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._said = -QUIET
        loop.set_exception_handler(self)

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if context.get("message") != SPENT:
            loop.default_exception_handler(context)
        elif loop.time() - self._said >= QUIET:
            self._said = loop.time()
            most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
            log.error("no descriptor is left of %d, new connections wait: end idle clients or raise LimitNOFILE= (ulimit -Hn)", most)
