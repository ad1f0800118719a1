"""Logging in by the authorization code flow, the token endpoint being a real server; answers as daprd 1.18.3 gave them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from components.middleware import http_oauth2
from edge.http1.messages import Headers, Request, Response
from tests.apps import Answer, ScriptedApp
from tests.harness_components import opened

CALL = "/v1.0/invoke/a/method/x?y=1"
ISSUED = {"access_token": "abc", "token_type": "bearer", "expires_in": 3600}


class Caller:
    """A browser with one cookie. passed: the requests that went on."""

    def __init__(self, middleware: Any, cookie: str = "") -> None:
        self.middleware, self.cookie = middleware, cookie
        self.passed: list[Request] = []

    async def get(self, target: str) -> Response:
        async def next_(request: Request) -> Response:
            self.passed.append(request)
            return Response(204)

        headers = [("host", "edge.example"), *([("cookie", f"other=1; {self.cookie}")] if self.cookie else ())]
        answer: Response = await self.middleware.handle(Request("GET", target, Headers(headers)), next_)
        self.cookie = dict(answer.headers).get("Set-Cookie", self.cookie).split(";")[0]
        return answer

    async def sent_off(self, target: str = CALL) -> dict[str, str]:
        """The query with which the login page is asked."""
        return dict(parse_qsl(urlsplit(location(await self.get(target))).query))

    async def back(self, **query: str) -> tuple[int, bytes]:
        answer = await self.get("/back?" + "&".join(f"{name}={value}" for name, value in query.items()))
        assert isinstance(answer.body, bytes)
        return answer.status, answer.body


def location(answer: Response) -> str:
    assert answer.status == 302
    return dict(answer.headers)["Location"]


@asynccontextmanager
async def login(folder: Path, issued: Answer | None = None, **more: str) -> AsyncIterator[tuple[Caller, ScriptedApp]]:
    async with ScriptedApp({"/token": issued or Answer.json(ISSUED)}) as server:
        fields = {
            "clientId": "me",
            "clientSecret": "s3",
            "scopes": "a,b",
            "authURL": "https://id.example/auth?x=1",
            "redirectURL": "http://e/back",
        }
        fields |= {"tokenURL": f"{server.url}/token", "authHeaderName": "Authorization", **more}
        async with opened("middleware.http.oauth2", folder, fields) as middleware:
            yield Caller(middleware), server


async def test_a_caller_logs_in_and_goes_back_with_a_token(tmp_path: Path) -> None:
    async with login(tmp_path) as (caller, server):
        first = await caller.get(CALL)
        query = dict(parse_qsl(urlsplit(location(first)).query))
        returned = await caller.get(f"/back?state={query['state']}&code=7")
        again = await caller.get(CALL)

    assert location(first).startswith("https://id.example/auth?x=1&access_type=offline&client_id=me&redirect_uri=http%3A%2F%2Fe%2Fback&")
    assert query["scope"] == "a b" and query["response_type"] == "code"
    cookie = dict(first.headers)["Set-Cookie"]
    assert cookie.startswith("gosessionsid=") and "; HttpOnly" in cookie and "; SameSite=Lax" in cookie
    assert location(returned) == CALL and again.status == 204
    assert [one.headers.get("authorization") for one in caller.passed] == ["Bearer abc"]
    (asked,) = server.on("/token")
    assert asked.body == b"code=7&grant_type=authorization_code&redirect_uri=http%3A%2F%2Fe%2Fback"
    assert asked.header("authorization") == "Basic bWU6czM="


async def test_only_its_own_login_lets_a_caller_pass(tmp_path: Path) -> None:
    async with login(tmp_path) as (caller, server):
        state = (await caller.sent_off())["state"]
        stranger = Caller(caller.middleware, "gosessionsid=guessed")

        assert await caller.back(state="other", code="7") == (400, b"invalid state")
        assert await caller.back(state=state) == (400, b"code not found")
        assert await stranger.back(state=state, code="7") == (500, b"Internal Server Error")
        assert await stranger.sent_off() and not stranger.passed and not caller.passed and not server.seen


@pytest.mark.parametrize("issued", [Answer(400, b"{}"), Answer(200, b"[]"), Answer(200, b"no json"), Answer(hangup=True)])
async def test_a_server_that_gives_no_token_lets_nobody_pass(tmp_path: Path, issued: Answer) -> None:
    async with login(tmp_path, issued) as (caller, _):
        state = (await caller.sent_off())["state"]

        assert await caller.back(state=state, code="7") == (500, b"Internal Server Error")
        assert location(await caller.get(CALL)).startswith("https://id.example/") and not caller.passed


@pytest.mark.parametrize(
    ("target", "leads_to"), [("//evil.example/x", "/evil.example/x"), ("/\\evil.example", "/evil.example"), ("/a\\b", "/a%5Cb")]
)
async def test_the_way_back_leads_nowhere_else(tmp_path: Path, target: str, leads_to: str) -> None:
    async with login(tmp_path) as (caller, _):
        state = (await caller.sent_off(target))["state"]

        assert location(await caller.get(f"/back?state={state}&code=7")) == leads_to


async def test_https_can_be_wanted_for_the_way_back(tmp_path: Path) -> None:
    async with login(tmp_path, forceHTTPS="true") as (caller, _):
        state = (await caller.sent_off())["state"]

        assert location(await caller.get(f"/back?state={state}&code=7")) == f"https://edge.example{CALL}"


async def test_paths_outside_the_filter_need_no_login(tmp_path: Path) -> None:
    async with login(tmp_path, pathFilter="^/v1.0/invoke/") as (caller, _):
        assert (await caller.get("/v1.0/healthz")).status == 204
        assert (await caller.get(CALL)).status == 302


async def test_a_token_that_expired_is_asked_for_anew(tmp_path: Path) -> None:
    async with login(tmp_path, Answer.json({**ISSUED, "expires_in": 0.000001})) as (caller, _):
        state = (await caller.sent_off())["state"]
        await caller.back(state=state, code="7")

        assert (await caller.get(CALL)).status == 302 and not caller.passed


async def test_logins_that_nobody_finishes_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_oauth2, "MOST", 5)
    async with login(tmp_path) as (caller, _):
        for _ in range(20):
            await Caller(caller.middleware).get(CALL)

        assert len(caller.middleware._sessions) == 5
