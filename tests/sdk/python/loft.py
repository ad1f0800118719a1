"""A gRPC app as the Python SDK has it: methods for InvokeService, and beside them a service of its own with calls of all four kinds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
from dapr.ext.grpc import App, InvokeMethodRequest, InvokeMethodResponse
from google.protobuf.wrappers_pb2 import StringValue
from report import APP_PORT

app = App()


@app.method("echo")
def echo(request: InvokeMethodRequest) -> InvokeMethodResponse:
    return InvokeMethodResponse(b"loft " + request.data, "text/plain")


def one(request: StringValue, context: grpc.ServicerContext) -> StringValue:
    given = dict(context.invocation_metadata())
    context.send_initial_metadata((("x-lid", "tight"),))
    if request.value == "stone":
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "no fruit")
    return StringValue(value=f"{request.value} jam {given.get('x-jar', '')}".strip())


def many(request: StringValue, context: grpc.ServicerContext) -> Iterator[StringValue]:
    for number in range(3):
        yield StringValue(value=f"{request.value} {number}")


def all_of(requests: Iterator[StringValue], context: grpc.ServicerContext) -> StringValue:
    return StringValue(value="+".join(each.value for each in requests))


def chat(requests: Iterator[StringValue], context: grpc.ServicerContext) -> Iterator[StringValue]:
    for each in requests:
        yield StringValue(value=each.value[::-1])


def jars(_: Any, server: grpc.Server) -> None:
    codec = {"request_deserializer": StringValue.FromString, "response_serializer": StringValue.SerializeToString}
    methods = {
        "One": grpc.unary_unary_rpc_method_handler(one, **codec),
        "Many": grpc.unary_stream_rpc_method_handler(many, **codec),
        "All": grpc.stream_unary_rpc_method_handler(all_of, **codec),
        "Chat": grpc.stream_stream_rpc_method_handler(chat, **codec),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("jars.Jars", methods),))


app.add_external_service(jars, None)
app.run(APP_PORT)
