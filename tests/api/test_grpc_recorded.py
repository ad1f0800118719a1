"""The exchanges of tests/data/grpc.jsonl with a real sidecar: what is the same as daprd, and the list of what is not, with the reasons."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.apps import Answer, ScriptedApp, Seen
from tests.grpc_client import Client
from tests.grpc_replay import STREAM_TIME, Play, Row, rows
from tests.harness import Sidecar, sidecar
from tests.harness_servers import needs_redis, redis_server
from tests.recorded import DATA

SETUPS: dict[str, dict[str, str]] = json.loads((DATA / "setups.json").read_text())
OUR_OWN = "edged serves health checks and reflection itself; daprd proxies them and fails"
ALONE = "actors, jobs and workflows need no placement and no scheduler service here"
NO_WORKER = ("missing-", "no-id-", "start-no-name", "start-bad-id", "start-long-id", "raise-no-name")  # tests/workflow plays the others
DIFFERENT = {
    "proxy/health-service": OUR_OWN,
    "proxy/reflection-service": OUR_OWN,
    "metadata/get": "no scheduler service",
    "metadata/get-after": "no scheduler service",
}
ALONE_ROWS = (
    "InvokeActor", "GetActorState", "RegisterActorReminder", "ListActorReminders", "ScheduleJob", "GetJob", "DeleteJob", "ListJobs",
    "StartWorkflowBeta1", "GetWorkflowBeta1",
)  # fmt: skip


def granary(seen: Seen) -> Answer:
    """The app of the setup granary."""
    path, server = seen.target.partition("?")[0], ("Server", "BaseHTTP/0.6 Python/3.11.7")

    def answer(status: int, value: Any, kind: str = "application/json", *headers: tuple[str, str], after: float = 0.0) -> Answer:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        return Answer(status, body, (server, ("Date", "Wed, 25 Nov 2026 10:00:00 GMT"), ("Content-Type", kind), *headers), after)

    if path == "/dapr/config":
        return answer(200, {"entities": ["Sack"]})
    if path == "/dapr/subscribe":
        return answer(200, [{"pubsubname": "bus", "topic": "oats", "route": "/in/oats"}])
    if path.startswith("/actors/"):
        method = path.rpartition("/")[2]
        if method == "Fail":
            return answer(500, b"sack torn", "text/plain")
        return answer(200, {"m": method, "len": len(seen.body)}, after=2.0 if method == "Slow" else 0.0)
    if path.startswith("/mirror"):
        value = {"method": seen.method, "path": seen.target, "len": len(seen.body), "x-mine": seen.header("x-mine")}
        return answer(200, value, "application/json", ("X-From-App", "rye"), ("X-Two", "a"), ("X-Two", "b"))
    if path.startswith("/say/"):
        return answer(int(path[5:]), f"said {path[5:]}".encode(), "text/plain")
    if path == "/slow":
        return answer(200, {}, after=1.5)
    if path.startswith(("/job/", "/in/", "/h")):
        return answer(200, b"")
    return Answer(404, b"", (server, ("Date", "Wed, 25 Nov 2026 10:00:00 GMT")))


def resources(setup: str, known: dict[str, str]) -> dict[str, str]:
    """The setup's documents, a file each."""
    text = SETUPS[setup]["resources"].replace("value: bin.db", f"value: {known['<dir>']}/bin.db")
    for name, value in known.items():
        text = text.replace(name, value)
    parts = [part for part in text.split("\n---\n") if part.strip()]
    return {f"{number}.yaml": part for number, part in enumerate(parts)}


async def played(
    folder: Path, setup: str, rows: list[Row], known: dict[str, str], during: dict[str, Callable[[], None]] | None = None, **settings: Any
) -> list[str]:
    """All rows in order; what differs. Rows that wait (for actors that nobody hosts) go on beside the others."""
    async with ScriptedApp(default=granary) as app:
        known = {"<dir>": str(folder), "<app-port>": str(app.port), **known}
        port = app.port if settings.pop("app", True) else 0
        config = SETUPS[setup]["config"].replace("<dir>", str(folder))
        with _started(
            folder, app_id=SETUPS[setup]["app_id"], app_port=port, resources=resources(setup, known), config=config, **settings
        ) as edged:
            await asyncio.to_thread(edged.wait)
            with Client(edged.grpc_port) as client:
                play = Play(client, known, during or {})
                play.during = {name: (lambda work=work: work(edged)) for name, work in (during or {}).items()}  # type: ignore[misc]
                slow = [row for row in rows if row.get("seconds", 0) > STREAM_TIME]
                waiting = asyncio.gather(*(asyncio.to_thread(play.play, row) for row in slow))
                found = [text for row in rows if row not in slow for text in await asyncio.to_thread(play.play, row)]
                return found + [text for each in await waiting for text in each]


@contextmanager
def _started(folder: Path, **settings: Any) -> Iterator[Sidecar]:
    with sidecar(folder, **settings) as one:
        yield one


def differences(found: list[str]) -> dict[str, list[str]]:
    by_row: dict[str, list[str]] = {}
    for text in found:
        by_row.setdefault(text.partition(" ")[0], []).append(text)
    return by_row


@needs_redis
def test_everything_configured(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text('{"latch":"brass","deep":{"er":"z"},"veiled":"no"}')
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "sym").write_bytes(bytes(range(32, 64)))
    (tmp_path / "files").mkdir()
    wanted = [row for row in rows("granary") if row["group"] not in ("workflow", "shutdown") or row["name"].startswith(NO_WORKER)]
    with redis_server(tmp_path / "redis") as redis:
        asyncio.run(redis.command("MSET", "sieve", "fine||8", "mesh", "wide", db=0))
        known = {"<redis-port>": str(redis.port), "<dir-of-keys>": str(tmp_path / "keys"), "<dir-of-files>": str(tmp_path / "files")}
        during = {
            "initial-then-one-message": lambda edged: edged.call("POST", "/v1.0/publish/bus/chaff", {"i": 1}),
            "subscribe": lambda edged: asyncio.run(redis.command("SET", "sieve", "coarse||9", db=0)),
        }
        found = differences(asyncio.run(played(tmp_path, "granary", wanted, known, during)))

    unexpected = [text for name, texts in found.items() if name not in DIFFERENT for text in texts]
    assert not unexpected, "\n".join(unexpected)
    assert set(found) == set(DIFFERENT), "these are as recorded now"


def plain(folder: Path, setup: str, *, app: bool = False, **settings: Any) -> dict[str, list[str]]:
    return differences(asyncio.run(played(folder, setup, list(rows(setup)), {}, app=app, **settings)))


def test_nothing_configured(tmp_path: Path) -> None:
    found = plain(tmp_path, "bare-grpc")

    expected = {f"nothing-configured/{name}" for name in ALONE_ROWS}
    assert set(found) == expected, f"{ALONE}: {[found.get(name, name) for name in set(found) ^ expected]}"


def test_api_token(tmp_path: Path) -> None:
    found = plain(tmp_path, "guarded-grpc", env={"DAPR_API_TOKEN": "open-sesame"})

    assert not found


@pytest.mark.parametrize("setup", ["allowing", "denying"])
def test_api_lists(tmp_path: Path, setup: str) -> None:
    assert not plain(tmp_path, setup, app=True)


def test_small_limits(tmp_path: Path) -> None:
    assert not plain(tmp_path, "narrow", app=True, flags=["--max-body-size", "1Ki", "--read-buffer-size", "2Ki"])


@pytest.mark.parametrize("setup", ["leaving-grpc", "leaving-worker"])
def test_shutdown_ends_the_process_though_clients_stay(tmp_path: Path, setup: str) -> None:
    with (
        sidecar(tmp_path, app_id="leaving", resources=resources(setup, {"<dir>": str(tmp_path)})) as edged,
        Client(edged.grpc_port) as client,
    ):
        assert client.call("GetMetadata").code == "OK"
        stream = client.stream("SubscribeTopicEventsAlpha1")
        if setup == "leaving-worker":
            stream.send({"initialRequest": {"pubsubName": "bus", "topic": "t"}})
            stream.next()
        (row,) = rows(setup)

        assert not Play(client).play(row)

        assert edged.process is not None
        assert edged.process.wait(10) == 0
        stream.cancel()
