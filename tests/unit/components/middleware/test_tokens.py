"""Middleware that asks for tokens and middleware that brings them, with a real server that issues them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key

from edge.http1.messages import Headers, Request, Response
from tests.apps import Answer, ScriptedApp, Seen
from tests.harness_components import opened

KEY = generate_private_key(SECP256R1())


def jwks(key: EllipticCurvePrivateKey = KEY, kid: str = "k1") -> dict[str, Any]:
    found = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key()))
    return {"keys": [{**found, "kid": kid, "use": "sig"}]}


def token(issuer: str, key: Any = KEY, kid: str | None = "k1", algorithm: str = "ES256", **claims: Any) -> str:
    content = {"iss": issuer, "aud": "edge", "exp": time.time() + 60, **claims}
    return jwt.encode(content, key, algorithm, headers={"kid": kid} if kid else None)


def issuer_at(server: ScriptedApp) -> str:
    address = f"http://127.0.0.1:{server.port}"
    server.answers["/.well-known/openid-configuration"] = Answer.json({"issuer": address, "jwks_uri": f"{address}/keys"})
    server.answers["/keys"] = Answer.json(jwks())
    return address


async def answer(middleware: Any, authorization: str | None) -> int:
    async def next_(request: Request) -> Response:
        return Response(204)

    headers = Headers([("authorization", authorization)] if authorization is not None else [])
    reply: Response = await middleware.handle(Request("GET", "/v1.0/state/s/k", headers), next_)
    return reply.status


async def test_bearer_lets_only_tokens_of_its_issuer_pass(tmp_path: Path) -> None:
    async with ScriptedApp() as server:
        issuer = issuer_at(server)
        fields = {"issuerURL": issuer, "clientID": "edge"}
        async with opened("middleware.http.bearer", tmp_path, fields) as middleware:
            good = token(issuer)
            others = [
                None,
                "",
                "Bearer",
                good,
                f"Basic {good}",
                f"Bearer {good}x",
                f"Bearer {token(issuer, aud='other')}",
                f"Bearer {token('http://other')}",
                f"Bearer {token(issuer, exp=time.time() - 400)}",
                f"Bearer {token(issuer, kid=None)}",
                f"Bearer {token(issuer, kid='k2')}",
                f"Bearer {token(issuer, generate_private_key(SECP256R1()))}",
                f"Bearer {token(issuer, 'secret' * 10, algorithm='HS256')}",
            ]

            assert [await answer(middleware, text) for text in others] == [401] * len(others)
            assert await answer(middleware, f"bearer {good}") == 204
            assert await answer(middleware, f"Bearer {token(issuer, exp=time.time() - 200)}") == 204  # within the clock skew


async def test_bearer_refuses_until_the_keys_are_there(tmp_path: Path) -> None:
    async with ScriptedApp(default=Answer(503)) as server:
        fields = {"issuer": f"http://127.0.0.1:{server.port}", "audience": "edge"}
        async with opened("middleware.http.bearer", tmp_path, fields) as middleware:
            assert await answer(middleware, f"Bearer {token(fields['issuer'])}") == 500
            assert "503" in middleware.unhealthy()

            issuer_at(server)
            await middleware._refresh(5.0)

            assert await answer(middleware, f"Bearer {token(fields['issuer'])}") == 204


@pytest.mark.parametrize("style", ["0", "1", "2"])
async def test_client_credentials_are_exchanged_once(tmp_path: Path, style: str) -> None:
    def issue(seen: Seen) -> Answer:
        basic = seen.header("authorization") == "Basic Y2xpZW50OnMlMjZ0"
        refused = style == "0" and basic  # then it is tried with parameters
        return Answer(401) if refused else Answer.json({"access_token": "abc", "token_type": "bearer", "expires_in": 3600})

    async with ScriptedApp({"/token": issue}) as server:
        url = f"http://127.0.0.1:{server.port}/token"
        fields = {"clientID": "client", "clientSecret": "s&t", "scopes": "a,b", "tokenURL": url, "headerName": "X-Auth"}
        fields |= {"authStyle": style, "endpointParamsQuery": "audience=x", "pathFilter": "^/v1.0/"}
        async with opened("middleware.http.oauth2clientcredentials", tmp_path, fields) as middleware:
            passed: list[Request] = []

            async def next_(request: Request) -> Response:
                passed.append(request)
                return Response(204)

            for target in ("/v1.0/x", "/v1.0/y", "/other"):
                await middleware.handle(Request("GET", target), next_)

        assert [request.headers.get("x-auth") for request in passed] == ["Bearer abc", "Bearer abc", None]
        asked = server.on("/token")
        assert len(asked) == (2 if style == "0" else 1)
        assert b"grant_type=client_credentials&scope=a+b&audience=x" in asked[-1].body
        assert (b"client_secret=s%26t" in asked[-1].body) == (style != "2")


async def test_a_call_that_gets_no_token_does_not_go_on(tmp_path: Path) -> None:
    fields = {"clientID": "c", "clientSecret": "s", "scopes": "a", "tokenURL": "http://127.0.0.1:1/t", "headerName": "x"}
    async with opened("middleware.http.oauth2clientcredentials", tmp_path, fields) as middleware:
        assert await answer(middleware, None) == 502
