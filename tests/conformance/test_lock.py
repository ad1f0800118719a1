"""The lock suite over the components of the catalogue."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest

from edge.registry import known
from tests.conformance.lock import SCENARIOS, Candidate, Suite
from tests.harness_components import opened
from tests.harness_servers import Redis

Ask = Callable[[str], object]


def sqlite(ask: Ask, folder: Path, prefix: str) -> Candidate:
    return Candidate("lock.sqlite", partial(opened, "lock.sqlite", folder, {"connectionString": str(folder / "l.db")}), prefix)


def redis(ask: Ask, folder: Path, prefix: str) -> Candidate:
    server = ask("redis")
    assert isinstance(server, Redis)
    return Candidate("lock.redis", partial(opened, "lock.redis", folder, {"redisHost": server.host}), prefix)


CANDIDATES = {"lock.redis/v1": redis, "lock.sqlite/v1": sqlite}


def test_every_lock_store_of_the_catalogue_is_here() -> None:
    assert sorted(CANDIDATES) == sorted(name for name in known() if name.startswith("lock."))


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("component", CANDIDATES)
def test_lock(component: str, scenario: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    one = CANDIDATES[component](request.getfixturevalue, tmp_path, uuid4().hex[:8])
    asyncio.run(getattr(Suite(), scenario)(one))
