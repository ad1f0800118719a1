"""Our client against servers of grpcio, grpclib and our own."""

from __future__ import annotations

import asyncio
import gc
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent import futures
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import grpclib.const
import grpclib.server
import pytest

from edge.rpc.client import Channel, Target
from edge.rpc.frames import H2, goaway_frame
from edge.rpc.server import LIMITS, Method, Server, Service, StreamCall
from edge.rpc.status import Grpc, RpcError
from tests.unit.edge.rpc.serving import METHODS


def raw(data: bytes) -> bytes:
    return data


class Handlers(grpc.GenericRpcHandler):
    """Echo, Slow, Refuse and Chat as in serving.py, for grpcio."""

    def service(self, handler_call_details: Any) -> Any:
        def refuse(request: bytes, context: Any) -> None:
            context.set_trailing_metadata((("x-trailer", "t"), ("x-bin", b"\1\2")))
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "nöt % now\n")

        def slow(request: bytes, context: Any) -> bytes:
            time.sleep(float(request))
            return request

        def meta(request: bytes, context: Any) -> bytes:
            context.send_initial_metadata([item for item in context.invocation_metadata() if item.key.startswith("x-")])
            context.set_trailing_metadata((("x-end", "z"),))
            return request

        unary = {"Echo": lambda request, context: request, "Refuse": refuse, "Slow": slow, "Meta": meta}
        name = handler_call_details.method.removeprefix("/t/")
        if name in unary:
            return grpc.unary_unary_rpc_method_handler(unary[name])
        if name == "Chat":
            return grpc.stream_stream_rpc_method_handler(lambda requests, context: requests)
        return None


@asynccontextmanager
async def grpcio_server() -> AsyncIterator[Target]:
    server = grpc.server(futures.ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((Handlers(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield Target("127.0.0.1", port)
    finally:
        server.stop(None).wait()


@asynccontextmanager
async def own_server(methods: dict[str, Method] = METHODS, **limits: Any) -> AsyncIterator[Target]:
    server = Server(Service(methods), replace(LIMITS, **limits))
    async with await asyncio.get_running_loop().create_server(server.protocol, "127.0.0.1", 0) as listener:
        yield Target("127.0.0.1", listener.sockets[0].getsockname()[1])
        await server.drain(0)


class Plain:
    """Bytes as they are, for grpclib."""

    def encode(self, message: bytes, message_type: Any) -> bytes:
        return message

    def decode(self, data: bytes, message_type: Any) -> bytes:
        return data

    __content_subtype__ = "proto"


class LibService:
    """Echo, Refuse and Chat for grpclib."""

    def __mapping__(self) -> dict[str, grpclib.const.Handler]:
        async def echo(stream: Any) -> None:
            async for message in stream:
                await stream.send_message(message)

        async def refuse(stream: Any) -> None:
            await stream.recv_message()
            await stream.send_trailing_metadata(
                status=grpclib.Status.FAILED_PRECONDITION, status_message="nöt % now\n", metadata={"x-trailer": "t", "x-bin": b"\1\2"}
            )

        cardinality = grpclib.const.Cardinality
        return {
            "/t/Echo": grpclib.const.Handler(echo, cardinality.UNARY_UNARY, bytes, bytes),
            "/t/Chat": grpclib.const.Handler(echo, cardinality.STREAM_STREAM, bytes, bytes),
            "/t/Refuse": grpclib.const.Handler(refuse, cardinality.UNARY_UNARY, bytes, bytes),
        }


@asynccontextmanager
async def grpclib_server() -> AsyncIterator[Target]:
    server = grpclib.server.Server([LibService()], codec=Plain())
    await server.start("127.0.0.1", 0)
    try:
        yield Target("127.0.0.1", server._server.sockets[0].getsockname()[1])
    finally:
        server.close()
        await server.wait_closed()


SERVERS = [grpcio_server, grpclib_server, own_server]
everywhere = pytest.mark.parametrize("server", SERVERS)
Start = Callable[[], Any]


def run(server: Start, work: Callable[[Channel], Awaitable[None]], **settings: Any) -> None:
    async def main() -> None:
        async with server() as target:
            channel = Channel(target, **settings)
            try:
                await work(channel)
            finally:
                await channel.close()

    asyncio.run(main())


@everywhere
def test_messages_of_any_size_come_back(server: Start) -> None:
    async def work(channel: Channel) -> None:
        for size in (0, 1, 16_379, 16_384, 65_536, 3_000_000):
            assert (await channel.unary("/t/Echo", b"x" * size)).message == b"x" * size

    run(server, work)


@everywhere
def test_errors_carry_status_text_and_trailers(server: Start) -> None:
    async def work(channel: Channel) -> None:
        with pytest.raises(RpcError) as caught:
            await channel.unary("/t/Refuse", b"")
        assert (caught.value.code, caught.value.message) == (9, "nöt % now\n")
        assert dict(caught.value.trailers) == {"x-trailer": "t", "x-bin": "AQI"}

    run(server, work)


@everywhere
def test_messages_flow_both_ways(server: Start) -> None:
    sent = [bytes([i]) * (i * 20_000) for i in range(12)]

    async def work(channel: Channel) -> None:
        reply = await channel.stream("/t/Chat")

        async def feed() -> None:
            for message in sent:
                await reply.send(message)
            reply.half_close()

        feeding = asyncio.create_task(feed())
        assert [message async for message in reply] == sent
        await feeding

    run(server, work)


@everywhere
def test_many_calls_at_once_share_one_connection(server: Start) -> None:
    async def work(channel: Channel) -> None:
        answers = await asyncio.gather(*(channel.unary("/t/Echo", b"%d" % i) for i in range(200)))
        assert [answer.message for answer in answers] == [b"%d" % i for i in range(200)]

    run(server, work)


@pytest.mark.parametrize("server", [grpcio_server, own_server])
def test_metadata_go_out_and_come_in(server: Start) -> None:
    async def work(channel: Channel) -> None:
        answer = await channel.unary("/t/Meta", b"", [("x-a", "1"), ("x-a", "2"), ("x-b-bin", "/wA")])
        assert [field for field in answer.headers if field[0].startswith("x-")] == [("x-a", "1"), ("x-a", "2"), ("x-b-bin", "/wA")]
        assert list(answer.trailers) == [("x-end", "z")]

    run(server, work)


@pytest.mark.parametrize("server", [grpcio_server, own_server])
def test_a_deadline_ends_the_call_here(server: Start) -> None:
    async def work(channel: Channel) -> None:
        with pytest.raises(RpcError) as caught:
            await channel.unary("/t/Slow", b"0.3", timeout=0.05)
        assert caught.value.code == 4
        assert caught.value.message.lower() in ("context deadline exceeded", "deadline exceeded")  # ours, or grpcio's was faster

    run(server, work)


def test_an_answer_above_the_limit_is_refused() -> None:
    async def work(channel: Channel) -> None:
        with pytest.raises(RpcError, match=r"received message larger than max \(1000 vs. 999\)"):
            await channel.unary("/t/Echo", b"x" * 1000)
        with pytest.raises(RpcError, match=r"trying to send message larger than max \(2001 vs. 2000\)"):
            await channel.unary("/t/Echo", b"x" * 2001)

    run(own_server, work, max_receive=999, max_send=2000)


@pytest.mark.parametrize("size", [999, 1000, 40_000])
def test_a_request_above_the_server_s_limit_is_refused(size: int) -> None:
    async def main() -> None:
        server = Server(Service(METHODS, max_receive=999), LIMITS)
        async with await asyncio.get_running_loop().create_server(server.protocol, "127.0.0.1", 0) as listener:
            channel = Channel(Target("127.0.0.1", listener.sockets[0].getsockname()[1]))
            if size <= 999:
                assert (await channel.unary("/t/Echo", b"x" * size)).message == b"x" * size
            else:
                with pytest.raises(RpcError, match=rf"received message larger than max \({size} vs. 999\)") as caught:
                    await channel.unary("/t/Echo", b"x" * size)
                assert caught.value.code == Grpc.RESOURCE_EXHAUSTED
            await channel.close()
            await server.drain(0)

    asyncio.run(main())


def test_nobody_listening_is_unavailable_in_grpc_go_s_words() -> None:
    async def main() -> None:
        with pytest.raises(RpcError) as caught:
            await Channel(Target("127.0.0.1", 1)).unary("/t/Echo", b"")
        assert caught.value.code == 14
        assert caught.value.message == (
            'connection error: desc = "transport: Error while dialing: dial tcp 127.0.0.1:1: connect: connection refused"'
        )

    asyncio.run(main())


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_server_that_ends_each_connection_at_once_is_unavailable() -> None:
    loop, attempts = asyncio.get_running_loop(), 0

    def nobody() -> asyncio.Protocol:
        nonlocal attempts
        attempts += 1
        raise OSError("no more connections")

    loop.set_exception_handler(lambda loop, context: None)
    async with await loop.create_server(nobody, "127.0.0.1", 0) as server:
        channel = Channel(Target("127.0.0.1", server.sockets[0].getsockname()[1]))
        with pytest.raises(RpcError) as lost:
            await channel.unary("/test.Test/Echo", b"")
        await channel.close()
    gc.collect()  # asyncio forgets the socket of a connection whose protocol could not be made

    assert (lost.value.code, attempts) == (grpc.StatusCode.UNAVAILABLE.value[0], 1)


def test_a_cancelled_call_ends_the_handler() -> None:
    ended = asyncio.Event()

    async def wait(call: StreamCall) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    async def main() -> None:
        async with own_server({"/t/Wait": Method(stream=wait)}) as target:
            call = asyncio.create_task(Channel(target).unary("/t/Wait", b""))
            await asyncio.sleep(0.05)
            call.cancel()
            async with asyncio.timeout(5):
                await ended.wait()

    asyncio.run(main())


def test_the_peer_s_limit_on_streams_makes_calls_wait() -> None:
    running = most = 0

    async def count(call: StreamCall) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        await call.send(b"")
        running -= 1

    async def main() -> None:
        async with own_server({"/t/Count": Method(stream=count)}, max_streams=3) as target:
            channel = Channel(target)
            await channel.unary("/t/Count", b"")
            await asyncio.gather(*(channel.unary("/t/Count", b"") for _ in range(12)))
            await channel.close()

    asyncio.run(main())
    assert most == 3


def test_a_server_that_restarts_is_found_again() -> None:
    async def main() -> None:
        async with own_server() as target:
            channel = Channel(target)
            await channel.unary("/t/Echo", b"")
        await asyncio.sleep(0.05)
        with pytest.raises(RpcError):
            await channel.unary("/t/Echo", b"")
        server = Server(Service(METHODS))
        async with await asyncio.get_running_loop().create_server(server.protocol, "127.0.0.1", target.port):
            assert (await channel.unary("/t/Echo", b"again")).message == b"again"
            await channel.close()
            await server.drain(0)

    asyncio.run(main())


def test_calls_that_a_draining_server_did_not_look_at_go_to_a_new_connection() -> None:
    first: list[Any] = []

    class Leaving(Server):
        def protocol(self) -> Any:
            connection = super().protocol()
            if not first:
                first.append(connection)
                connection.opened = lambda *args: connection.send(goaway_frame(0, H2.NO_ERROR))  # type: ignore[method-assign]
            return connection

    async def main() -> None:
        server = Leaving(Service(METHODS))
        async with await asyncio.get_running_loop().create_server(server.protocol, "127.0.0.1", 0) as listener:
            channel = Channel(Target("127.0.0.1", listener.sockets[0].getsockname()[1]))
            assert (await channel.unary("/t/Echo", b"twice")).message == b"twice"
            assert len(server.connections) >= 1
            await channel.close()
            await server.drain(0)

    asyncio.run(main())


class Late(Target):
    """Whoever dials is told of the connection when the server's first bytes have been read."""

    async def connect(self, protocol: Any) -> None:
        await super().connect(protocol)
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("first", [False, True])
def test_an_http1_server_is_no_grpc_server(first: bool) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not first:
            await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
        writer.close()

    async def main() -> None:
        async with await asyncio.start_server(talk, "127.0.0.1", 0) as listener:
            target = (Late if first else Target)("127.0.0.1", listener.sockets[0].getsockname()[1])
            with pytest.raises(RpcError) as caught:
                await Channel(target).unary("/t/Echo", b"")
            assert caught.value.code == 14
            assert caught.value.message == 'connection error: desc = "error reading server preface: http2: frame too large"'

    asyncio.run(main())


def test_over_a_unix_socket(tmp_path: Path) -> None:
    async def main() -> None:
        server = Server(Service(METHODS))
        async with await asyncio.get_running_loop().create_unix_server(server.protocol, tmp_path / "app.socket"):
            channel = Channel(Target(unix=str(tmp_path / "app.socket")))
            assert (await channel.unary("/t/Echo", b"unix")).message == b"unix"
            await channel.close()
            await server.drain(0)

    asyncio.run(main())


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[bytes, bytes]]:
    import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    made = builder.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1)).sign(key, hashes.SHA256())
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    yield pem, made.public_bytes(serialization.Encoding.PEM)


def test_over_tls(certificate: tuple[bytes, bytes]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])

    async def main() -> None:
        server = grpc.server(futures.ThreadPoolExecutor(2))
        server.add_generic_rpc_handlers((Handlers(),))
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([certificate]))
        server.start()
        channel = Channel(Target("127.0.0.1", port, tls=context))
        assert (await channel.unary("/t/Echo", b"x" * 100_000)).message == b"x" * 100_000
        await channel.close()
        server.stop(None).wait()

    asyncio.run(main())
