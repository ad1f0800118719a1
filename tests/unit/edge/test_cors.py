"""CORS where the recordings have no row: what a preflight's answer repeats, and a list with a star in it (answers of go-chi/cors)."""

from __future__ import annotations

import pytest

from edge.api.http.cors import Cors
from edge.http1.messages import Headers


def preflight(cors: Cors, names: str) -> dict[str, str]:
    asked = [("origin", "http://a"), ("access-control-request-method", "GET"), ("access-control-request-headers", names)]
    answer = cors.preflight(Headers(asked))
    assert answer is not None
    return dict(answer.headers)


@pytest.mark.parametrize(
    ("names", "allowed"),
    [("x-a,CONTENT-type", "X-A, Content-Type"), ("x a", "X, A"), ("x_b.c-1d,,", "X_b.c-1d"), ("x-é", "X-"), ("*", None), (" , ", None)],
)
def test_asked_names_are_repeated_as_names(names: str, allowed: str | None) -> None:
    assert preflight(Cors("http://a"), names).get("access-control-allow-headers") == allowed


def test_a_star_in_a_list_permits_all() -> None:
    assert preflight(Cors("http://shop.example,*"), "")["access-control-allow-origin"] == "*"
