"""HTTP as .NET speaks it: HttpClient's requests byte for byte, and an app that answers in Kestrel's way."""

from __future__ import annotations

import http.client
import queue
import re
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.message import Message
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Self

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
Said = tuple[int, dict[str, str], bytes]


@dataclass
class HttpClient:
    """One kept connection. Headers go in .NET's order: Host, the request's, the content's."""

    port: int
    agent: str = "dapr-sdk-dotnet/v1.18.5"
    _wire: socket.socket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def send(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        type_: str = "",
        *,
        chunked: bool = False,
        headers: dict[str, str] | None = None,
    ) -> Said:
        """type_: the content's. chunked: as JsonContent goes, which does not know its length."""
        lines = {"Host": f"127.0.0.1:{self.port}", "User-Agent": self.agent, "traceparent": TRACE, **(headers or {})}
        if chunked:
            lines["Transfer-Encoding"] = "chunked"
        if type_:
            lines["Content-Type"] = type_
        if not chunked and (body is not None or method in ("POST", "PUT")):
            lines["Content-Length"] = str(len(body or b""))
        head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items()) + "\r\n"
        data = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body or b""), body) if chunked else body or b""
        if self._wire is None:
            self._wire = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        self._wire.sendall(head.encode("latin-1") + data)
        answer = http.client.HTTPResponse(self._wire, method=method)
        answer.begin()
        read = answer.read()
        if answer.will_close:
            self.close()
        return answer.status, dict(answer.getheaders()), read

    def wait(self, path: str = "/v1.0/healthz/outbound", timeout: float = 30.0) -> None:
        """As WaitForSidecarAsync: until the answer is a success."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            with suppress(OSError, http.client.HTTPException):
                if self.send("GET", path)[0] // 100 == 2:
                    return
            self.close()
            time.sleep(0.1)
        raise AssertionError(f"{path} was no success in {timeout} s")

    def close(self) -> None:
        if self._wire is not None:
            self._wire.close()
        self._wire = None


@dataclass
class Call:
    """A request that the app got."""

    method: str
    path: str
    headers: Message
    body: bytes


@dataclass
class Kestrel:
    """An app. answer: what to say to a call; calls: what came, for `next`."""

    answer: Callable[[Call], Said]
    port: int = 0
    calls: queue.Queue[Call] = field(default_factory=queue.Queue)

    def next(self, path: str, timeout: float = 20.0) -> Call:
        """The next call whose path begins like that; others are passed over."""
        while True:
            call = self.calls.get(timeout=timeout)
            if call.path.startswith(path):
                return call


@contextmanager
def kestrel(port: int, answer: Callable[[Call], Said]) -> Iterator[Kestrel]:
    app = Kestrel(answer, port)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one_request(self) -> None:
            self.raw_requestline = self.rfile.readline(65537)
            if not self.raw_requestline:
                self.close_connection = True
            elif self.parse_request():
                self._serve()

        def _serve(self) -> None:
            call = Call(self.command, self.path, self.headers, self._body())
            app.calls.put(call)
            status, headers, body = app.answer(call)
            self.send_response_only(status)
            framing = {"Transfer-Encoding": "chunked"} if body else {"Content-Length": "0"}
            for name, value in {"Date": formatdate(usegmt=True), "Server": "Kestrel", **headers, **framing}.items():
                self.send_header(name, value)
            self.end_headers()
            if body:
                self.wfile.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))

        def _body(self) -> bytes:
            if "chunked" not in self.headers.get("Transfer-Encoding", ""):
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            read = b""
            while size := int(self.rfile.readline(), 16):
                read += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return read

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    app.port = server.server_port
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield app
    finally:
        server.shutdown()
        server.server_close()


def steps(parts: Iterable[Callable[..., Iterator[tuple[str, Any]]]], *given: Any) -> dict[str, Any]:
    """Each part's steps by name, with what was seen."""
    saw: dict[str, Any] = {}
    for part in parts:
        for step, seen in part(*given):
            saw[f"{part.__name__}: {step}"] = tidy(seen)
    return saw


def tidy(value: Any) -> Any:
    """As JSON holds it; ids that are UUIDs as such."""
    match value:
        case bytes():
            return tidy(value.decode("latin-1"))
        case str():
            return UUID.sub("<uuid>", value)
        case Mapping():
            return {str(name): tidy(each) for name, each in value.items()}
        case list() | tuple():
            return [tidy(each) for each in value]
        case set():
            return sorted(tidy(each) for each in value)
    return value
