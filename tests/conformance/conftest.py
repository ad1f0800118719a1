"""Servers of the conformance suites, one of each for all of them."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.table import Run
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


KINDS = {"brokers": "pubsub", "kafka": "pubsub"}
"""Suites by the names of files that are not named after them."""
RUN = pytest.StashKey[Run]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-conformance", metavar="FILE", help="write the table of what each component kept")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[RUN] = Run()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, None]:
    outcome = yield
    report: pytest.TestReport = outcome.get_result()
    params = getattr(getattr(item, "callspec", None), "params", {})
    if "scenario" not in params or not isinstance(item, pytest.Function):
        return
    stem = item.path.stem.removeprefix("test_")
    kind = KINDS.get(stem, stem)
    component = params.get("component") or f"{kind}.{item.originalname.removeprefix('test_').replace('_', '-')}/v1"
    if report.when == "call" or report.outcome != "passed":
        item.config.stash[RUN].add(kind, params["scenario"], component, report.outcome)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if path := session.config.getoption("--write-conformance", None):
        session.config.stash[RUN].write(Path(path))


@pytest.fixture
def forgotten() -> Iterator[None]:
    """Connections that a driver forgot to close are collected here, where nobody minds, and not in another test."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()
