"""HTTPEndpoints over TLS, with certificates of their own, and what follows a redirect."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edge.app import AppUnavailable
from edge.channel.endpoints import EndpointChannels, Server
from edge.config.resources import Entry, HttpEndpoint
from edge.model import InvokeRequest
from tests.apps import Answer, ScriptedApp
from tests.authority import Authority, authority


async def texts(endpoint: HttpEndpoint, entries: Sequence[Entry]) -> Mapping[str, str]:
    return {entry.name: entry.value or "" for entry in entries}


@asynccontextmanager
async def tls_server(folder: Path, signer: Authority, seen: list[str]) -> AsyncIterator[int]:
    """Answers everyone who shows a certificate of that authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    signer.load(context, folder, "outside")
    context.load_verify_locations(cadata=signer.pem)
    context.verify_mode = ssl.CERT_REQUIRED

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def endpoint(url: str, *tls: Entry, headers: tuple[Entry, ...] = ()) -> HttpEndpoint:
    return HttpEndpoint("outside", url, headers=headers, tls=tls)


async def test_an_endpoint_shows_its_client_certificate(tmp_path: Path) -> None:
    signer, seen, channels = authority(), list[str](), EndpointChannels(texts)
    certificate, key = signer.issue("edged")
    own = (Entry("rootCA", signer.pem), Entry("certificate", certificate), Entry("privateKey", key))

    async with tls_server(tmp_path, signer, seen) as port:
        url = f"https://127.0.0.1:{port}/base/"
        answer = await channels.invoke("outside", endpoint(url, *own), InvokeRequest("GET", "x y", "q=1"))
        with pytest.raises(AppUnavailable):
            await channels.invoke("other", endpoint(url), InvokeRequest("GET", "x"))
    await channels.close()

    assert (answer.status, answer.body) == (200, b"ok")
    assert [head.splitlines()[0] for head in seen] == ["GET /base/x%20y?q=1 HTTP/1.1"]


async def test_certificates_that_are_none_are_named(tmp_path: Path) -> None:
    bad = endpoint("https://127.0.0.1:1", Entry("rootCA", "no PEM"))

    with pytest.raises(AppUnavailable, match=r"certificates of http endpoint outside: check spec\.clientTLS"):
        await EndpointChannels(texts).invoke("outside", bad, InvokeRequest("GET", "x"))


async def test_redirects_of_an_endpoint_are_followed_without_its_secrets(tmp_path: Path) -> None:
    async with ScriptedApp({"/far": Answer(200, b"far")}) as far, ScriptedApp() as near:
        near.answers |= {"/moved": Answer(302, headers=(("Location", f"http://127.0.0.1:{far.port}/far?x=1"),)), "/here": Answer(307)}
        channels = EndpointChannels(texts)
        one = endpoint(f"http://127.0.0.1:{near.port}", headers=(Entry("x-key", "secret"),))
        request = InvokeRequest("POST", "moved", "", (("authorization", "mine"), ("x-a", "b")), b"plum")

        answer = await channels.invoke("outside", one, request)
        stays = await channels.invoke(f"http://127.0.0.1:{near.port}", None, request)
        await channels.close()

    seen = far.seen[0]
    assert (answer.body, stays.status) == (b"far", 302)
    assert (seen.method, seen.target, seen.body, seen.header("x-a")) == ("GET", "/far?x=1", b"", "b")
    assert (seen.header("authorization"), seen.header("x-key")) == (None, None)
    assert near.seen[0].header("x-key") == "secret"
    assert (near.seen[0].header("referer"), seen.header("referer")) == (None, f"http://127.0.0.1:{near.port}/moved")


async def test_a_redirect_to_the_same_server_keeps_the_endpoints_headers() -> None:
    async with ScriptedApp({"/there": Answer(200, b"there")}) as near:
        near.answers["/base/moved"] = Answer(302, headers=(("Location", "/there"),))
        channels = EndpointChannels(texts)
        one = endpoint(f"http://127.0.0.1:{near.port}/base", headers=(Entry("x-key", "secret"), Entry("Host", "elsewhere")))

        answer = await channels.invoke("outside", one, InvokeRequest("GET", "moved"))
        await channels.close()

    assert answer.body == b"there"
    assert [seen.header("x-key") for seen in near.seen] == ["secret", "secret"]
    assert {seen.header("host") for seen in near.seen} == {f"127.0.0.1:{near.port}"}


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("http://example.org", Server("http", "example.org", 80, "example.org", "")),
        ("https://u:p@example.org:8443/a/b/", Server("https", "example.org", 8443, "example.org:8443", "/a/b")),
        ("http://[::1]:80/", Server("http", "::1", 80, "[::1]:80", "")),
        ("ftp://example.org", None),
        ("http://:x", None),
    ],
)
def test_base_urls(url: str, server: Server | None) -> None:
    if server is None:
        with pytest.raises(AppUnavailable):
            Server.parse(url)
    else:
        assert Server.parse(url) == server
