"""Servers of the conformance suites, one of each for all of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.harness_servers import INITDB, REDIS, Postgres, Redis, postgresql_server, redis_server


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    if REDIS is None:
        pytest.skip("redis-server is not installed (Debian: redis-server)")
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    if INITDB is None:
        pytest.skip("PostgreSQL is not installed (Debian: postgresql)")
    with postgresql_server(tmp_path_factory.mktemp("postgres")) as server:
        yield server
