"""Connection strings as libpq and Dapr's driver read them."""

from __future__ import annotations

import pytest

from components._postgresql.fields import PostgresFields, settings, words


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("host=a user=b dbname=c", {"host": "a", "user": "b", "database": "c"}),
        ("host = a  password = 'x y\\'z' port=5", {"host": "a", "password": "x y'z", "port": "5"}),
        ("password='' host=a\\ b", {"password": "", "host": "a b"}),
        ("postgres://b:p%40ss@h:5/c?sslmode=disable", dict(user="b", password="p@ss", host="h", port="5", database="c", sslmode="disable")),
        ("postgresql:///c?host=/run", {"database": "c", "host": "/run"}),
    ],
)  # fmt: skip
def test_both_forms_are_read(text: str, found: dict[str, str]) -> None:
    assert words(PostgresFields(connection_string=text)) == found


def test_the_parts_override_the_string() -> None:
    fields = PostgresFields(connection_string="host=a user=b port=1", host="c", password="d", database="e", port="2", hostaddr="127.0.0.9")

    assert words(fields) == {"host": "127.0.0.9", "user": "b", "port": "2", "password": "d", "database": "e"}


def test_unknown_words_are_server_settings() -> None:
    found = settings(
        {"host": "a", "port": "1,2", "sslmode": "disable", "connect_timeout": "3", "application_name": "edged", "pool_max_conns": "9"}
    )

    assert found == {"host": "a", "port": 1, "server_settings": {"application_name": "edged"}}
