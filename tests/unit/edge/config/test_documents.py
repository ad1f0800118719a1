"""YAML is read by Go's rules, with file and line; a bad document does not hurt its neighbours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edge.config.documents import Map, Unreadable, get, parse, read_directory, read_text, text_of

HERE = Path("r/a.yaml")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", True),
        ("y", True),
        ('"y"', "y"),
        ("Off", False),
        ("~", None),
        ("", None),
        ("12:30", "12:30"),
        ("010", 8),
        ("0o10", 8),
        ("0x1F", 31),
        ("1_000", 1000),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("2024-01-01", "2024-01-01"),
        ("1.2.3", "1.2.3"),
        ("'1'", "1"),
        ("!!str 1", "1"),
    ],
)
def test_plain_scalars_have_the_type_that_go_gives_them(text: str, value: Any) -> None:
    assert parse(f"a: {text}\n")["a"] == value


@pytest.mark.parametrize(
    ("value", "text"),
    [(True, "true"), (None, ""), (1.0, "1"), (1.5, "1.5"), (10, "10"), (["a", 1.0], '["a",1]'), ({"b": None, "a": 2}, '{"a":2,"b":null}')],
)
def test_any_value_fits_a_text(value: Any, text: str) -> None:
    assert text_of(value) == text


def test_a_document_knows_its_lines() -> None:
    (document,), problems = read_text("kind: A\nmetadata:\n  name: x\nspec:\n\n  type: t\n", HERE)

    assert not problems
    assert document.where() == "r/a.yaml:1"
    assert document.body["spec"].lines == {"type": 6}


def test_documents_after_separators_keep_their_lines() -> None:
    documents, _ = read_text("---\nkind: A\n--- # next\nkind: B\n---\n\nkind: C\n", HERE)

    assert [(document.kind, document.line) for document in documents] == [("A", 2), ("B", 4), ("C", 7)]


def test_a_broken_document_is_a_problem_and_its_neighbours_stand() -> None:
    documents, (problem,) = read_text("kind: A\n---\nkind: [\nx: 1\n---\nkind: C\n", HERE)

    assert [document.kind for document in documents] == ["A", "C"]
    assert problem.where == "r/a.yaml:4" and problem.lost and not problem.fatal
    assert "no YAML: did not find expected ',' or ']'" in problem.message


@pytest.mark.parametrize("text", ["a: b: c", "\tx: 1", "a: 'b", "- x\ny: 1", "{a: }}", "a: &x [*x]", "a: *b", "? [1]\n: 2", "\x00"])
def test_what_is_no_yaml_is_unreadable(text: str) -> None:
    try:
        parse(text)
    except Unreadable as error:
        assert error.line >= 1


def test_anchors_and_merge_keys_are_followed() -> None:
    found = parse("a: &x {d: 1, e: 2}\nb:\n  <<: *x\n  e: 3\n")

    assert found["b"] == {"d": 1, "e": 3}


def test_a_pile_of_aliases_does_not_grow() -> None:
    levels = ["a0: &a0 [1,1,1,1,1,1,1,1,1,1]"] + [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]

    assert len(parse("\n".join(levels))["a29"]) == 10


def test_keys_match_in_any_case() -> None:
    found: Map = parse("initTIMEOUT: 5s")

    assert get(found, "initTimeout") == "5s"
    assert get(found, "other") is None


def test_only_yaml_files_at_the_top_are_read(tmp_path: Path) -> None:
    (tmp_path / "b.yml").write_text("kind: B")
    (tmp_path / "a.YAML").write_text("kind: A")
    (tmp_path / "note.txt").write_text("kind: X")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/c.yaml").write_text("kind: C")

    documents, (problem,) = read_directory(tmp_path)

    assert [document.kind for document in documents] == ["A", "B"]
    assert "note.txt" in problem.message and not problem.lost


def test_a_file_that_is_no_text_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"\xff\xfe\x00")

    _, (problem,) = read_directory(tmp_path)

    assert problem.lost and "no UTF-8" in problem.message
