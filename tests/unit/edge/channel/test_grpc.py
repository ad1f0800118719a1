"""What a gRPC app gets, message for message as daprd sends it, and how its answers are read."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest
from google.protobuf import json_format

from edge.app import App, AppRefused, AppUnavailable
from edge.channel.grpc import GrpcChannel
from edge.model import BindingEvent, BulkTopicEvent, InvokeRequest, JobData, JobEvent, Message, Rule, Status, TopicEvent
from edge.received import unwrap
from edge.rpc.pb import appcallback_pb2, common_pb2
from edge.rpc.pb.pool import POOL
from tests.grpc_app import UNIMPLEMENTED, GrpcApp, Reply, grpc_app
from tests.harness import free_port
from tests.recorded import Row, row, rows

TOKEN = "t0k3n"
ZEROS = "00-00000000000000000000000000000000-0000000000000000-00"
Talk = Callable[[GrpcChannel, GrpcApp], Awaitable[Any]]


def talk(script: Talk, answers: dict[str, Any] | None = None, **settings: Any) -> Any:
    """Run `script` with a channel to a scripted app."""

    async def run(app: GrpcApp) -> Any:
        channel = GrpcChannel(App("forge", port=app.port, protocol="grpc", **settings))
        try:
            return await script(channel, app)
        finally:
            await channel.close()

    with grpc_app(answers=answers or {}) as app:
        return asyncio.run(run(app))


def event_of(data: bytes, topic: str = "anvil", metadata: dict[str, str] | None = None, *, raw: bool = False) -> TopicEvent:
    message = Message(topic, data, metadata or {})
    received = unwrap(message, "hub", topic, raw=raw)
    return TopicEvent("hub", topic, "", received.body, received.event, message, raw)


def as_json(type_: Any, data: bytes) -> Any:
    return json_format.MessageToDict(type_.FromString(data), descriptor_pool=POOL)


EVENTS = [one for one in rows("app-grpc", "grpc/topic/ce") if one["call"]]


@pytest.mark.parametrize("recorded", EVENTS, ids=lambda one: one["id"])
def test_event_is_the_recorded_message(recorded: Row) -> None:
    expected = recorded["call"]["message"]
    published = json.loads(recorded["trigger"]["body"])
    event = event_of(json.dumps(expected["extensions"] | published).encode())

    async def script(channel: GrpcChannel, app: GrpcApp) -> None:
        assert (await channel.deliver(event)).status is Status.SUCCESS
        assert as_json(appcallback_pb2.TopicEventRequest, app.seen[0].data) == expected
        assert ("dapr-api-token", TOKEN) in app.seen[0].metadata
        assert app.seen[0].value("traceparent") == ZEROS
        assert app.seen[0].value("pubsubname") == "hub"

    talk(script, {"OnTopicEvent": Reply()}, app_token=TOKEN)


ANSWERS = rows("app-grpc", "grpc/answer/")


@pytest.mark.parametrize("recorded", ANSWERS, ids=lambda one: one["id"])
def test_answer_means_what_it_means_to_daprd(recorded: Row) -> None:
    answer, consequence = recorded["answer"], recorded["consequence"]
    if answer["status"] == "OK":
        reply = Reply(json_format.ParseDict(answer["message"], appcallback_pb2.TopicEventResponse()).SerializeToString())
    else:
        reply = Reply(code=grpc.StatusCode[answer["status"]], text=answer["message"])
    logs = " ".join(consequence.get("log", ()))
    dropped = "DROP status" in logs or "non-retriable" in logs
    expected = Status.RETRY if "retriable error while" in logs else Status.DROP if dropped else Status.SUCCESS

    async def script(channel: GrpcChannel, app: GrpcApp) -> None:
        delivery = await channel.deliver(event_of(b'{"id":"<uuid>"}'))
        assert delivery.status is expected
        assert delivery.dead_letter is (answer["status"] != "UNIMPLEMENTED")
        if dropped:
            assert delivery.reason == logs.removeprefix("warning: ")

    talk(script, {"OnTopicEvent": reply})


@pytest.mark.parametrize("stable", [True, False])
def test_batch_reaches_the_stable_or_the_alpha_method(stable: bool) -> None:
    events = {f"e{n}": event_of(b'{"id":"%d","datacontenttype":"application/json","data":{"n":%d}}' % (n, n)) for n in range(4)}
    batch = BulkTopicEvent("b", "hub", "anvil", "/p", tuple(events.items()), {"pubsubName": "hub"})
    statuses = [{"entry_id": "e0"}, {"entry_id": "e1", "status": 1}, {"entry_id": "e2", "status": 2}, {"entry_id": "other"}]
    reply = Reply(appcallback_pb2.TopicEventBulkResponse(statuses=statuses).SerializeToString())
    answers = {"OnBulkTopicEvent": reply} if stable else {"OnBulkTopicEvent": UNIMPLEMENTED, "OnBulkTopicEventAlpha1": reply}

    async def script(channel: GrpcChannel, app: GrpcApp) -> None:
        found = {id_: delivery.status for id_, delivery in (await channel.deliver_bulk(batch)).items()}
        assert found == {"e0": Status.SUCCESS, "e1": Status.RETRY, "e2": Status.DROP, "e3": Status.RETRY}
        request = appcallback_pb2.TopicEventBulkRequest.FromString(app.seen[-1].data)
        assert [entry.cloud_event.data for entry in request.entries] == [b'{"n":%d}' % n for n in range(4)]
        assert (request.path, request.topic, request.type) == ("/p", "anvil", "com.dapr.event.sent.bulk")

    talk(script, answers)


def test_batch_that_no_method_takes_is_dropped_without_dead_letter() -> None:
    batch = BulkTopicEvent("b", "hub", "anvil", "/p", (("e", event_of(b"{}")),))

    async def script(channel: GrpcChannel, app: GrpcApp) -> None:
        delivery = (await channel.deliver_bulk(batch))["e"]
        assert (delivery.status, delivery.dead_letter) == (Status.DROP, False)

    talk(script)


def test_entries_whose_data_contradict_their_type_are_left_out_and_tried_again() -> None:
    odd = b'{"id":"1","datacontenttype":"text/plain","data":{"no":"text"}}'
    deep = b'{"id":"1","datacontenttype":"application/json","data":%b}' % (b"[" * 900 + b"]" * 900)

    async def script(channel: GrpcChannel, app: GrpcApp) -> None:
        batch = BulkTopicEvent("b", "hub", "anvil", "/p", (("e", event_of(odd)),))
        assert (await channel.deliver_bulk(batch))["e"].status is Status.RETRY
        assert (await channel.deliver(event_of(odd))).status is Status.RETRY
        assert not app.seen
        answer = await channel.deliver(event_of(deep))
        assert answer.status is (Status.DROP if app.seen else Status.RETRY)  # how deep it can be depends on the interpreter

    talk(script)


def test_an_answer_that_is_no_message_is_an_error_of_the_app() -> None:
    batch = BulkTopicEvent("b", "hub", "anvil", "/p", (("e", event_of(b"{}")),))
    names = ("OnTopicEvent", "OnBulkTopicEvent", "ListInputBindings", "OnBindingEvent", "OnInvoke")

    async def script(channel: GrpcChannel, app: GrpcApp) -> None:
        one, many = await channel.deliver(event_of(b"{}")), await channel.deliver_bulk(batch)
        assert (one.status, one.code, many["e"].status) == (Status.RETRY, 13, Status.RETRY)
        assert not await channel.wants_binding("door", "", 3.0)
        with pytest.raises(AppRefused, match="code = Internal desc = grpc: failed to unmarshal the received message"):
            await channel.trigger("door", "", BindingEvent(b""))
        assert (await channel.invoke(InvokeRequest("POST", "strike", "", [], b"", None))).status == 500

    talk(script, dict.fromkeys(names, Reply(b"\xff\xff")))


def test_subscriptions_are_read_as_daprd_reads_them() -> None:
    recorded = row("app-grpc", "grpc/start/ListTopicSubscriptions")
    listed = json_format.ParseDict(recorded["answer"]["message"], appcallback_pb2.ListTopicSubscriptionsResponse())

    async def script(channel: GrpcChannel, app: GrpcApp) -> None:
        found = {one.topic: one for one in await channel.subscriptions()}
        assert found["anvil"].rules == (Rule("", ""),)
        assert found["tongs"].rules == (Rule('event.type == "hot"', "/hot"), Rule("", "/rest"))
        assert found["tongs"].dead_letter_topic == "tongs.dead"
        assert (found["nails"].bulk.max_messages, found["nails"].bulk.max_await) == (5, 0.3)
        assert (found["nails.raw"].bulk.max_messages, found["nails.raw"].raw) == (100, True)
        assert app.seen[0].value("dapr-api-token") is None

    talk(script, {"ListTopicSubscriptions": Reply(listed.SerializeToString())}, app_token=TOKEN)


def test_app_without_list_methods_has_neither_subscriptions_nor_bindings() -> None:
    async def script(channel: GrpcChannel, app: GrpcApp) -> None:
        assert await channel.subscriptions() == []
        assert not await channel.wants_binding("door", "", 3.0)
        assert not await channel.wants_binding("tick", "", 3.0)
        assert [seen.method for seen in app.seen] == ["ListTopicSubscriptions", "ListInputBindings"]
        assert app.seen[1].deadline is not None

    talk(script)


def test_binding_event_and_its_answer() -> None:
    answer = appcallback_pb2.BindingEventResponse(data=b"[1]", to=["sink", "sink"], concurrency="PARALLEL")

    async def script(channel: GrpcChannel, app: GrpcApp) -> None:
        result = await channel.trigger("door", "/route", BindingEvent(b"\x00\xff", {"topic": "door/n"}))
        assert (result.data, result.to, result.parallel) == (b"[1]", ("sink", "sink"), True)
        sent = as_json(appcallback_pb2.BindingEventRequest, app.seen[0].data)
        assert sent == {"name": "door", "data": base64.b64encode(b"\x00\xff").decode(), "metadata": {"topic": "door/n"}}
        app.answers["OnBindingEvent"] = Reply(code=grpc.StatusCode.INTERNAL, text="jam")
        with pytest.raises(AppRefused, match="error invoking app: rpc error: code = Internal desc = jam"):
            await channel.trigger("door", "", BindingEvent(b""))

    talk(script, {"OnBindingEvent": Reply(answer.SerializeToString())})


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        (Reply(), Status.SUCCESS),
        (Reply(code=grpc.StatusCode.NOT_FOUND), Status.DROP),
        (Reply(code=grpc.StatusCode.INTERNAL), Status.RETRY),
        (UNIMPLEMENTED, Status.RETRY),
    ],
)
def test_job_event_and_its_answer(reply: Reply, status: Status) -> None:
    async def script(channel: GrpcChannel, app: GrpcApp) -> None:
        data = JobData("type.googleapis.com/google.protobuf.Value", b'{"ore":1}', is_json=True)
        assert (await channel.trigger_job(JobEvent("object", data))).status is status
        expected = row("app-grpc", "grpc/job/object")["call"]["message"]
        assert as_json(appcallback_pb2.JobEventRequest, app.seen[0].data) == expected

    talk(script, {"OnJobEvent": reply})


def test_invocation_status_and_details_reach_an_http_caller() -> None:
    async def script(channel: GrpcChannel, app: GrpcApp) -> None:
        headers = [("host", "x"), ("accept", "a/b"), ("x-one", "1"), ("x-b-bin", "AAE"), ("user-agent", "u"), ("content-type", "t/p")]
        answer = await channel.invoke(InvokeRequest("PRUNE", "strike", "a=1", headers, b"iron", "t/p"))
        assert (answer.status, answer.body) == (404, b'{"code":5, "message":"forge says no"}')
        assert answer.grpc_status == (5, "forge says no")
        sent = common_pb2.InvokeRequest.FromString(app.seen[0].data)
        assert (sent.method, sent.http_extension.verb, sent.data.value) == ("strike", 3, b"iron")
        metadata = {key: value for key, value in app.seen[0].metadata if key != "user-agent"}
        assert metadata == {"traceparent": ZEROS, "dapr-accept": "a/b", "x-one": "1", "x-b-bin": b"AAE", "dapr-content-type": "t/p"}

    talk(script, {"OnInvoke": Reply(code=grpc.StatusCode.NOT_FOUND, text="forge says no")})


def test_max_concurrency_limits_invocations() -> None:
    async def script(channel: GrpcChannel, app: GrpcApp) -> None:
        await asyncio.gather(*(channel.invoke(InvokeRequest("GET", "m")) for _ in range(6)))
        assert app.most_busy == 2

    talk(script, {"OnInvoke": Reply(after=0.02)}, max_concurrency=2)


def test_nobody_at_the_port_is_not_an_attempt() -> None:
    async def run() -> None:
        channel = GrpcChannel(App("forge", port=free_port(), protocol="grpc"))
        assert not await channel.reachable()
        with pytest.raises(AppUnavailable, match="connection refused") as caught:
            await channel.deliver(event_of(b"{}"))
        assert not caught.value.sent
        assert not await channel.healthy("", 0.5)
        answer = await channel.invoke(InvokeRequest("GET", "m"))
        assert (answer.status, answer.grpc_status is not None) == (503, True)
        await channel.close()

    asyncio.run(run())


def test_health_is_any_ok_answer() -> None:
    async def script(channel: GrpcChannel, app: GrpcApp) -> None:
        assert await channel.reachable()
        assert not await channel.healthy("", 1.0)
        assert channel.probe_failure == "Probe error: rpc error: code = Unimplemented desc = "
        app.answers["HealthCheck"] = Reply()
        assert await channel.healthy("", 1.0)

    talk(script)
