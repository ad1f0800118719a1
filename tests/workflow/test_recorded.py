"""The traces of tests/data/workflow, recorded between daprd and the Python, JavaScript and Go SDKs, played against a real sidecar."""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import sidecar
from tests.workflow.trace import DATA, Hub, Trace

NAMES = sorted(path.stem for path in DATA.glob("*.jsonl"))
APP_ID = re.compile(r'"sourceAppID": "(\w+)"')


def app_of(name: str) -> str:
    """The app that was recorded."""
    found = APP_ID.search((DATA / f"{name}.jsonl").read_text())
    return found[1] if found else "orders"


async def play(app_id: str, names: list[str], folder: Path) -> dict[str, str]:
    """The failure of each trace that differs; all traces of an app run side by side."""
    with sidecar(folder, app_id=app_id) as edged:
        hub = Hub(edged)
        await hub.open()
        results = await asyncio.gather(*(Trace(name, hub).play() for name in names), return_exceptions=True)
        await hub.close()
    return {name: repr(result) for name, result in zip(names, results, strict=True) if result is not None}


@pytest.fixture(scope="module")
def failures(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    async def all_groups() -> dict[str, str]:
        folder = tmp_path_factory.mktemp("traces")
        apps: dict[str, list[str]] = defaultdict(list)
        for name in NAMES:
            apps[app_of(name)].append(name)
        found = await asyncio.gather(*(play(app, names, folder / app) for app, names in apps.items()))
        return {name: text for one in found for name, text in one.items()}

    yield asyncio.run(all_groups())


@pytest.mark.parametrize("name", NAMES)
def test_sidecar_answers_the_sdk_as_daprd_did(name: str, failures: dict[str, str]) -> None:
    if name in failures:
        pytest.fail(failures[name], pytrace=False)
