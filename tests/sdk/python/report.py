"""What every program shares: a JSON line per step, the ports of the run, and waiting for what the app is to see."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from typing import Any

APP_PORT = int(os.environ["APP_PORT"])


def say(step: str, saw: Any = None) -> None:
    print(json.dumps({"step": step, "saw": saw}), flush=True)


async def until(condition: Callable[[], object], timeout: float = 30.0) -> None:
    async with asyncio.timeout(timeout):
        while not condition():
            await asyncio.sleep(0.005)
