"""The wait for an app's port and the probes of its health."""

from __future__ import annotations

import asyncio

from edge.app import App, AppHealthCheck
from edge.channel.health import AppHealth, wait_reachable
from edge.channel.http import HttpChannel
from tests.apps import Answer, ScriptedApp


def test_wait_ends_when_the_port_opens() -> None:
    async def run() -> None:
        server = ScriptedApp()
        await server.up()
        await server.down()
        app = App("a", port=server.port)
        waiting = asyncio.create_task(wait_reachable(app, HttpChannel(app)))
        await asyncio.sleep(0.05)
        assert not waiting.done()

        await server.up()

        await asyncio.wait_for(waiting, 2)
        assert server.seen == []
        await server.down()

    asyncio.run(run())


def test_health_changes_at_the_first_success_and_at_the_threshold() -> None:
    async def run() -> list[tuple[bool, int]]:
        changes: list[tuple[bool, int]] = []
        async with ScriptedApp(answers={"/well": [Answer(500), Answer(200), Answer(500), Answer(200), Answer(500)]}) as server:
            app = App("a", port=server.port)
            channel = HttpChannel(app)

            async def changed(healthy: bool) -> None:
                assert app.healthy is healthy
                changes.append((healthy, len(server.seen)))

            probing = asyncio.create_task(AppHealth(app, channel, AppHealthCheck("/well", 0.01, 0.5, 2), changed).run())
            await server.until(lambda: len(changes) == 2)
            probing.cancel()
            await channel.close()
        return changes

    assert asyncio.run(run()) == [(True, 2), (False, 6)]
