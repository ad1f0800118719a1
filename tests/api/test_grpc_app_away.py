"""A gRPC app that dies, comes back or hangs: its messages wait and arrive, each at least once."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

from edge.rpc.pb import appcallback_pb2
from tests.grpc_app import GrpcApp, Reply, Seen
from tests.harness import Sidecar, component, sidecar

LISTED = Reply(appcallback_pb2.ListTopicSubscriptionsResponse(subscriptions=[{"pubsub_name": "bus", "topic": "t"}]).SerializeToString())
DOCUMENTS = {"bus.yaml": component("bus", "pubsub.sqlite")}


def value(seen: Seen) -> Any:
    return json.loads(appcallback_pb2.TopicEventRequest.FromString(seen.data).data)


def publish(edged: Sidecar, *values: int) -> None:
    for each in values:
        assert edged.call("POST", "/v1.0/publish/bus/t", each).status == 204


def test_messages_for_an_app_that_is_down_arrive_when_it_is_back(tmp_path: Path) -> None:
    app = GrpcApp(answers={"ListTopicSubscriptions": LISTED, "OnTopicEvent": Reply()})
    app.up()
    try:
        with sidecar(tmp_path, app_port=app.port, resources=DOCUMENTS, flags=["--app-protocol", "grpc"]) as edged:
            edged.wait()
            publish(edged, 1)
            app.until(lambda: app.on("OnTopicEvent"))
            app.down()

            publish(edged, 2, 3)
            assert edged.call("POST", "/v1.0/invoke/test/method/m", {}).status == 503
            app.up()
            app.until(lambda: len(app.on("OnTopicEvent")) >= 3)

            assert [value(seen) for seen in app.on("OnTopicEvent")] == [1, 2, 3]
    finally:
        app.down()


def test_message_that_the_app_had_when_it_died_comes_again(tmp_path: Path) -> None:
    arrived, back = threading.Event(), threading.Event()

    def answer(seen: Seen) -> Reply:
        arrived.set()
        return Reply() if back.is_set() else Reply(after=1.0)

    app = GrpcApp(answers={"ListTopicSubscriptions": LISTED, "OnTopicEvent": answer})
    app.up()
    try:
        with sidecar(tmp_path, app_port=app.port, resources=DOCUMENTS, flags=["--app-protocol", "grpc"]) as edged:
            edged.wait()
            publish(edged, 7)
            assert arrived.wait(10)
            app.down()
            back.set()
            app.up()
            app.until(lambda: len(app.on("OnTopicEvent")) >= 2)

            events = [appcallback_pb2.TopicEventRequest.FromString(seen.data) for seen in app.on("OnTopicEvent")]
            assert {(event.id, event.data) for event in events} == {(events[0].id, b"7")}
    finally:
        app.down()


def test_app_that_is_replaced_by_another_process_is_found(tmp_path: Path) -> None:
    first = GrpcApp(answers={"ListTopicSubscriptions": LISTED, "OnTopicEvent": Reply()})
    first.up()
    second = GrpcApp(answers={"OnTopicEvent": Reply()}, port=first.port)
    try:
        with sidecar(tmp_path, app_port=first.port, resources=DOCUMENTS, flags=["--app-protocol", "grpc"]) as edged:
            edged.wait()
            publish(edged, 1)
            first.until(lambda: first.on("OnTopicEvent"))
            first.down()
            second.up()
            publish(edged, 2)
            second.until(lambda: second.on("OnTopicEvent"))

            assert [value(seen) for seen in second.on("OnTopicEvent")] == [2]
    finally:
        first.down()
        second.down()
