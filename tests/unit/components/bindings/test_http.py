"""Requests as daprd's HTTP binding sends them, on a real server."""

from __future__ import annotations

import gzip
import ssl
from pathlib import Path

import pytest

from components.bindings._go import Answered
from edge.errors import Invalid, Unavailable
from tests.apps import Answer, ScriptedApp
from tests.harness import free_port
from tests.harness_components import opened

TYPE = "bindings.http"


async def test_headers_path_and_answer(tmp_path: Path) -> None:
    async with ScriptedApp() as server:
        server.answers = {"/base/a": Answer(201, b"made", (("X-Two", "1"), ("x-two", "2"), ("content-type", "text/plain")))}
        raw = {"url": f"http://127.0.0.1:{server.port}/base/", "securityToken": "sesame", "securityTokenHeader": "x-token"}
        async with opened(TYPE, tmp_path, raw) as binding:
            metadata = {"path": "/a?b=1", "X-Mine": "1", "lower": "2", "traceparent": "00-1-2-01"}
            result = await binding.invoke("create", b'{"n":1}', metadata)

    (seen,) = server.seen
    assert (seen.method, seen.target, seen.body) == ("POST", "/base/a?b=1", b'{"n":1}')
    assert seen.header("accept") == seen.header("content-type") == "application/json; charset=utf-8"
    assert (seen.header("x-mine"), seen.header("lower"), seen.header("x-token")) == ("1", None, "sesame")
    assert seen.header("traceparent") == "00-1-2-01"
    assert result.data == b"made"
    assert (result.metadata["statusCode"], result.metadata["X-Two"], result.metadata["Content-Type"]) == ("201", "1, 2", "text/plain")


async def test_another_status_is_an_error_with_metadata_unless_quiet(tmp_path: Path) -> None:
    async with ScriptedApp(default=Answer(418, b"tea")) as server, opened(TYPE, tmp_path, {"url": server.url}) as binding:
        with pytest.raises(Answered, match="received status code 418") as caught:
            await binding.invoke("get", b"", {})
        quiet = await binding.invoke("get", b"", {"errorIfNot2XX": "false"})

    assert caught.value.metadata["statusCode"] == "418"
    assert quiet.data == b"tea"


async def test_redirects_are_followed_as_go_follows_them(tmp_path: Path) -> None:
    async with ScriptedApp() as server:
        server.answers = {
            "/see": Answer(303, headers=(("Location", "/there"),)),
            "/same": Answer(307, headers=(("Location", "/there"),)),
            "/ring": Answer(302, headers=(("Location", "/ring"),)),
            "/there": Answer(200, b"here"),
        }
        async with opened(TYPE, tmp_path, {"url": server.url}) as binding:
            await binding.invoke("post", b"1", {"path": "see"})
            await binding.invoke("post", b"2", {"path": "same"})
            with pytest.raises(Exception, match="stopped after 10 redirects"):
                await binding.invoke("get", b"", {"path": "ring"})

    followed = [(one.method, one.body, one.header("referer")) for one in server.seen if one.target == "/there"]
    assert followed == [("GET", b"", f"{server.url}/see"), ("POST", b"2", f"{server.url}/same")]


async def test_requests_read_as_gos(tmp_path: Path) -> None:
    async with ScriptedApp() as server:
        async with opened(TYPE, tmp_path, {"url": server.url}) as binding:
            await binding.invoke("head", b"", {"errorIfNot2XX": "false"})
            await binding.invoke("get", b"", {"Transfer-Encoding": "chunked", "errorIfNot2XX": "false"})
            with pytest.raises(Exception, match=r'invalid URL escape "%zz"'):
                await binding.invoke("get", b"", {"path": "a%zz"})

    head, get = server.seen
    assert (head.header("accept-encoding"), get.header("accept-encoding"), get.header("transfer-encoding")) == (None, "gzip", None)


async def test_bodies_are_unzipped_and_cut(tmp_path: Path) -> None:
    body = b"x" * 5000
    async with ScriptedApp() as server:
        server.answers = {"/zip": Answer(200, gzip.compress(body), (("Content-Encoding", "gzip"),)), "/plain": Answer(200, body)}
        async with opened(TYPE, tmp_path, {"url": server.url, "maxResponseBodySize": "1Ki"}) as binding:
            zipped = await binding.invoke("get", b"", {"path": "zip"})
            plain = await binding.invoke("get", b"", {"path": "plain"})

    assert zipped.data == plain.data == body[:1024]
    assert "Content-Encoding" not in zipped.metadata


async def test_a_slow_server_and_none_at_all(tmp_path: Path) -> None:
    async with ScriptedApp(default=Answer(200, after=0.5)) as server:
        async with opened(TYPE, tmp_path, {"url": server.url, "responseTimeout": "50ms"}) as binding:
            with pytest.raises(Unavailable, match="context deadline exceeded"):
                await binding.invoke("get", b"", {})
    async with opened(TYPE, tmp_path, {"url": f"http://127.0.0.1:{free_port()}"}) as binding:
        with pytest.raises(Unavailable, match=r'Get "http://.*": dial tcp .*: connect: connection refused'):
            await binding.invoke("get", b"", {})


@pytest.mark.parametrize("url", ["ftp://h/x", "http://", "nonsense", "http://h:99999/"])
async def test_bad_addresses_are_refused(tmp_path: Path, url: str) -> None:
    async with opened(TYPE, tmp_path, {"url": url}) as binding:
        with pytest.raises(Invalid):
            await binding.invoke("get", b"", {})


async def test_mutual_tls(tmp_path: Path) -> None:
    from tests.authority import authority

    ca = authority()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.load(context, tmp_path, "localhost")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=ca.pem)
    certificate, key = ca.issue("edge-7")
    raw = {"MTLSRootCA": ca.pem, "MTLSClientCert": certificate, "MTLSClientKey": key}
    async with ScriptedApp(default=Answer(200, b"hello"), tls=context) as server:
        async with opened(TYPE, tmp_path, {"url": f"https://localhost:{server.port}", **raw}) as binding:
            assert (await binding.invoke("get", b"", {})).data == b"hello"
        async with opened(TYPE, tmp_path, {"url": f"https://localhost:{server.port}", "MTLSRootCA": ca.pem}) as binding:
            with pytest.raises(Unavailable):
                await binding.invoke("get", b"", {})


async def test_bad_tls_material_names_its_field(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match='"MTLSRootCA" value is neither'):
        async with opened(TYPE, tmp_path, {"url": "https://localhost", "MTLSRootCA": "missing.pem"}):
            pass
