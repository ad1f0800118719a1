"""How answers of an HTTP app that hosts actors are read."""

from __future__ import annotations

import asyncio

import pytest

from edge.actor import ActorCall, ActorFailed, ActorTick
from edge.app import App
from edge.channel.actor_http import HttpActors
from edge.channel.http import HttpChannel
from tests.apps import Answer, ScriptedApp


def call(method: str, answer: Answer) -> list[str]:
    """Call a method; the targets that the app got."""

    async def run() -> list[str]:
        async with ScriptedApp(default=answer) as server:
            channel = HttpChannel(App("apiary", port=server.port))
            try:
                await HttpActors(channel).invoke(ActorCall("Hive", "q1", method))
                return [seen.target for seen in server.seen]
            finally:
                await channel.close()

    return asyncio.run(run())


def test_a_method_answered_with_the_cancel_header_fails() -> None:
    with pytest.raises(ActorFailed, match="reminder has been canceled"):
        call("m", Answer(200, headers=[("X-DaprReminderCancel", "true")]))

    assert call("m", Answer(200, headers=[("X-DaprReminderCancel", "no")]))


def test_a_method_with_a_leading_slash_is_one_path() -> None:
    assert call("/m/n", Answer(200)) == ["/actors/Hive/q1/method/m/n"]


def test_a_tick_answered_with_the_error_header_has_failed() -> None:
    async def run() -> None:
        async with ScriptedApp(default=Answer(200, headers=[("X-DaprErrorResponseHeader", "true")])) as server:
            channel = HttpChannel(App("apiary", port=server.port))
            try:
                await HttpActors(channel).remind(ActorTick("Hive", "q1", "dusk"))
            finally:
                await channel.close()

    with pytest.raises(ActorFailed):
        asyncio.run(run())
