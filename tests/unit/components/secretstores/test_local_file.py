"""`secretstores.local.file` answers as daprd's does (recorded)."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from components.secretstores.local_file import Fields, Store
from edge.component import Context, Feature
from edge.errors import ComponentError, NotFound
from edge.tasks import Tasks

SECRETS = {"pin": "4711", "router": {"ssid": "attic", "wpa": {"psk": "hush"}}, "ports": [80, 8080], "yes": True, "nil": None, "neg": -3.5}


def opened(tmp_path: Path, content: Any = SECRETS, **fields: Any) -> Store:
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    (tmp_path / "s.json").write_bytes(text)
    store = Store(Fields(secrets_file="s.json", **fields), Context("s", ("a",), "default", tmp_path, Tasks("t"), None, 5.0, tmp_path))  # type: ignore[arg-type]
    asyncio.run(store.open())
    return store


def get(store: Store, name: str) -> dict[str, str]:
    return asyncio.run(store.get(name, {}))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pin", "4711"),
        ("router:wpa:psk", "hush"),
        ("ports:1", "%!s(float64=8080)"),
        ("yes", "%!s(bool=true)"),
        ("nil", "%!s(<nil>)"),
        ("neg", "%!s(float64=-3.5)"),
    ],
)
def test_nested_secrets_are_flattened(tmp_path: Path, name: str, text: str) -> None:
    assert get(opened(tmp_path), name) == {name: text}


@pytest.mark.parametrize("name", ["router", "puk", "PIN"])
def test_a_missing_secret_is_not_found(tmp_path: Path, name: str) -> None:
    with pytest.raises(NotFound, match=f"^secret {name} not found$"):
        get(opened(tmp_path), name)


def test_the_separator_is_the_operators(tmp_path: Path) -> None:
    assert get(opened(tmp_path, nested_separator="/"), "router/wpa/psk") == {"router/wpa/psk": "hush"}


def test_multi_valued_keeps_objects_together_and_leaves_lists_out(tmp_path: Path) -> None:
    store = opened(tmp_path, multi_valued=True)

    assert asyncio.run(store.get_all({})) == {"pin": {"pin": "4711"}, "router": {"ssid": "attic", "wpa:psk": "hush"}}
    assert store.features == {Feature.MULTIPLE_KEY_VALUES_PER_SECRET} and not opened(tmp_path).features


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1e21, "1e+21"),
        (1e-7, "1e-07"),
        (1.5e300, "1.5e+300"),
        (12345678, "1.2345678e+07"),
        (12345678901, "1.2345678901e+10"),
        (1 << 70, "1.1805916207174113e+21"),
    ],
)
def test_numbers_are_gos(tmp_path: Path, number: float, text: str) -> None:
    assert get(opened(tmp_path, {"n": number}), "n") == {"n": f"%!s(float64={text})"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", r"s\.json is no JSON: line 1: Expecting property name"),
        (b"\xff", r"s\.json is no JSON: it is no UTF-8 text"),
        (b"[]", r"s\.json must hold one JSON object"),
    ],
)
def test_a_file_that_holds_no_secrets_is_refused_by_name(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(ComponentError, match=message):
        opened(tmp_path, content)


def test_a_missing_file_is_refused_in_daprs_words(tmp_path: Path) -> None:
    store = Store(Fields(secrets_file="absent.json"), Context("s", ("a",), "default", tmp_path, Tasks("t"), None, 5.0, tmp_path))  # type: ignore[arg-type]

    with pytest.raises(ComponentError, match=r"^open absent\.json: no such file or directory$"):
        asyncio.run(store.open())
