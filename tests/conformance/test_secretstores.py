"""The secret store suite over the components of the catalogue."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from edge.registry import known
from tests.conformance.secretstores import SCENARIOS, Candidate, Suite
from tests.harness_components import opened


def local_file(folder: Path, monkeypatch: pytest.MonkeyPatch, texts: Mapping[str, str]) -> Any:
    (folder / "s.json").write_text(json.dumps(texts))
    return opened("secretstores.local.file", folder, {"secretsFile": str(folder / "s.json")})


def local_env(folder: Path, monkeypatch: pytest.MonkeyPatch, texts: Mapping[str, str]) -> Any:
    for name, text in texts.items():
        monkeypatch.setenv(name, text)
    return opened("secretstores.local.env", folder)


def systemd(folder: Path, monkeypatch: pytest.MonkeyPatch, texts: Mapping[str, str]) -> Any:
    credentials = folder / "credentials"
    credentials.mkdir(exist_ok=True)
    for name, text in texts.items():
        (credentials / name).write_text(text)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    return opened("secretstores.systemd", folder)


CANDIDATES = {"secretstores.local.env/v1": local_env, "secretstores.local.file/v1": local_file, "secretstores.systemd/v1": systemd}


def test_every_secret_store_of_the_catalogue_is_here() -> None:
    assert sorted(CANDIDATES) == sorted(name for name in known() if name.startswith("secretstores."))


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("component", CANDIDATES)
def test_secretstores(component: str, scenario: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = Candidate(component, partial(CANDIDATES[component], tmp_path, monkeypatch), component == "secretstores.local.env/v1")
    asyncio.run(getattr(Suite(), scenario)(one))
