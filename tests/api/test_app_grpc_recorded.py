"""The exchanges of tests/data/app-grpc.jsonl: what a real gRPC app gets from a real sidecar, and what its answers lead to."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from google.protobuf.message_factory import GetMessageClass

from edge.rpc.pb import appcallback_pb2, common_pb2
from edge.rpc.pb.pool import POOL
from tests.grpc_app import GrpcApp, Reply, Seen, grpc_app
from tests.grpc_client import Client, wait_until
from tests.grpc_replay import Play, build
from tests.harness import Sidecar, component, sidecar
from tests.harness_mqtt import Broker, Plain, mosquitto, needs_mosquitto, plain
from tests.recorded import Row, body, normal, row, rows

pytestmark = needs_mosquitto
TOKEN = "t0k3n"
POLICY = """
apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata: {name: rz}
spec:
  policies: {retries: {pace: {policy: constant, duration: 700ms, maxRetries: 2}}}
  targets: {components: {hub: {inbound: {retry: pace}}}}
"""


def recorded_reply(answer: Row | None, method: str) -> Reply:
    """What the recording's app said."""
    if answer is None or answer["status"] == "OK":
        output = POOL.FindServiceByName(method.partition("/")[0]).methods_by_name[method.partition("/")[2]].output_type
        return Reply(build(output, _plain_any((answer or {}).get("message") or {})).SerializeToString())
    return Reply(code=grpc.StatusCode[answer["status"]], text=answer["message"])


def _plain_any(message: Any) -> Any:
    if isinstance(message, dict):
        kept = {key: _plain_any(value) for key, value in message.items() if key != "valueAsText"}
        return {"value": kept["value"]} if set(kept) == {"typeUrl", "value"} else kept
    return message


def seen_message(seen: Seen) -> Any:
    """The request as the recordings show it."""
    service, _, name = seen.path.lstrip("/").partition("/")
    message = GetMessageClass(POOL.FindServiceByName(service).methods_by_name[name].input_type).FromString(seen.data)
    if isinstance(message, common_pb2.InvokeRequest):
        return _invoke_json(message)
    return json_format.MessageToDict(message, descriptor_pool=POOL)


def _invoke_json(message: Any) -> Any:
    found = json_format.MessageToDict(message.__class__(method=message.method, content_type=message.content_type), descriptor_pool=POOL)
    found["data"] = {}
    if message.data.value:
        text = message.data.value.decode("utf-8", "replace")
        found["data"] = {"typeUrl": message.data.type_url, "value": base64.b64encode(message.data.value).decode(), "valueAsText": text}
    if message.HasField("http_extension"):
        found["httpExtension"] = json_format.MessageToDict(message.http_extension, descriptor_pool=POOL)
    return found


def metadata_of(items: list[Any]) -> list[tuple[str, Any]]:
    """Metadata in an order of its own; the agent is each runtime's."""
    found = []
    for name, value in items:
        if name == "user-agent":
            continue
        if isinstance(value, dict):
            value = base64.b64decode(value["base64"])
        found.append((name, {"<app-token>": TOKEN}.get(value, value) if isinstance(value, str) else value))
    return sorted(found, key=lambda item: (item[0], str(item[1])))


def differences(recorded: Row, seen: Seen) -> list[str]:
    """What the app got that daprd's app did not, and the reverse."""
    play, call = Play(None), recorded["call"]  # type: ignore[arg-type]
    found = [] if seen.path == f"/{call['method']}" else [f"{seen.path}, not {call['method']}"]
    found += play._compare("message", _readable(call["message"]), _readable(seen_message(seen)))
    wanted = {name: value for name, value in metadata_of(call["metadata"])}
    got = {name: value for name, value in metadata_of([list(item) for item in seen.metadata])}
    found += play._compare("metadata", wanted, got)
    if (call["deadline_s"] is None) is not (seen.deadline is None):
        found.append(f"deadline {seen.deadline}, not {call['deadline_s']}")
    return [f"{recorded['id']}: {text}" for text in found]


def _readable(message: Any) -> Any:
    """A message whose data may hold ids and times."""
    if not isinstance(message.get("data"), str):
        return message
    return message | {"data": normal(base64.b64decode(message["data"]).decode("utf-8", "backslashreplace"))}


class Forge:
    """The setup G1: the app, its sidecar, a broker and a plain MQTT client."""

    def __init__(self, app: GrpcApp, edged: Sidecar, outside: Plain) -> None:
        self.app, self.edged, self.outside = app, edged, outside

    def one_call(self, method: str, trigger: Any) -> Seen:
        """The first call of a method that the trigger causes."""
        before = len(self.app.on(method))
        trigger()
        self.app.until(lambda: len(self.app.on(method)) > before)
        return self.app.on(method)[before]


def resources(broker: Broker) -> dict[str, str]:
    def mqtt(name: str, topic: str, client: str, **more: str) -> str:
        return component(name, "bindings.mqtt3", {"url": broker.url, "topic": topic, "consumerID": client, **more})

    return {
        "hub.yaml": component("hub", "pubsub.in-memory"),
        "wire.yaml": component("wire", "pubsub.mqtt3", {"url": broker.url, "qos": "1", "consumerID": "gw"}),
        "door.yaml": mqtt("door", "door/#", "gd", qos="1"),
        "unlisted.yaml": mqtt("unlisted", "unl", "gu"),
        "tick.yaml": component("tick", "bindings.cron", {"schedule": "@every 1s"}),
        "sink.yaml": mqtt("sink", "sink/out", "gs", direction="output"),
    }


def start_answers() -> dict[str, Any]:
    listed = [row("app-grpc", f"grpc/start/{name}") for name in ("ListTopicSubscriptions", "ListInputBindings")]
    replies = {one["id"].rpartition("/")[2]: recorded_reply(one["answer"], one["call"]["method"]) for one in listed}
    return {**replies, "OnTopicEvent": Reply(), "OnBindingEvent": Reply(), "OnBulkTopicEvent": all_success, "OnInvoke": Reply()}


def all_success(seen: Seen) -> Reply:
    entries = appcallback_pb2.TopicEventBulkRequest.FromString(seen.data).entries
    statuses = [{"entry_id": entry.entry_id} for entry in entries]
    return Reply(appcallback_pb2.TopicEventBulkResponse(statuses=statuses).SerializeToString())


@pytest.fixture(scope="module")
def forge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forge]:
    folder = tmp_path_factory.mktemp("forge")
    with mosquitto(folder) as broker, grpc_app(answers=start_answers()) as app, plain(broker.port, "outside") as outside:
        outside.subscribe("sink/out")
        settings = {"app_id": "forge", "app_port": app.port, "resources": resources(broker), "flags": ["--app-protocol", "grpc"]}
        with sidecar(folder, env={"APP_API_TOKEN": TOKEN}, **settings) as edged:
            edged.wait()
            wait_until(lambda: "door" in (folder / "broker" / "mosquitto.log").read_text())
            yield Forge(app, edged, outside)


# --- start
def test_the_app_is_asked_as_recorded(forge: Forge) -> None:
    found = []
    for name in ("ListTopicSubscriptions", "ListInputBindings"):
        (seen,) = forge.app.on(name)
        found += differences(row("app-grpc", f"grpc/start/{name}"), seen)

    assert not found
    assert [seen.method for seen in forge.app.seen[:2]] == ["ListTopicSubscriptions", "ListInputBindings"]
    listed = forge.edged.call("GET", "/v1.0/metadata").json()["subscriptions"]
    recorded = row("app-grpc", "grpc/start/ListTopicSubscriptions")["consequence"]["subscriptions_in_metadata"]
    assert listed[: len(recorded)] == recorded


# --- events
@pytest.mark.parametrize("recorded", rows("app-grpc", "grpc/topic/"), ids=lambda one: one["id"])
def test_event_reaches_the_app_as_recorded(forge: Forge, recorded: Row) -> None:
    trigger, method = recorded["trigger"], recorded["call"]["method"].rpartition("/")[2]
    target = f"/v1.0/publish/{trigger['pubsub']}/{trigger['topic']}{trigger['query']}"
    headers = {"content-type": trigger["content_type"], **trigger["headers"]}

    data = body(trigger["body"]).replace(b"<time>", b"2026-11-25T10:00:00Z")
    seen = forge.one_call(method, lambda: forge.edged.call("POST", target, data, headers))

    assert not differences(recorded, seen)


@pytest.mark.parametrize("recorded", rows("app-grpc", "grpc/answer/"), ids=lambda one: one["id"])
def test_answer_leads_to_what_is_recorded(forge: Forge, recorded: Row) -> None:
    name, consequence = recorded["trigger"]["do"].rpartition(".")[2], recorded["consequence"]
    reply = recorded_reply(recorded["answer"], recorded["call"]["method"])
    forge.app.answers["OnTopicEvent"] = lambda seen: reply if _topic(seen) == f"ans.{name}" else Reply()

    forge.edged.call("POST", f"/v1.0/publish/hub/ans.{name}", {"k": name})
    forge.edged.call("POST", f"/v1.0/publish/hub/ansdead.{name}", "last")
    wanted = {f"ans.{name}": consequence["calls"], f"ansdead.{name}": consequence["dead_lettered"] + 1}
    forge.app.until(lambda: all(_count(forge.app, topic) >= count for topic, count in wanted.items()))

    assert {topic: _count(forge.app, topic) for topic in wanted} == wanted
    forge.app.answers["OnTopicEvent"] = Reply()


def _topic(seen: Seen) -> str:
    return str(appcallback_pb2.TopicEventRequest.FromString(seen.data).topic)


def _count(app: GrpcApp, topic: str) -> int:
    return sum(_topic(seen) == topic for seen in app.on("OnTopicEvent"))


# --- bindings
BINDINGS = [one for one in rows("app-grpc", "grpc/binding/") if one["call"] and "payload" in one["trigger"]]


@pytest.mark.parametrize("recorded", BINDINGS, ids=lambda one: one["id"])
def test_binding_event_and_what_its_answer_leads_to(forge: Forge, recorded: Row) -> None:
    reply = recorded_reply(recorded["answer"], recorded["call"]["method"])
    given = iter((reply,))
    forge.app.answers["OnBindingEvent"] = lambda seen: next(given, Reply()) if _binding(seen) == "door" else Reply()
    at, before = len(forge.outside.got), len(_doors(forge))
    forge.outside.publish(recorded["trigger"]["topic"], body(recorded["trigger"]["payload"]))
    forge.app.until(lambda: len(_doors(forge)) > before)

    assert not differences(recorded, _doors(forge)[before])
    wanted = [text.encode() for text in recorded["consequence"]["seen_on_sink/out"]]
    wait_until(lambda: len(forge.outside.got) - at >= len(wanted))
    assert [message.payload for message in forge.outside.got[at:]] == wanted
    if recorded["answer"]["status"] != "OK":  # daprd leaves it with the broker until a reconnect; here it comes again
        forge.app.until(lambda: len(_doors(forge)) > before + 1)


def test_numbers_for_an_output_binding_are_written_as_floats_but_large_ones_stay(forge: Forge) -> None:
    answer = appcallback_pb2.BindingEventResponse(data=b'{"n":1.50,"e":1e3,"big":9007199254740993}', to=["sink"])
    given = iter((Reply(answer.SerializeToString()),))
    forge.app.answers["OnBindingEvent"] = lambda seen: next(given, Reply()) if _binding(seen) == "door" else Reply()
    at = len(forge.outside.got)

    forge.outside.publish("door/numbers", "x")

    wait_until(lambda: len(forge.outside.got) > at)
    assert forge.outside.got[at].payload == b'{"big":9007199254740993,"e":1000,"n":1.5}'


def _binding(seen: Seen) -> str:
    return str(appcallback_pb2.BindingEventRequest.FromString(seen.data).name)


def _doors(forge: Forge) -> list[Seen]:
    return [seen for seen in forge.app.on("OnBindingEvent") if _binding(seen) == "door"]


def test_binding_that_the_app_does_not_list_is_not_read(forge: Forge) -> None:
    forge.outside.publish("unl", "x")
    forge.one_call("OnBindingEvent", lambda: forge.outside.publish("door/n", "after"))

    assert {_binding(seen) for seen in forge.app.on("OnBindingEvent")} <= {"door", "tick"}


def test_cron_fires_with_its_metadata(forge: Forge) -> None:
    forge.app.until(lambda: any(_binding(seen) == "tick" for seen in forge.app.on("OnBindingEvent")))

    seen = next(seen for seen in forge.app.on("OnBindingEvent") if _binding(seen) == "tick")
    message = seen_message(seen)
    assert set(message["metadata"]) == {"timeZone", "readTimeUTC"}
    assert ("traceparent", "00-00000000000000000000000000000000-0000000000000000-00") in seen.metadata


# --- invocation
HEADERS = {"x-one": "1", "x-two": "b", "content-type": "application/json", "accept-encoding": "identity"}
SNIFFED = {"grpc/invoke/answer-no-type": ("content-type",)}  # Go makes one up from the body
INVOCATIONS = [one for one in rows("app-grpc", "grpc/invoke/") if one["id"] not in ("grpc/invoke/grpc", "grpc/invoke/grpc-status")]


@pytest.mark.parametrize("recorded", INVOCATIONS, ids=lambda one: one["id"])
def test_http_invocation_reaches_the_app_and_its_answer_the_caller(forge: Forge, recorded: Row) -> None:
    trigger, caller = recorded["trigger"], recorded["consequence"]["caller_gets"]
    forge.app.answers["OnInvoke"] = recorded_reply(recorded["answer"], recorded["call"]["method"])
    verb, target = trigger.get("verb", "GET"), trigger.get("target", "/v1.0/invoke/forge/method/strike")
    headers = HEADERS if "target" in trigger else {"accept-encoding": "identity"}
    data = b'{"x":1}' if "dapr-content-length" in dict(metadata_of(recorded["call"]["metadata"])) else None
    answers = []

    seen = forge.one_call("OnInvoke", lambda: answers.append(forge.edged.call(verb, target, data, headers)))

    assert not differences(recorded, seen)
    (answer,) = answers
    assert (answer.status, answer.body) == (caller["status"], body(caller["body"]))
    wanted = dict(map(tuple, caller["headers"])) | {"date": answer.headers["date"]}
    framing = ("transfer-encoding", "content-length", *SNIFFED.get(recorded["id"], ()))
    assert {k: v for k, v in answer.headers.items() if k not in framing} == {k: v for k, v in wanted.items() if k not in framing}


@pytest.mark.parametrize("id_", ["grpc/invoke/grpc", "grpc/invoke/grpc-status"])
def test_grpc_invocation_reaches_the_app_and_its_answer_the_caller(forge: Forge, id_: str) -> None:
    recorded = row("app-grpc", id_)
    caller, sent = recorded["consequence"]["caller_gets"], recorded["call"]["message"]
    forge.app.answers["OnInvoke"] = recorded_reply(recorded["answer"], recorded["call"]["method"])
    extension = sent["httpExtension"]
    invoke = common_pb2.InvokeRequest(
        method="bend",
        data={"type_url": "t/u", "value": b"iron"},
        content_type="text/plain",
        http_extension=json_format.ParseDict(extension, common_pb2.HTTPExtension()),
    )
    request = b"\x0a\x05forge\x1a" + bytes((len(invoke.SerializeToString()),)) + invoke.SerializeToString()
    results = []

    with Client(forge.edged.grpc_port) as client:
        metadata = (("x-key", "v"), ("x-key", "w"), ("x-b-bin", b"\x00\x01"))
        seen = forge.one_call("OnInvoke", lambda: results.append(client.raw(client.path("InvokeService"), request, metadata)))

    assert not differences(recorded, seen)
    assert [value for key, value in seen.metadata if key == "x-key"] == ["v", "w"]
    (result,) = results
    assert (result.code, result.text) == (caller.get("status", "OK"), caller.get("details", ""))
    assert list(result.trailing.items()) == [tuple(item) for item in caller["trailing"]]
    if "message" in caller:
        assert common_pb2.InvokeResponse.FromString(result.message).data.value == base64.b64decode(caller["message"]["data"]["value"])
        assert list(result.initial.items()) == [tuple(item) for item in caller["initial"]]


# --- other setups
@pytest.mark.parametrize("kind", ["unimplemented", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("internal", "unavailable"))])
def test_list_calls_that_fail_leave_a_healthy_sidecar(tmp_path: Path, kind: str) -> None:
    recorded = row("app-grpc", f"grpc/start/list-{kind}")
    reply = recorded_reply(recorded["answer"], recorded["call"]["method"])
    documents = {
        "hub.yaml": component("hub", "pubsub.in-memory"),
        "tick.yaml": component("tick", "bindings.cron", {"schedule": "@every 1s"}),
    }
    with grpc_app(answers={"ListTopicSubscriptions": reply, "ListInputBindings": reply}) as app:
        with sidecar(tmp_path, app_id="forge", app_port=app.port, resources=documents, flags=["--app-protocol", "grpc"]) as edged:
            edged.wait()

            order = [f"AppCallback/{seen.method}" for seen in app.seen]
            assert order == [text.partition(" ")[0] for text in recorded["consequence"]["order"]]


def test_health_probes_gate_the_app_as_recorded(tmp_path: Path) -> None:
    flags = ["--enable-app-health-check", "--app-health-probe-interval", "1", "--app-health-threshold", "1", "--app-protocol", "grpc"]
    with grpc_app(answers={"HealthCheck": Reply()}) as app:
        with sidecar(
            tmp_path, app_id="forge", app_port=app.port, resources={"h.yaml": component("hub", "pubsub.in-memory")}, flags=flags
        ) as edged:
            edged.wait()
            app.until(lambda: len(app.on("HealthCheck")) >= 2)
            assert not differences(row("app-grpc", "grpc/health/probe"), app.on("HealthCheck")[0])
            assert [seen.method for seen in app.seen[:2]] == ["HealthCheck", "ListTopicSubscriptions"]
            app.answers["HealthCheck"] = Reply(code=grpc.StatusCode.UNIMPLEMENTED)
            wait_until(lambda: "App entered un-healthy status: Probe error: rpc error: code = Unimplemented desc = " in edged.log())

            refused = edged.call("POST", "/v1.0/invoke/forge/method/m", {})

    assert refused.status == 500
    assert "app is not in a healthy state" in refused.body.decode()


@pytest.mark.parametrize("recorded", rows("app-grpc", "grpc/answer-policy/"), ids=lambda one: one["id"])
def test_retry_policy_decides_as_recorded(tmp_path: Path, recorded: Row) -> None:
    name, consequence = recorded["trigger"]["do"].rpartition(".")[2], recorded["consequence"]
    reply, topic = recorded_reply(recorded["answer"], recorded["call"]["method"]), f"ans.{name}"
    listed = [{"pubsub_name": "hub", "topic": topic, "dead_letter_topic": "dead"}, {"pubsub_name": "hub", "topic": "dead"}]
    subscriptions = Reply(appcallback_pb2.ListTopicSubscriptionsResponse(subscriptions=listed).SerializeToString())
    answers = {"ListTopicSubscriptions": subscriptions, "OnTopicEvent": lambda seen: reply if _topic(seen) == topic else Reply()}
    documents = {"hub.yaml": component("hub", "pubsub.in-memory"), "policy.yaml": POLICY.replace("700ms", "70ms")}
    with grpc_app(answers=answers) as app:
        with sidecar(tmp_path, app_id="forge", app_port=app.port, resources=documents, flags=["--app-protocol", "grpc"]) as edged:
            edged.wait()
            edged.call("POST", f"/v1.0/publish/hub/{topic}", {"k": name})
            app.until(lambda: _count(app, topic) >= consequence["calls"] and _count(app, "dead") >= consequence["dead_lettered"])
            edged.call("POST", "/v1.0/publish/hub/dead", "last")
            app.until(lambda: _count(app, "dead") > consequence["dead_lettered"])

            assert (_count(app, topic), _count(app, "dead")) == (consequence["calls"], consequence["dead_lettered"] + 1)


def test_jobs_reach_the_app_as_recorded(tmp_path: Path) -> None:
    recorded = [one for one in rows("app-grpc", "grpc/job/") if one["consequence"]["calls"] <= 2]
    answers: dict[str, Any] = {"OnJobEvent": lambda seen: _job_reply(recorded, seen, stable=True), "OnJobEventAlpha1": Reply()}
    with grpc_app(answers=answers) as app:
        with sidecar(tmp_path, app_id="forge", app_port=app.port, flags=["--app-protocol", "grpc"], env={"APP_API_TOKEN": TOKEN}) as edged:
            edged.wait()
            for one in recorded:
                target = one["trigger"]["do"].partition(" ")[2]
                assert edged.call("POST", target, one["trigger"]["body"]).status == one["trigger"]["status"]
            app.until(lambda: len(app.on("OnJobEvent")) == len(recorded) and app.on("OnJobEventAlpha1"))

            by_name = {seen_message(seen)["name"]: seen for seen in app.on("OnJobEvent")}
            assert not [text for one in recorded for text in differences(one, by_name[one["call"]["message"]["name"]])]
            assert [seen_message(seen)["name"] for seen in app.on("OnJobEventAlpha1")] == ["alphafallback"]
            wait_until(lambda: edged.call("GET", "/v1.0-alpha1/jobs/notfound").status == 500)  # NotFound ends a job


def _job_reply(recorded: list[Row], seen: Seen, *, stable: bool) -> Reply:
    name = seen_message(seen)["name"]
    one = next(one for one in recorded if one["call"]["message"]["name"] == name)
    return recorded_reply(one["answer"], one["call"]["method"])
