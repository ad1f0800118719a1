"""DaprClient calls apps behind other sidecars: verbs, failures, InvokeService, their own gRPC services; and bodies piece by piece."""

from __future__ import annotations

import http.client
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
from dapr.clients import DaprClient
from dapr.conf import settings
from google.protobuf.wrappers_pb2 import StringValue
from report import say

Pairs = tuple[tuple[str, str], ...]
HTTP_PORT = int(os.environ["DAPR_HTTP_PORT"])


def answer(dapr: DaprClient, app: str, method: str, verb: str = "POST", data: bytes = b"plum", query: Pairs = ()) -> list[Any]:
    metadata = (("x-jar", "small"),)
    given = dapr.invoke_method(app, method, data, "text/plain", metadata, verb, query or None, timeout=20)
    return [given.status_code, given.content_type, given.text()]


def failure(call: Callable[[], Any]) -> Any:
    """What the SDK raises."""
    try:
        return call()
    except grpc.RpcError as error:
        return ["rpc", error.code().name, error.details()]
    except Exception as error:
        return [type(error).__name__, str(error)]


def calls(protocol: str) -> None:
    settings.DAPR_API_METHOD_INVOCATION_PROTOCOL = protocol
    with DaprClient() as dapr:
        for verb in ("GET", "POST", "PUT", "DELETE") + (("PATCH",) if protocol == "http" else ()):
            data = b"" if verb == "GET" else b"plum"
            say(f"{protocol} {verb}", answer(dapr, "larder", "echo/a/b", verb, data, (("n", "1"), ("m", "x y"))))
        say(f"{protocol} to shed", answer(dapr, "shed", "echo", "POST"))
        say(f"{protocol} to loft", answer(dapr, "loft", "echo"))
        say(f"{protocol} to barn", answer(dapr, "barn", "echo", "PUT"))
        for code in (202, 404, 418, 503):
            say(f"{protocol} {code}", failure(lambda code=code: answer(dapr, "larder", f"status/{code}")))
        say(f"{protocol} app fails", failure(lambda: answer(dapr, "barn", "fail")))
        say(f"{protocol} no such method", failure(lambda: answer(dapr, "loft", "nothing")))
        say(f"{protocol} unknown app", failure(lambda: answer(dapr, "nobody", "x")))


def proxied() -> None:
    to: Pairs = (("dapr-app-id", "loft"), ("x-jar", "small"))
    codec: Any = {"request_serializer": StringValue.SerializeToString, "response_deserializer": StringValue.FromString}
    fruits = [StringValue(value=value) for value in ("plum", "pear")]
    with grpc.insecure_channel(f"127.0.0.1:{os.environ['DAPR_GRPC_PORT']}") as channel:
        one = channel.unary_unary("/jars.Jars/One", **codec)
        value, call = one.with_call(fruits[0], metadata=to, timeout=20)
        say("proxied one", [value.value, dict(call.initial_metadata()).get("x-lid")])
        many = channel.unary_stream("/jars.Jars/Many", **codec)(fruits[0], metadata=to, timeout=20)
        say("proxied many", [each.value for each in many])
        say("proxied all", channel.stream_unary("/jars.Jars/All", **codec)(iter(fruits), metadata=to, timeout=20).value)
        chat = channel.stream_stream("/jars.Jars/Chat", **codec)(iter(fruits), metadata=to, timeout=20)
        say("proxied chat", [each.value for each in chat])
        say("proxied failure", failure(lambda: one(StringValue(value="stone"), metadata=to, timeout=20)))
        nothing = channel.unary_unary("/jars.Jars/None", **codec)
        say("proxied unknown method", failure(lambda: nothing(fruits[0], metadata=to, timeout=20)))
        say("proxied unknown app", failure(lambda: one(fruits[0], metadata=(("dapr-app-id", "nobody"),), timeout=20)))


def request(verb: str, path: str, body: Any = None, chunked: bool = False) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", HTTP_PORT, timeout=20)
    connection.request(verb, path, body, {"dapr-app-id": "larder"}, encode_chunked=chunked)
    return connection.getresponse()


def streamed() -> None:
    """A piece is sent only when the one before arrived at the other side: what is collected on the way would never come."""
    drip = request("GET", "/drip")
    pieces = [drip.read(6).decode()]
    for _ in range(2):
        request("POST", "/more")
        pieces.append(drip.read(6).decode())
    say("pieces down", [drip.status, *pieces, drip.read().decode()])

    def sent() -> Iterator[bytes]:
        for number in range(1, 4):
            yield b"x" * 70_000
            while int(request("GET", "/came/python").read()) < 70_000 * number:
                time.sleep(0.005)

    say("pieces up", request("PUT", "/upload/python", sent(), chunked=True).read().decode())


calls("http")
calls("grpc")
proxied()
streamed()
