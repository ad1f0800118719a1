"""The recorded publish/subscribe sessions of daprd, done again: what is published and what the app then gets (setups-app.md P1, A, B)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest

from edge.blocks.pubsub import BulkEntry, PublishOptions
from edge.errors import EdgeError
from edge.model import Rule, Subscription
from edge.resiliency import Policy, Retry
from tests.apps import Answer, Seen, plain
from tests.harness_mqtt import mosquitto, needs_mosquitto
from tests.harness_mqtt import plain as plain_client
from tests.recorded import Row, body, filled, normal, row, rows
from tests.rig import Rig, rig

RAW = {"rawPayload": "true"}
SILO = [
    {"match": 'event.type == "silo.alarm.v3"', "path": "/silo/alarm"},
    {"match": "has(event.data.level) && int(event.data.level) > 80", "path": "/silo/high"},
    {"match": 'event.subject.startsWith("north/")', "path": "/silo/north"},
]
ONLY = {"rules": [{"match": 'event.type == "only.this"', "path": "/strict/hit"}]}
TOLD = [
    {"pubsubname": "hub", "topic": "kiln.heat", "route": "/in/heat"},
    {"pubsubname": "hub", "topic": "kiln.raw", "route": "in/rawheat", "metadata": RAW},
    {"pubsubname": "hub", "topic": "silo", "routes": {"rules": SILO, "default": "/silo/any"}},
    {"pubsubname": "hub", "topic": "silo.strict", "routes": ONLY, "deadLetterTopic": "silo.graveyard"},
    {"pubsubname": "hub", "topic": "silo.strict2", "routes": {"rules": [{**ONLY["rules"][0], "path": "/strict2/hit"}]}},
    {"pubsubname": "hub", "topic": "silo.graveyard", "route": "/grave"},
    {"pubsubname": "hub", "topic": "both", "route": "/v1route", "routes": {"default": "/v2default"}},
    {"pubsubname": "hub", "topic": "noroute"},
    {"pubsubname": "hub", "topic": "emptyroute", "route": ""},
    {"pubsubname": "hub", "topic": "query", "route": "/in/q?unit=celsius&x=%20y"},
    {"pubsubname": "wire", "topic": "tide/gauge/7", "route": "/in/tide"},
    {"pubsubname": "wire", "topic": "tide/rawgauge", "route": "/in/tideraw", "metadata": RAW},
    {"pubsubname": "wire", "topic": "buoy/+/temp", "route": "/in/buoy"},
    {"pubsubname": "wire", "topic": "harbour/#", "route": "/in/harbour", "metadata": RAW},
]
GLAZE = (Rule('event.data.kind == "glaze"', "/decl/glaze"), Rule("", "/decl/emptymatch"), Rule("", "/decl/rest"))
DECLARED = [
    Subscription("hub", "kiln.decl1", (Rule("", "/decl/one"),), metadata={"colour": "red"}),
    Subscription("hub", "kiln.decl2", GLAZE),
    Subscription("hub", "kiln.declraw", (Rule("", "/decl/raw"),), metadata=RAW),
    Subscription("hub", "kiln.heat", (Rule("", "/decl/clash"),)),
    Subscription("hub", "twice", (Rule("", "/decl/twice-a"),)),
    Subscription("hub", "twice", (Rule("", "/decl/twice-b"),)),
]
P1 = [r for r in rows("app-http", "pubsub/") if "do" in r["trigger"] and not r["id"].endswith(("metadata-after-start", "stop"))]
BULK_ENTRIES = (
    BulkEntry("a", b'{"a":1}', "application/json", {"cloudevent.type": "bulk.t"}),
    BulkEntry("b", b"plain", "text/plain"),
    BulkEntry("c", b"\x00\x01\x02", "application/octet-stream"),
)


async def publish(made: Rig, trigger: Row) -> None:
    url = urlsplit(filled(trigger["target"]))
    name, topic = (unquote(part) for part in url.path.removeprefix("/v1.0/publish/").split("/", 1))
    headers = {key.lower(): value for key, value in trigger["headers"]}
    metadata = {key.removeprefix("metadata."): value for key, value in parse_qsl(url.query) if key.startswith("metadata.")}
    options = PublishOptions(headers.get("content-type", ""), metadata, headers.get("traceparent", ""), headers.get("tracestate", ""))
    data = body(filled(trigger["body"]) if isinstance(trigger["body"], str) else trigger["body"])
    try:
        await made.pubsub.publish(made.app, name, topic, data, options)
    except EdgeError as error:
        assert (error.http, error.code.tag) == (
            trigger["publish_answer"]["status"],
            json.loads(trigger["publish_answer"]["body"])["errorCode"],
        )


async def do(made: Rig, recorded: Row, peer: Any) -> None:
    """What was done from outside."""
    trigger = recorded["trigger"]
    match trigger["do"].split():
        case ["publish", "over", "HTTP"]:
            await publish(made, trigger)
        case ["publish", "over", "gRPC", _]:
            name = "wire" if trigger["topic"].startswith("tide") else "hub"
            options = PublishOptions(trigger["data_content_type"], trigger["metadata"])
            await made.pubsub.publish(made.app, name, trigger["topic"], body(trigger["data"]), options)
        case ["plain", "MQTT", *_]:
            payload = body(filled(trigger["payload"]) if isinstance(trigger["payload"], str) else trigger["payload"])
            peer.publish(trigger["topic"], payload, qos=trigger.get("qos", 1), retain=trigger.get("retain", False))
        case ["POST", *_]:
            entry = BULK_ENTRIES[{"bulk-publish-entry-1": 2, "bulk-publish-entry-2": 0, "bulk-publish-entry-3": 1}[recorded["id"][7:]]]
            assert await made.pubsub.publish_bulk(made.app, "hub", "kiln.heat", [entry], PublishOptions()) == []
        case other:
            raise AssertionError(other)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[list[Seen], int]]:
    """Row id → what the app got and its port: all of P1 in one session, as recorded."""
    folder = tmp_path_factory.mktemp("p1")
    found: dict[str, tuple[list[Seen], int]] = {}

    async def run(url: str, port: int) -> None:
        wire = {"url": url, "qos": "1", "consumerID": "rec-c1"}
        components = {"hub": ("pubsub.in-memory", {}), "wire": ("pubsub.mqtt3", wire)}
        async with rig(folder, components, TOLD, app_id="kilnapp") as made:
            await made.start(*DECLARED)
            await until_subscribed(made)
            made.server.seen.clear()
            with plain_client(port) as peer:
                for recorded in P1:
                    await do(made, recorded, peer)
                    if recorded["request"]:
                        await made.server.until(lambda: made.server.seen)
                    else:
                        await asyncio.sleep(0.03)
                    found[recorded["id"]] = (list(made.server.seen), made.server.port)
                    made.server.seen.clear()

    with mosquitto(folder) as broker:
        asyncio.run(run(broker.url, broker.port))
    return found


async def until_subscribed(made: Rig) -> None:
    """The broker has the last of the subscriptions."""
    async with asyncio.timeout(5):
        while not made.server.on("/in/harbour"):
            await made.publish("wire", "harbour/probe", rawPayload="true")
            await asyncio.sleep(0.05)
    await asyncio.sleep(0.05)


@needs_mosquitto
@pytest.mark.parametrize("recorded", P1, ids=lambda r: r["id"])
def test_app_gets_what_it_gets_from_daprd(recorded: Row, session: dict[str, tuple[list[Seen], int]]) -> None:
    seen, port = session[recorded["id"]]

    if recorded["request"] is None:
        assert seen == []
        return

    assert len(seen) == 1
    request = plain(seen[0], port)
    expected = dict(recorded["request"])
    if ["Content-Length", "<length>"] in expected["headers"]:
        request["headers"] = [[n, "<length>" if n == "Content-Length" else v] for n, v in request["headers"]]
        request["headers"] = [[n, normal(v)] for n, v in request["headers"]]
    request["body"] = normal(request["body"])
    if '"data_base64":"eyJ' in request["body"] and "plain" in recorded["id"] + "plain":  # a wrapped event inside: its id and time differ
        request["body"], expected["body"] = _unpacked(request["body"]), _unpacked(expected["body"])
    if "expiration" in request["body"]:
        request["headers"], expected["headers"] = (sorted(h) for h in (request["headers"], expected["headers"]))
    if "<time>" in str(expected["body"]):
        request["headers"] = [[n, "<length>" if n == "Content-Length" else v] for n, v in request["headers"]]
        expected["headers"] = [[n, "<length>" if n == "Content-Length" else v] for n, v in expected["headers"]]
    assert request == expected


def _unpacked(text: str) -> Any:
    import base64

    event = json.loads(text)
    event["data_base64"] = normal(base64.b64decode(event["data_base64"]).decode())
    return event


# --- answers: A1-A4, A6-A8, ten times as fast
GROUPS = {
    "A1": ("pubsub.in-memory", None, False),
    "A2": ("pubsub.in-memory", None, True),
    "A3": ("pubsub.in-memory", Retry(duration=0.07, max_retries=3), False),
    "A4": ("pubsub.in-memory", Retry(duration=0.07, max_retries=3), True),
    "A6": ("pubsub.mqtt3", None, True),
    "A7": ("pubsub.mqtt3", Retry(duration=0.07, max_retries=3), True),
}


async def answered(folder: Path, group: str, url: str) -> dict[str, tuple[int, list[Seen], list[Seen]]]:
    """Row id → deliveries, requests, dead letters."""
    type_, retry, dead = GROUPS[group]
    members = [r for r in rows("app-http", f"answers/{group}") if not r["id"].endswith("after-restart")]
    topics = {r["id"]: f"a/{at}" for at, r in enumerate(members)}
    told = [
        {"pubsubname": "hub", "topic": topic, "route": f"/{topic}", **({"deadLetterTopic": f"morgue/{topic}"} if dead else {})}
        for topic in topics.values()
    ]
    told += [{"pubsubname": "hub", "topic": f"morgue/{topic}", "route": f"/morgue/{topic}"} for topic in topics.values()]
    answers = {f"/{topics[r['id']]}": Answer.recorded(r["answer"]) for r in members}
    policy = Policy("component[hub] input", retry=retry) if retry else None
    raw = {"url": url, "qos": "1", "consumerID": group} if url else {}

    async with rig(folder, {"hub": (type_, raw)}, told, answers, policy_of=lambda app, name: policy) as made:
        await made.start()
        for topic in topics.values():
            await made.publish("hub", topic, b'{"n":1}')
        expected = sum(r["consequence"]["deliveries"] + r["consequence"].get("dead_lettered", 0) for r in members)
        await made.server.until(lambda: len([s for s in made.server.seen if s.method == "POST"]) >= expected)
        await asyncio.sleep(0.15)
        return {
            id_: (len(made.server.on(f"/{topic}")), made.server.on(f"/{topic}"), made.server.on(f"/morgue/{topic}"))
            for id_, topic in topics.items()
        }


@needs_mosquitto
@pytest.mark.parametrize("group", GROUPS)
def test_answers_lead_to_what_they_lead_to_with_daprd(group: str, tmp_path: Path) -> None:
    if GROUPS[group][0] == "pubsub.mqtt3":
        with mosquitto(tmp_path) as broker:
            found = asyncio.run(answered(tmp_path, group, broker.url))
    else:
        found = asyncio.run(answered(tmp_path, group, ""))

    got = {id_: (count, len(dead)) for id_, (count, _, dead) in found.items()}
    want = {id_: row("app-http", id_)["consequence"] for id_ in found}
    assert got == {id_: (one["deliveries"], one.get("dead_lettered", 0)) for id_, one in want.items()}
    for _, requests, dead in found.values():
        assert all(request.body == requests[0].body for request in (*requests, *dead))
        gaps = [b.at - a.at for a, b in pairwise(requests)]
        assert all(0.06 < gap < 0.3 for gap in gaps), gaps


def test_timeout_of_the_policy_ends_an_attempt(tmp_path: Path) -> None:
    policy = Policy("component[hub] input", 0.12, Retry(duration=0.07, max_retries=3))
    told = [{"pubsubname": "hub", "topic": t, "route": f"/{t}", "deadLetterTopic": "dead"} for t in ("slowall", "slowfirst")]
    told.append({"pubsubname": "hub", "topic": "dead", "route": "/dead"})
    answers = {"/slowall": Answer(after=0.3), "/slowfirst": [Answer(after=0.3), Answer()]}

    async def run() -> list[int]:
        async with rig(tmp_path, {"hub": ("pubsub.in-memory", {})}, told, answers, policy_of=lambda app, name: policy) as made:
            await made.start()
            await made.publish("hub", "slowall")
            await made.publish("hub", "slowfirst")
            await made.server.until(lambda: made.server.on("/dead"))
            await asyncio.sleep(0.05)
            return [len(made.server.on(path)) for path in ("/slowall", "/slowfirst", "/dead")]

    counts = asyncio.run(run())

    assert counts == [row("app-http", f"answers/A8/{name}")["consequence"]["deliveries"] for name in ("slowall", "slowfirst")] + [1]


# --- bulk: B1-B3, ten times as fast
def bulk_answer(recorded: Row) -> Callable[[Seen], Answer]:
    """The recorded answer with the ids of the request's entries."""

    def answer(request: Seen) -> Answer:
        recorded_answer = Answer.recorded(recorded["answer"])
        text = recorded_answer.body.decode()
        for entry in request.json()["entries"]:
            text = text.replace("<uuid>", entry["entryId"], 1)
        return Answer(recorded_answer.status, text.encode(), recorded_answer.headers)

    return answer


BULK = [r for r in rows("app-http", "bulk/") if r["id"] not in ("bulk/odd-retried-policy", "bulk/mqtt-retry")]


@needs_mosquitto
@pytest.mark.parametrize("recorded", BULK, ids=lambda r: r["id"])
def test_batches_are_those_of_daprd(recorded: Row, tmp_path: Path) -> None:
    mqtt, raw = "mqtt" in recorded["id"], recorded["id"] == "bulk/raw"
    most = 3 if "more-than-max" in recorded["id"] else 10
    bulk = {"enabled": True, "maxMessagesCount": most, "maxAwaitDurationMs": 150 if mqtt else 40}
    name = "wire" if mqtt else "hub"
    told: list[dict[str, Any]] = [
        {"pubsubname": name, "topic": "lot", "route": "/lot", "deadLetterTopic": "lotdead", "bulkSubscribe": bulk}
    ]
    told[0] |= {"metadata": RAW} if raw else {}
    told.append({"pubsubname": name, "topic": "lotdead", "route": "/lotdead"})
    want = recorded["consequence"]

    async def run(url: str) -> tuple[list[Seen], list[Seen]]:
        components: dict[str, Any] = {name: ("pubsub.mqtt3", {"url": url, "qos": "1"}) if mqtt else ("pubsub.in-memory", {})}
        async with rig(tmp_path, components, told, {"/lot": bulk_answer(recorded)}, app_id="lotapp") as made:
            await made.start()
            await asyncio.sleep(0.1 if mqtt else 0)
            for i in range(7 if most == 3 else 4):
                data = b"raw %d" % i if raw else b'{"i": %d}' % i
                await made.publish(name, "lot", data, "application/json", **(RAW if raw else {}))
            total = want["requests"] + want["dead_lettered"]
            await made.server.until(lambda: len(made.server.on("/lot")) + len(made.server.on("/lotdead")) >= total)
            await asyncio.sleep(0.05)
            return made.server.on("/lot"), made.server.on("/lotdead")

    if mqtt:
        with mosquitto(tmp_path) as broker:
            batches, dead = asyncio.run(run(broker.url))
    else:
        batches, dead = asyncio.run(run(""))

    assert [len(batch.json()["entries"]) for batch in batches] == want["entries_in_each"]
    assert len(dead) == want["dead_lettered"]
    assert [n for n, _ in batches[0].headers] == [n for n, _ in recorded["request"]["headers"]]
    assert normal(batches[0].body.decode()) == recorded["request"]["body"]


def test_only_failed_entries_are_tried_again(tmp_path: Path) -> None:
    policy = Policy("component[hub] input", retry=Retry(duration=0.05, max_retries=2))
    bulk = {"enabled": True, "maxMessagesCount": 4, "maxAwaitDurationMs": 1000}
    told = [{"pubsubname": "hub", "topic": "lot", "route": "/lot", "bulkSubscribe": bulk, "deadLetterTopic": "dead"}]

    def answer(request: Seen) -> Answer:
        statuses = []
        for entry in request.json()["entries"]:
            n = entry["event"]["data"]["n"]
            statuses.append({"entryId": entry["entryId"], "status": "RETRY" if n == 2 else "SUCCESS"})
        return Answer.json({"statuses": [*statuses, {"entryId": "stranger", "status": "DROP"}]})

    async def run() -> list[list[int]]:
        parts = {"hub": ("pubsub.sqlite", {})}
        async with rig(tmp_path, parts, told, {"/lot": answer}, policy_of=lambda app, name: policy) as made:
            await made.start()
            for n in range(4):
                await made.publish("hub", "lot", b'{"n":%d}' % n)
            await made.server.until(lambda: len(made.server.on("/lot")) == 3)
            return [[entry["event"]["data"]["n"] for entry in batch.json()["entries"]] for batch in made.server.on("/lot")]

    assert asyncio.run(run()) == [[0, 1, 2, 3], [2], [2]]


def test_metadata_lists_subscriptions_as_daprd_does(tmp_path: Path) -> None:
    async def run() -> list[tuple[str, str, list[str], str]]:
        components = {"hub": ("pubsub.in-memory", {}), "wire": ("pubsub.in-memory", {})}
        async with rig(tmp_path, components, TOLD, app_id="kilnapp") as made:
            await made.start(*DECLARED)
            return [(s.pubsub, s.topic, [rule.path for rule in s.rules], s.dead_letter_topic) for s in made.app.subscriptions]

    recorded = row("app-http", "pubsub/metadata-after-start")["consequence"]["subscriptions"]
    want = [(s["pubsubname"], s["topic"], [rule["path"] for rule in s["rules"]], s["deadLetterTopic"]) for s in recorded]
    assert asyncio.run(run()) == want
