"""`secretstores.local.env` answers as daprd's does (recorded)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from components.secretstores.local_env import Fields, Store
from edge.component import Context
from edge.tasks import Tasks


@pytest.fixture(autouse=True)
def _variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"PEAR_ONE": "conference", "PEAR_NONE": "", "PEAR_": "x", "DAPR_API_TOKEN": "t", "APP_API_TOKEN": "u"}.items():
        monkeypatch.setenv(name, value)


def store(prefix: str = "") -> Store:
    return Store(Fields(prefix=prefix), Context("s", ("a",), "default", Path(), Tasks("t"), None))  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "value"), [("ONE", "conference"), ("NONE", ""), ("TWO", "")])
def test_a_secret_is_a_variable_with_the_prefix(name: str, value: str) -> None:
    assert asyncio.run(store("PEAR_").get(name, {})) == {name: value}


@pytest.mark.parametrize("name", ["DAPR_API_TOKEN", "APP_API_TOKEN", "app_api_token"])
def test_tokens_are_hidden(name: str) -> None:
    assert asyncio.run(store().get(name, {})) == {name: ""}
    assert name not in asyncio.run(store().get_all({}))


def test_the_prefix_does_not_reveal_tokens() -> None:
    assert asyncio.run(store("DAPR_").get("API_TOKEN", {})) == {"API_TOKEN": ""}


def test_all_secrets_are_those_with_the_prefix() -> None:
    assert asyncio.run(store("PEAR_").get_all({})) == {"ONE": {"ONE": "conference"}, "NONE": {"NONE": ""}}
