"""Metadata texts become typed values by Dapr's decoding rules, and every mistake is said at once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.kinds import PubSubFields
from edge.record import record
from edge.spec import Duration, Size, meta, parse


@record
class Fields:
    url: str = meta(doc="Broker.", aliases=("server", "host"), missing="missing url")
    qos: int = meta(1, doc="Delivery guarantee.", choices=(0, 1, 2))
    clean: bool = meta(False, doc="Clean session.", name="cleanSession")
    keep_alive: Duration = meta(Duration(60), doc="Longest silence.")
    wait: Duration = meta(Duration(1), doc="Redis style.", bare=0.001)
    limit: Size = meta(Size(1024), doc="Bytes.")
    topics: tuple[str, ...] = meta((), doc="Topics.")
    factor: float = meta(1.5, doc="Factor.", least=1, most=3)
    password: str | None = meta(None, doc="Password.", sensitive=True)
    port: int | None = meta(None, doc="Port.", sensitive=True)


def one(**raw: str) -> Fields:
    found, problems = parse(Fields, {"url": "x", **raw})
    assert found is not None and not problems, problems
    return found


def test_defaults_fill_what_is_not_written() -> None:
    assert one() == Fields(url="x")


def test_names_match_in_any_case() -> None:
    assert one(KEEPALIVE="90s", cleansession="ON").keep_alive == 90
    assert one(CLEANSESSION="y").clean


def test_the_canonical_name_wins_over_an_alias_and_aliases_go_in_order() -> None:
    assert parse(Fields, {"url": "a", "server": "b"})[0] == Fields(url="a")
    assert parse(Fields, {"host": "c", "Server": "b"})[0] == Fields(url="b")


@pytest.mark.parametrize("text", ["y", "Yes", "TRUE", "t", "on", "1", " true "])
def test_truthy_words_are_true(text: str) -> None:
    assert one(cleanSession=text).clean


def test_any_other_word_is_false_with_a_warning() -> None:
    found, (problem,) = parse(Fields, {"url": "x", "cleanSession": "maybe"})

    assert found is not None and not found.clean
    assert not problem.fatal and 'cleanSession: "maybe" is neither true nor false' in problem.message


@pytest.mark.parametrize(("text", "seconds"), [("1m30s", 90), ("15", 15), ("", 0), ("500ms", 0.5), ("-1s", -1)])
def test_durations_are_go_durations_or_seconds(text: str, seconds: float) -> None:
    assert one(keepAlive=text).keep_alive == seconds


def test_a_bare_integer_has_the_unit_that_the_field_says() -> None:
    assert one(wait="250").wait == 0.25
    assert one(wait="2s").wait == 2


@pytest.mark.parametrize(("text", "value"), [("2", 2), ("0x1", 1), ("", 0), ("+1", 1), ("01", 1)])
def test_integers_are_read_as_go_reads_them(text: str, value: int) -> None:
    assert one(qos=text).qos == value


def test_sizes_are_quantities_and_lists_are_comma_separated() -> None:
    assert one(limit="4Mi").limit == 4 << 20
    assert one(topics="a, b,c").topics == ("a", "b", "c")


def test_all_problems_are_said_at_once() -> None:
    found, problems = parse(Fields, {"qos": "7", "keepAlive": "soon", "factor": "9", "limit": "much"})

    assert found is None
    assert [problem.message for problem in problems] == [
        "missing url",
        'qos: "7" is not allowed; it is one of 0, 1, 2',
        'keepAlive: "soon" is no duration such as 1m30s',
        'limit: "much" is no size such as 4Mi',
        'factor: "9" is out of range; it is at least 1 and at most 3',
    ]


def test_an_unknown_field_names_the_nearest_and_is_ignored() -> None:
    found, (problem,) = parse(Fields, {"url": "x", "keepalife": "1s"})

    assert found == Fields(url="x")
    assert problem.message == "unknown field keepalife, did you mean keepAlive?; it is ignored"
    assert not problem.fatal


def test_the_fields_of_the_kind_are_known() -> None:
    assert parse(Fields, {"url": "x", "publishingScopes": "a=b"}, PubSubFields)[1] == []


def test_the_same_field_in_two_cases_is_refused() -> None:
    assert parse(Fields, {"url": "x", "qos": "1", "QOS": "2"})[1][0].message == "key qos is duplicate in the metadata"


def test_an_empty_required_field_is_missing() -> None:
    assert parse(Fields, {"url": ""})[1][0].message == "missing url"


def test_a_sensitive_value_is_in_no_message_and_no_repr() -> None:
    _, problems = parse(Fields, {"url": "x", "port": "hunter2"})

    assert "hunter2" not in str(problems)
    assert "hunter2" not in repr(one(password="hunter2"))


@given(st.dictionaries(st.sampled_from(["url", "qos", "cleanSession", "keepAlive", "limit", "factor", "x"]), st.text()))
def test_any_text_gives_a_value_or_a_problem(raw: dict[str, str]) -> None:
    found, problems = parse(Fields, raw)

    assert (found is None) == any(problem.fatal for problem in problems)
