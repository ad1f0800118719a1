"""The state suite over the components of the catalogue."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest

from edge.errors import EtagInvalid
from edge.registry import known
from tests.conformance.state import SCENARIOS, Candidate, Suite
from tests.harness_components import opened
from tests.harness_servers import Postgres, Redis

UUID = "5f0c9a3e-3c1b-4a5e-9d8f-000000000000"
Ask = Callable[[str], object]


def in_memory(ask: Ask, folder: Path, prefix: str) -> Candidate:
    return Candidate("state.in-memory", partial(opened, "state.in-memory", folder), prefix, lasting=False)


def sqlite(ask: Ask, folder: Path, prefix: str) -> Candidate:
    return Candidate("state.sqlite", partial(opened, "state.sqlite", folder, {"connectionString": str(folder / "s.db")}), prefix)


def redis(ask: Ask, folder: Path, prefix: str) -> Candidate:
    server = ask("redis")
    assert isinstance(server, Redis)
    one = partial(opened, "state.redis", folder, {"redisHost": server.host, "redisPassword": ""})
    return Candidate("state.redis", one, prefix, EtagInvalid, expiry_shown=False, delete_checks_missing=False)


def postgresql(ask: Ask, folder: Path, prefix: str) -> Candidate:
    server = ask("postgres")
    assert isinstance(server, Postgres)
    one = partial(opened, "state.postgresql", folder, {"connectionString": server.words})
    return Candidate("state.postgresql", one, prefix, EtagInvalid)


def postgresql_v2(ask: Ask, folder: Path, prefix: str) -> Candidate:
    server = ask("postgres")
    assert isinstance(server, Postgres)
    one = partial(opened, "state.postgresql", folder, {"connectionString": server.url, "tablePrefix": "v2_"}, version="v2")
    return Candidate("state.postgresql/v2", one, prefix, wrong_etag=UUID)


CANDIDATES = {
    "state.in-memory/v1": in_memory,
    "state.sqlite/v1": sqlite,
    "state.redis/v1": redis,
    "state.postgresql/v1": postgresql,
    "state.postgresql/v2": postgresql_v2,
}


def test_every_state_store_of_the_catalogue_is_here() -> None:
    assert sorted(CANDIDATES) == sorted(name for name in known() if name.startswith("state."))


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("component", CANDIDATES)
def test_state(component: str, scenario: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    one = CANDIDATES[component](request.getfixturevalue, tmp_path, uuid4().hex[:8])
    asyncio.run(getattr(Suite(), scenario)(one))
