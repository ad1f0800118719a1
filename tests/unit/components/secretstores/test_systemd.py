"""`secretstores.systemd` reads what LoadCredential= gave the service."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from components.secretstores.systemd import Fields, Store
from edge.component import Context
from edge.errors import ComponentError, NotFound
from edge.tasks import Tasks


def opened(tmp_path: Path, **fields: Any) -> Store:
    (tmp_path / "mqtt-password").write_text("hush\n")
    (tmp_path / "key.pem").write_text("one\ntwo\n\n")
    store = Store(Fields(**fields), Context("s", ("a",), "default", tmp_path, Tasks("t"), None))  # type: ignore[arg-type]
    asyncio.run(store.open())
    return store


def test_a_credential_is_a_secret_without_its_last_newline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))

    assert asyncio.run(opened(tmp_path).get_all({})) == {
        "mqtt-password": {"mqtt-password": "hush"},
        "key.pem": {"key.pem": "one\ntwo\n"},
    }


def test_the_text_may_be_kept_as_it_is(tmp_path: Path) -> None:
    store = opened(tmp_path, directory=str(tmp_path), trim_newline=False)

    assert asyncio.run(store.get("mqtt-password", {})) == {"mqtt-password": "hush\n"}


@pytest.mark.parametrize("name", ["none", "../mqtt-password", ""])
def test_a_name_is_no_path(tmp_path: Path, name: str) -> None:
    with pytest.raises(NotFound):
        asyncio.run(opened(tmp_path, directory=str(tmp_path)).get(name, {}))


def test_outside_systemd_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)

    with pytest.raises(ComponentError, match=r"add LoadCredential=NAME:PATH"):
        opened(tmp_path)


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ComponentError, match=r"nowhere: no such file or directory"):
        opened(tmp_path, directory=str(tmp_path / "nowhere"))
