"""DaprClient calls apps behind another sidecar: an HTTP app over HTTP and gRPC, a gRPC app by InvokeService and by its own service."""

from __future__ import annotations

import os

import grpc
from dapr.clients import DaprClient
from report import say


def called(protocol: str) -> None:
    os.environ["DAPR_API_METHOD_INVOCATION_PROTOCOL"] = protocol
    with DaprClient() as dapr:
        answer = dapr.invoke_method("cellar", "jam", data=b"plum", content_type="text/plain", http_verb="POST", timeout=20)
        say(f"{protocol} to HTTP", [answer.text(), answer.content_type])
        if protocol == "grpc":
            say("grpc to gRPC", dapr.invoke_method("attic", "jam", data=b"plum", content_type="text/plain").text())


called("http")
called("grpc")
with grpc.insecure_channel(f"127.0.0.1:{os.environ['DAPR_GRPC_PORT']}") as channel:
    call = channel.unary_unary("/jars.Jars/One")
    say("proxied", call(b"plum", metadata=(("dapr-app-id", "attic"),), timeout=20).decode())
