"""URLs as Go's client reads them."""

from __future__ import annotations

import pytest

from edge.gourl import referer


@pytest.mark.parametrize(
    ("last", "following", "told"),
    [
        ("http://a/x?y=1", "http://b/", "http://a/x?y=1"),
        ("http://ann:s@same@a/x", "http://a/", "http://a/x"),
        ("http://a/x@y", "https://a/", "http://a/x@y"),
        ("https://a/x", "https://b/", "https://a/x"),
        ("https://a/x", "http://b/", None),
    ],
)
def test_a_redirect_tells_where_it_came_from_without_secrets(last: str, following: str, told: str | None) -> None:
    assert referer(last, following) == told
