"""Entries become texts: literal, environment, secret; placeholders are filled."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from components.secretstores.local_file import Fields, Store
from edge.component import Context
from edge.config.resources import Entry
from edge.config.secrets import Identity, PlaceholderError, env_allowed, fill, needs_store, resolve
from edge.tasks import Tasks

ME = Identity("shop", "prod", "pod-1")


async def _no_database() -> None:
    raise AssertionError("secret stores need no database")


async def open_store(tmp_path: Path, text: str, multi_valued: bool = False) -> Store:
    (tmp_path / "s.json").write_text(text)
    context = Context("s", ("shop",), "default", tmp_path, Tasks("t"), _no_database, working_dir=tmp_path)  # type: ignore[arg-type]
    store = Store(Fields(secrets_file="s.json", multi_valued=multi_valued), context)
    await store.open()
    return store


def texts(*entries: Entry, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    return asyncio.run(resolve("Component x", entries, None, environ or {}, ME))


def test_a_literal_value_wins_over_the_environment() -> None:
    assert texts(Entry("a", "1", env="E"), Entry("b", env="E"), environ={"E": "2"}) == {"a": "1", "b": "2"}


def test_secrets_come_from_the_store_by_name_and_key(tmp_path: Path) -> None:
    async def main() -> dict[str, str]:
        store = await open_store(tmp_path, '{"db": {"user": "ann", "db": "own"}, "pin": "47"}', multi_valued=True)
        entries = [Entry("u", secret=("db", "user")), Entry("p", secret=("pin", "pin")), Entry("d", "fallback", secret=("db", "none"))]
        return await resolve("Component x", entries, store, {}, ME)

    assert asyncio.run(main()) == {"u": "ann", "p": "47", "d": "fallback"}


def test_a_secret_that_is_not_there_leaves_the_entry_empty(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> dict[str, str]:
        return await resolve("Component x", [Entry("a", secret=("none", "none"))], await open_store(tmp_path, "{}"), {}, ME)

    assert asyncio.run(main()) == {"a": ""}
    assert caplog.messages == ["Error getting secret: secret none not found"]


@pytest.mark.parametrize(
    ("name", "allowed", "is_allowed"),
    [
        ("HOME", "", True),
        ("APP_API_TOKEN", "", False),
        ("dapr_http_port", "", False),
        ("A B", "", False),
        ("", "", False),
        ("ONE", "ONE TWO", True),
        ("two", "ONE TWO", True),
        ("WO", "ONE TWO", False),
        ("HOME", "ONE TWO", False),
    ],
)
def test_tokens_and_daprs_own_variables_are_out_of_reach(name: str, allowed: str, is_allowed: bool) -> None:
    assert env_allowed(name, allowed) is is_allowed


def test_placeholders_are_filled_each_uuid_anew() -> None:
    text = fill("x", "{appID}/{namespace}/{podName}/{uuid}/{uuid}/{other}", ME)

    match = re.fullmatch(r"shop/prod\.shop/pod-1/([0-9a-f-]{36})/([0-9a-f-]{36})/\{other\}", text)
    assert match and match[1] != match[2]


def test_a_pod_name_that_is_not_set_is_an_error() -> None:
    with pytest.raises(PlaceholderError, match=r"property x refers to {podName} but podName is not set"):
        fill("x", "{podName}", Identity("shop"))


def test_a_store_is_needed_only_for_secrets() -> None:
    assert needs_store([Entry("a", secret=("s", "s"))])
    assert not needs_store([Entry("a", "1"), Entry("b", env="E")])
