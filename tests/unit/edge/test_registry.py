"""A type in YAML finds its class, or the nearest one that exists."""

from __future__ import annotations

import sys

import pytest

from edge import registry
from edge.registry import UnknownComponent
from edge.spec import specs


def test_a_type_is_found_in_any_case_with_any_initial_version() -> None:
    assert {
        registry.resolve(name, version) for name, version in (("state.sqlite", ""), ("State.SQLite", "v0"), ("state.sqlite", "V1"))
    } == {"state.sqlite/v1"}


def test_an_alias_is_the_type() -> None:
    assert registry.load("state.sqlite3") is registry.load("state.sqlite")


def test_an_unknown_type_has_daprs_text_and_the_nearest_name() -> None:
    with pytest.raises(UnknownComponent, match=r"^couldn't find state store state\.sqlit/v1$") as caught:
        registry.load("state.sqlit")

    assert caught.value.hint == ", did you mean state.sqlite?"


def test_a_type_that_is_near_nothing_lists_the_kind() -> None:
    with pytest.raises(UnknownComponent) as caught:
        registry.load("secretstores.zzzzzz")

    assert "secretstores.local.env, secretstores.local.file" in caught.value.hint


def test_an_unknown_version_says_which_there_are() -> None:
    with pytest.raises(UnknownComponent, match=r"state\.in-memory/v9") as caught:
        registry.load("state.in-memory", "v9")

    assert caught.value.hint == ", it has v1"


def test_an_unknown_kind_is_an_incorrect_type() -> None:
    with pytest.raises(UnknownComponent, match=r"^incorrect type soup\.tomato$") as caught:
        registry.load("soup.tomato")

    assert "state, pubsub, bindings" in caught.value.hint


@pytest.mark.parametrize("name", sorted(registry.known()))
def test_every_type_of_the_catalogue_declares_its_fields(name: str) -> None:
    type_, _, version = name.rpartition("/")
    found = registry.load(type_, version)

    assert all(spec.meta.doc.endswith(".") for spec in specs(found.Metadata)), "a field's doc is a sentence"
    assert found.__doc__ and sys.modules[found.__module__].__doc__


def test_an_alias_hides_no_type() -> None:
    from components.catalog import ALIASES, CATALOG

    assert not set(ALIASES) & {name.rpartition("/")[0] for name in CATALOG}
