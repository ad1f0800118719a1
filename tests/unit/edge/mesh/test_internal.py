"""The internal port as other sidecars use it, those of before streams included, and what it refuses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edge.app import App
from edge.channel.http import HttpChannel
from edge.component import Context
from edge.config.configuration import AccessControl, NameResolution
from edge.database import Database
from edge.errors import Grpc
from edge.identity.spiffe import Identity
from edge.internal_port import InternalPort, announced, listen_addresses
from edge.mesh.access import AccessList
from edge.mesh.names import Names
from edge.mesh.sidecars import Mesh
from edge.rpc.client import Channel, Target
from edge.rpc.pb import internals_pb2
from edge.rpc.room import Room
from edge.rpc.status import RpcError
from edge.settings import AppSettings
from edge.tasks import Tasks
from tests.apps import Answer, ScriptedApp

SERVICE = "/dapr.proto.internals.v1.ServiceInvocation/"


@asynccontextmanager
async def port(folder: Path, access: AccessControl, *, app_port: bool = True) -> AsyncIterator[tuple[Channel, ScriptedApp]]:
    async def none() -> Database:
        raise AssertionError("no database here")

    async with ScriptedApp({"/jam": Answer(200, b"jam" * 50_000, (("Content-Type", "text/plain"),))}) as server, Tasks("test") as tasks:
        cellar = App("cellar", port=server.port if app_port else 0)
        cellar.channel = HttpChannel(cellar) if app_port else None
        names = Names(NameResolution(), lambda name: Context(name, (), "default", folder, tasks, none))
        listed = AccessList(access, http=True)
        mesh = Mesh(lambda: [cellar], names, lambda app: listed, lambda app: Identity("public", "default", app.id))
        blocks: Any = SimpleNamespace(room=Room())
        one = InternalPort(AppSettings("cellar"), cellar, blocks, mesh)
        address = one.bind()
        await one.listen(None)
        channel = Channel(Target(address.host, address.port))
        try:
            yield channel, server
        finally:
            await channel.close()
            await one.close()
            if cellar.channel is not None:
                await cellar.channel.close()


def asked(body: bytes = b"plum") -> Any:
    request = internals_pb2.InternalInvokeRequest(ver=internals_pb2.V1)
    request.message.method, request.message.data.value, request.message.content_type = "jam", body, "text/plain"
    request.message.http_extension.verb = 3
    request.metadata["X-One"].values.append("1")
    return request


async def test_a_sidecar_without_streams_is_served(tmp_path: Path) -> None:
    async with port(tmp_path, AccessControl()) as (channel, server):
        answer = await channel.unary(f"{SERVICE}CallLocal", asked().SerializeToString())

    response = internals_pb2.InternalInvokeResponse.FromString(answer.message)
    assert (response.status.code, response.message.content_type, response.message.data.value) == (200, "text/plain", b"jam" * 50_000)
    assert (server.seen[0].method, server.seen[0].body, server.seen[0].header("x-one")) == ("POST", b"plum", "1")


async def test_pieces_are_numbered_both_ways(tmp_path: Path) -> None:
    async with port(tmp_path, AccessControl()) as (channel, server):
        reply = await channel.stream(f"{SERVICE}CallLocalStream")
        for seq, piece in enumerate((b"pl", b"um")):
            chunk = internals_pb2.InternalInvokeRequestStream(payload={"data": piece, "seq": seq})
            if seq == 0:
                chunk.request.CopyFrom(asked(b""))
            await reply.send(chunk.SerializeToString())
        reply.half_close()
        chunks = [internals_pb2.InternalInvokeResponseStream.FromString(data) async for data in reply]

    numbered = [chunk.payload.seq for chunk in chunks if chunk.HasField("payload")]
    assert (numbered, b"".join(chunk.payload.data for chunk in chunks)) == (list(range(len(numbered))), b"jam" * 50_000)
    assert [chunk.HasField("response") for chunk in chunks] == [True] + [False] * (len(chunks) - 1)
    assert server.seen[0].body == b"plum"


async def refusal(channel: Channel, message: bytes, method: str = "CallLocalStream") -> tuple[int, str]:
    with pytest.raises(RpcError) as refused:
        reply = await channel.stream(f"{SERVICE}{method}")
        await reply.send(message)
        reply.half_close()
        async for _ in reply:
            pass
    return refused.value.code, refused.value.message


async def test_what_it_refuses(tmp_path: Path) -> None:
    first = internals_pb2.InternalInvokeRequestStream(request=asked(b"")).SerializeToString()
    async with port(tmp_path, AccessControl("deny")) as (channel, server):
        empty = await refusal(channel, b"")
        denied = await refusal(channel, first)
        proxied = await refusal(channel, b"", "../../jars.Jars/One")
    async with port(tmp_path, AccessControl(), app_port=False) as (channel, _):
        mute = await refusal(channel, first)

    parsing = "parsing InternalInvokeRequest error: request does not contain the required fields in the leading chunk"
    assert empty == (Grpc.INVALID_ARGUMENT, parsing)
    assert denied == (Grpc.PERMISSION_DENIED, "access control policy has denied access to id:  operation: jam verb: POST")
    assert proxied[0] == Grpc.PERMISSION_DENIED
    assert mute == (Grpc.INTERNAL, "app channel is not initialized")
    assert not server.seen


@pytest.mark.parametrize(
    ("settings", "listens", "told"),
    [
        (AppSettings("a"), ("127.0.0.1",), "127.0.0.1"),
        (AppSettings("a", listen_addresses=("127.0.0.1", "192.0.2.7")), ("127.0.0.1", "192.0.2.7"), "192.0.2.7"),
        (AppSettings("a", internal_listen_address="[::1]"), ("::1",), "::1"),
        (AppSettings("a", listen_addresses=("127.0.0.2",)), ("127.0.0.2",), "127.0.0.2"),
        (AppSettings("a", mtls=True), ("",), "192.0.2.9"),
    ],
)
def test_where_it_listens_and_what_others_are_told(
    settings: AppSettings, listens: tuple[str, ...], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if settings.mtls:
        monkeypatch.setenv("DAPR_HOST_IP", "192.0.2.9")

    assert (listen_addresses(settings), announced(listen_addresses(settings))) == (listens, told)


async def test_a_host_address_of_elsewhere_is_announced_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAPR_HOST_IP", "192.0.2.9")
    one = InternalPort(AppSettings("a"), *[SimpleNamespace()] * 3)  # type: ignore[arg-type]

    told = one.bind()

    assert told.host == "192.0.2.9"
    assert [each.getsockname()[:2] for each in one._sockets] == [("127.0.0.1", told.port)]
    await one.close()


def test_the_host_s_address_is_listened_on_when_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAPR_HOST_IP", "192.0.2.9")

    assert listen_addresses(AppSettings("a")) == ("127.0.0.1", "192.0.2.9")
