"""Middleware that changes, counts or refuses requests."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.errors import ComponentError
from edge.http1.messages import Headers, Request, Response
from tests.harness_components import opened


async def passed(middleware: object, request: Request) -> tuple[Request | None, Response]:
    """What went on, and the answer."""
    seen: list[Request] = []

    async def next_(given: Request) -> Response:
        seen.append(given)
        return Response(204)

    reply = await middleware.handle(request, next_)  # type: ignore[attr-defined]
    return (seen[0] if seen else None), reply


ROUTES = '{"/short": "/v1.0/invoke/a/method/long way", "/f/{kind}/{n:[0-9]+}": "/v1.0/invoke/a/method/f"}'


@pytest.mark.parametrize(
    ("target", "wanted"),
    [
        ("/short", "/v1.0/invoke/a/method/long%20way"),
        ("/short?x=1&y=%20", "/v1.0/invoke/a/method/long%20way?x=1&y=%20"),
        ("/f/a%20b/12?z=1&a=+2", "/v1.0/invoke/a/method/f?a=+2&kind=a+b&n=12&z=1"),
        ("/f/a/b", "/f/a/b"),
        ("/short/", "/short/"),
        ("/v1.0/short", "/v1.0/short"),
    ],
)
async def test_an_alias_stands_for_its_path(target: str, wanted: str, tmp_path: Path) -> None:
    async with opened("middleware.http.routeralias", tmp_path, {"routes": ROUTES}) as middleware:
        request, _ = await passed(middleware, Request("GET", target))

    assert request is not None and request.target == wanted


@pytest.mark.parametrize("routes", ["[1, 2]", "{a: [", '{"/{x:(}": "/y"}'])
async def test_routes_that_are_no_map_do_not_start(routes: str, tmp_path: Path) -> None:
    with pytest.raises(ComponentError, match="routes"):
        async with opened("middleware.http.routeralias", tmp_path, {"routes": routes}):
            pass


async def test_a_target_without_a_rule_that_matches_is_refused(tmp_path: Path) -> None:
    async with opened("middleware.http.routerchecker", tmp_path, {"rule": "^/v1.0/(state|publish)/"}) as middleware:
        request, _ = await passed(middleware, Request("GET", "/v1.0/state/s/k?x=1"))
        refused, reply = await passed(middleware, Request("GET", "/v1.0/metadata"))

    assert request is not None and refused is None
    assert (reply.status, reply.body) == (400, b"invalid router")


async def test_a_body_in_capitals_has_its_new_length(tmp_path: Path) -> None:
    async with opened("middleware.http.uppercase", tmp_path) as middleware:
        headers = Headers([("content-length", "3"), ("x", "y")])
        request, _ = await passed(middleware, Request("POST", "/x", headers, "aß\udcff".encode("utf-8", "surrogateescape")))

    assert request is not None and request.data == b"ASS\xff"
    assert list(request.headers) == [("content-length", "4"), ("x", "y")]


async def test_more_than_the_rate_is_refused_for_each_address_and_path(tmp_path: Path) -> None:
    async with opened("middleware.http.ratelimit", tmp_path, {"maxRequestsPerSecond": "2"}) as middleware:
        calls = [("10.0.0.1", "/a")] * 3 + [("10.0.0.1", "/b"), ("10.0.0.2", "/a")]
        replies = [(await passed(middleware, Request("GET", path, peer=(host, 5))))[1] for host, path in calls]

    assert [reply.status for reply in replies] == [204, 204, 429, 204, 204]
    assert replies[2].body == b"You have reached maximum request limit."
    fields = dict(replies[2].headers)
    assert (fields["ratelimit-limit"], fields["ratelimit-remaining"], fields["x-rate-limit-limit"]) == ("2", "0", "2.00")
    assert fields["x-rate-limit-request-remote-addr"] == "10.0.0.1:5"


async def test_half_a_request_a_second_is_told_as_one(tmp_path: Path) -> None:
    async with opened("middleware.http.ratelimit", tmp_path, {"maxRequestsPerSecond": "0.5"}) as middleware:
        calls = [(await passed(middleware, Request("GET", "/a", peer=("10.0.0.1", 5))))[1] for _ in range(2)]

    assert [reply.status for reply in calls] == [204, 429]
    assert dict(calls[1].headers)["ratelimit-limit"] == "1"


async def test_a_rate_that_is_not_positive_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(ComponentError, match="positive"):
        async with opened("middleware.http.ratelimit", tmp_path, {"maxRequestsPerSecond": "0"}):
            pass
