"""Subscribing, binding and being called with the Python SDK: its gRPC app, FastAPI, Flask, or streams (the argument says which)."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import threading
import urllib.request
from collections.abc import Callable
from typing import Any

from dapr.clients import DaprClient
from dapr.clients.grpc._response import TopicEventResponse
from fastapi import FastAPI, Request
from report import APP_PORT, say, until

Handler = Callable[[str, Any], str]
PUBSUB = "pubsub"


class Seen:
    events: list[list[Any]] = []
    tries = 0
    bound: list[Any] = []


def handled(topic: str, data: Any) -> str:
    """What an app says to a message: the topic decides."""
    if topic == "fickle":
        Seen.tries += 1
        if Seen.tries < 3:
            return "retry"
    Seen.events.append([topic, data])
    return "drop" if topic == "unwanted" else "success"


def data_of(event: Any) -> Any:
    return json.loads(event.Data() if callable(getattr(event, "Data", None)) else event.data())


def grpc_app() -> None:
    from cloudevents.sdk.event import v1
    from dapr.ext.grpc import App, BindingRequest, InvokeMethodRequest

    app = App()

    def taking(topic: str, **more: Any) -> None:
        @app.subscribe(pubsub_name=PUBSUB, topic=topic, **more)
        def take(event: v1.Event) -> TopicEventResponse:
            return TopicEventResponse(handled(topic, data_of(event)))

    for topic in ("plain", "fickle", "dead"):
        taking(topic)
    taking("unwanted", dead_letter_topic="dead")

    @app.method("echo")
    def echo(request: InvokeMethodRequest) -> bytes:
        return b"echo " + request.data

    @app.binding("ticker")
    def ticker(request: BindingRequest) -> None:
        Seen.bound.append(1)

    app.run(APP_PORT)


def fastapi_app() -> None:
    import uvicorn
    from dapr.ext.fastapi import DaprApp

    app = FastAPI()
    dapr = DaprApp(app)

    def taking(topic: str, **more: Any) -> None:
        @dapr.subscribe(pubsub=PUBSUB, topic=topic, **more)
        async def take(request: Request) -> dict[str, str]:
            return {"status": handled(topic, (await request.json())["data"]).upper()}

    for topic in ("plain", "fickle", "dead"):
        taking(topic)
    taking("unwanted", dead_letter_topic="dead")

    @app.post("/echo")
    async def echo(request: Request) -> str:
        return "echo " + (await request.body()).decode()

    @app.post("/ticker")
    def ticker() -> None:
        Seen.bound.append(1)

    uvicorn.run(app, host="127.0.0.1", port=APP_PORT, log_level="warning")


def flask_app() -> None:
    from flask import Flask, request
    from flask_dapr import DaprApp

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    app = Flask("flask")
    dapr = DaprApp(app)

    def taking(topic: str, **more: Any) -> None:
        def take() -> dict[str, str]:
            return {"status": handled(topic, json.loads(request.data)["data"]).upper()}

        take.__name__ = topic
        dapr.subscribe(pubsub=PUBSUB, topic=topic, **more)(take)

    for topic in ("plain", "fickle", "dead"):
        taking(topic)
    taking("unwanted", dead_letter_topic="dead")
    app.post("/echo")(lambda: json.dumps("echo " + request.data.decode()))
    app.post("/ticker", endpoint="ticker")(lambda: Seen.bound.append(1) or "")
    app.run("127.0.0.1", APP_PORT)


def streams(dapr: DaprClient) -> None:
    def taking(topic: str, **more: Any) -> None:
        def take(message: Any) -> TopicEventResponse:
            return TopicEventResponse(handled(topic, message.data()))

        dapr.subscribe_with_handler(PUBSUB, topic, take, **more)

    for topic in ("plain", "fickle", "dead"):
        taking(topic)
    taking("unwanted", dead_letter_topic="dead")


def publish(dapr: DaprClient, topic: str, data: Any, **metadata: str) -> None:
    dapr.publish_event(PUBSUB, topic, json.dumps(data), data_content_type="application/json", publish_metadata=metadata)


async def steps(dapr: DaprClient, kind: str) -> None:
    for n in range(5):
        publish(dapr, "plain", {"n": n})
    await until(lambda: len(Seen.events) == 5)
    say("plain", Seen.events)
    Seen.events.clear()
    publish(dapr, "fickle", "f")
    publish(dapr, "unwanted", "u")
    await until(lambda: len(Seen.events) == 3)
    say("again and dead", [Seen.tries, sorted(Seen.events)])
    Seen.events.clear()
    dapr.publish_events(PUBSUB, "plain", [json.dumps(n) for n in range(3)], data_content_type="application/json")
    await until(lambda: len(Seen.events) == 3)
    say("bulk", sorted(Seen.events))
    Seen.events.clear()
    if kind != "stream":
        answer = await asyncio.to_thread(dapr.invoke_method, "sdk", "echo", b"hello", http_verb="POST")
        say("invoked", answer.data.decode())
        await until(lambda: len(Seen.bound) >= 2)
        say("bound", True)


def main() -> None:
    kind = sys.argv[1]
    threading.Timer(60, lambda: os._exit(3)).start()
    server = {"grpc": grpc_app, "fastapi": fastapi_app, "flask": flask_app}.get(kind)
    if server is not None:
        threading.Thread(target=server, daemon=True).start()
    with DaprClient() as dapr:
        if kind == "stream":
            streams(dapr)
        asyncio.run(ready())
        asyncio.run(steps(dapr, kind))
    os._exit(0)


async def ready() -> None:
    """Wait until the app's subscriptions are there."""
    while True:
        with urllib.request.urlopen(f"http://127.0.0.1:{os.environ['DAPR_HTTP_PORT']}/v1.0/metadata") as answer:
            if len(json.load(answer).get("subscriptions", [])) >= 4:
                return
        await asyncio.sleep(0.02)


main()
