"""A stream by which a pluggable component delivers, opened again as long as somebody wants it; acknowledgements go back one by one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from edge.component import Unsubscribe
from edge.errors import Closed
from edge.rpc.client import StreamReply
from edge.rpc.status import RpcError
from edge.tasks import Tasks

log = logging.getLogger("dapr.contrib")
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0
GRACE = 5.0
Open = Callable[[], Awaitable[StreamReply]]
Handle = Callable[[bytes], Awaitable["Any | None"]]
"""One message from the component; what to send back, None = nothing."""


def pull(name: str, open_: Open, first: Any, handle: Handle, tasks: Tasks) -> Unsubscribe:
    """Read until the returned function is called. first: what is sent when a stream begins, None = nothing."""
    running: set[asyncio.Task[None]] = set()
    task = tasks.spawn(f"pluggable[{name}]", lambda: _read(name, open_, first, handle, running))

    async def stop() -> None:
        task.cancel()
        if running:
            await asyncio.wait(tuple(running), timeout=GRACE)
        for one in tuple(running):
            one.cancel()

    return stop


async def _read(name: str, open_: Open, first: Any, handle: Handle, running: set[asyncio.Task[None]]) -> None:
    pause = FIRST_PAUSE
    while True:
        try:
            stream = await open_()
            if first is not None:
                await stream.send(first.SerializeToString())
            turn = asyncio.Lock()
            while (data := await stream.receive()) is not None:
                pause = FIRST_PAUSE
                one = asyncio.create_task(_answer(name, stream, data, handle, turn), name=f"pluggable-in[{name}]")
                running.add(one)
                one.add_done_callback(running.discard)
            log.info("%s: the component ended its stream", name)
        except RpcError as error:
            log.warning("%s: the component's stream broke, it is opened again: %s", name, error.message)
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE)


async def _answer(name: str, stream: StreamReply, data: bytes, handle: Handle, turn: asyncio.Lock) -> None:
    try:
        answer = await handle(data)
    except Closed:
        return  # no word: it comes again
    if answer is None:
        return
    with contextlib.suppress(RpcError):  # the stream is gone: it comes again
        async with turn:
            await stream.send(answer.SerializeToString())
