"""What an HTTP app gets, byte for byte as daprd sends it, and how its answers are read."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from edge.app import App, AppRefused, AppUnavailable, Callback
from edge.channel.fields import method_target, route_target
from edge.channel.http import HttpChannel
from edge.events import new_id
from edge.model import BindingEvent, BulkTopicEvent, ConfigItem, InvokeRequest, Message, Status, TopicEvent
from edge.received import unwrap
from tests.apps import Answer, ScriptedApp, plain
from tests.recorded import Row, body, filled, row, rows

TOKEN = "t0k3n"
Talk = Callable[[HttpChannel, ScriptedApp], Awaitable[Any]]


def talk(script: Talk, *, app_id: str = "orchard", token: str = "", down: bool = False, concurrency: int = -1) -> Any:
    """Run `script` with a channel to a scripted app."""

    async def run() -> Any:
        async with ScriptedApp(default=Answer(200)) as server:
            app = App(app_id, port=server.port, app_token=token, max_concurrency=concurrency)
            if down:
                await server.down()
            channel = HttpChannel(app)
            try:
                return await script(channel, server)
            finally:
                await channel.close()

    return asyncio.run(run())


def seen_as_recorded(server: ScriptedApp, recorded: Row, *, normalise: bool = True) -> None:
    """The first request to the app is the recorded one."""
    request = plain(server.seen[0], server.port, **({"app-token": TOKEN} if server.seen[0].header("dapr-api-token") else {}))
    expected = dict(recorded["request"])
    chunks = expected.pop("chunks", None)
    if expected["headers"] and ["Content-Length", "<length>"] in expected["headers"]:
        request["headers"] = [[name, "<length>" if name == "Content-Length" else value] for name, value in request["headers"]]
    if normalise:
        request["body"], expected["body"] = "", ""
    assert request == expected
    assert (server.seen[0].chunks is None) == (chunks is None)


def event_of(recorded: Row) -> TopicEvent:
    """The event that a recorded delivery was made of."""
    headers = dict(map(tuple, recorded["request"]["headers"]))
    standard = {"Host", "User-Agent", "Content-Length", "Content-Type", "Pubsubname", "Traceparent", "Accept-Encoding", "Dapr-Api-Token"}
    metadata = {name: value for name, value in headers.items() if name not in standard}
    data = body(filled(recorded["request"]["body"]))
    message = Message("t", data, metadata)
    received = unwrap(message, headers["Pubsubname"], "t", raw=False)
    return TopicEvent(headers["Pubsubname"], "t", recorded["request"]["target"], received.body, received.event, message)


DELIVERED = [r for r in rows("app-http", "pubsub/") if r["request"]]


@pytest.mark.parametrize("recorded", DELIVERED, ids=lambda r: r["id"])
def test_event_is_posted_as_daprd_posts_it(recorded: Row) -> None:
    event = event_of(recorded)

    async def script(channel: HttpChannel, server: ScriptedApp) -> None:
        assert (await channel.deliver(event)).status is Status.SUCCESS
        seen_as_recorded(server, recorded)
        assert server.seen[0].body == event.body

    talk(script)


OWN = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OTHER = "00-0af7651916cd43dd8448eb211c80319d-b7ad6b7169203331-01"


@pytest.mark.parametrize(("own", "trace"), [(OWN, OWN), ("", OTHER), (None, OTHER)])
def test_metadata_add_headers_but_replace_no_own_ones(own: str | None, trace: str) -> None:
    event = {} if own is None else {"traceparent": own}
    metadata = {"traceParent": OTHER, "pubsubName": "another", "Accept-Encoding": "br"}
    message = Message("t", b"{}", metadata)

    async def script(channel: HttpChannel, server: ScriptedApp) -> None:
        await channel.deliver(TopicEvent("hub", "t", "/t", b"{}", event, message))
        named = [(name.lower(), value) for name, value in server.seen[0].headers]
        found = [field for field in named if field[0] in ("traceparent", "pubsubname", "accept-encoding")]
        assert sorted(found) == [("accept-encoding", "br"), ("pubsubname", "hub"), ("traceparent", trace)]

    talk(script)


ANSWERS = [r for r in rows("app-http", "answers/A1") if isinstance(r.get("answer"), dict | str)]


@pytest.mark.parametrize("recorded", ANSWERS, ids=lambda r: r["id"].rsplit("/", 1)[1])
def test_answer_means_what_it_means_to_daprd(recorded: Row) -> None:
    logs = " ".join(recorded["consequence"].get("log", ()))
    status = recorded["answer"]["status"] if isinstance(recorded["answer"], dict) else 0
    text = recorded["answer"].get("body", "") if isinstance(recorded["answer"], dict) else ""
    dropped = status == 404 or ("DROP" in text and status < 300)
    expected = Status.RETRY if "retriable error" in logs else Status.DROP if dropped else Status.SUCCESS

    async def script(channel: HttpChannel, server: ScriptedApp) -> Status:
        server.default = Answer.recorded(recorded["answer"])
        try:
            return (await channel.deliver(event_of(DELIVERED[0]))).status
        except AppUnavailable as error:
            assert error.sent
            assert str(error).endswith('/in/heat": EOF')
            return Status.RETRY

    assert talk(script) is expected


def bulk_of(recorded: Row) -> tuple[BulkTopicEvent, list[str]]:
    """The batch that a recorded bulk delivery was made of, and the ids of its entries."""
    pubsub = dict(map(tuple, recorded["request"]["headers"]))["Pubsubname"]
    entries = []
    for at in range(recorded["request"]["body"].count('"entryId"')):
        data = b'{"id":"%d","traceid":"","data":{"i":%d}}' % (at, at)
        message = Message("lot", data)
        received = unwrap(message, pubsub, "lot", raw=False)
        entries.append((f"e{at}", TopicEvent(pubsub, "lot", "/lot", received.body, received.event, message)))
    return BulkTopicEvent(new_id(), pubsub, "lot", "/lot", tuple(entries), {"pubsubName": pubsub}), [id_ for id_, _ in entries]


BULK = [r for r in rows("app-http", "bulk/") if r["id"] != "bulk/raw"]


@pytest.mark.parametrize("recorded", BULK, ids=lambda r: r["id"])
def test_batch_is_posted_and_answered_as_with_daprd(recorded: Row) -> None:
    batch, ids = bulk_of(recorded)
    answer = Answer.recorded(recorded["answer"])
    text = answer.body.decode()
    for id_ in ids:
        text = text.replace("<uuid>", id_, 1)

    async def script(channel: HttpChannel, server: ScriptedApp) -> dict[str, Any]:
        server.default = Answer(answer.status, text.encode(), answer.headers)
        verdicts = await channel.deliver_bulk(batch)
        seen_as_recorded(server, recorded)
        return verdicts

    statuses = {verdict.status for verdict in talk(script).values()}
    dropped = recorded["id"] in ("bulk/all-drop", "bulk/404")
    lost = recorded["consequence"]["dead_lettered"] or "RETRY" in text
    odd = recorded["id"] == "bulk/odd-retried-policy"
    assert statuses == ({Status.DROP} if dropped else {Status.RETRY} if lost and not odd else {Status.SUCCESS})


def test_bulk_404_has_no_dead_letter() -> None:
    batch, _ = bulk_of(BULK[0])

    async def script(channel: HttpChannel, server: ScriptedApp) -> Any:
        server.default = Answer(404)
        return await channel.deliver_bulk(batch)

    assert not any(verdict.dead_letter for verdict in talk(script).values())


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_start_requests_are_daprds(number: int) -> None:
    recorded = row("app-http", f"startup/full-order/{number}")
    answer = Answer.recorded(recorded["answer"])

    async def script(channel: HttpChannel, server: ScriptedApp) -> Any:
        server.default = answer
        calls: list[Callable[[], Awaitable[Any]]] = [
            channel.config,
            channel.subscriptions,
            lambda: channel.wants_binding("gate", "", 3.0),
            lambda: channel.wants_binding("bell", "/ring/bell", 3.0),
        ]
        result = await calls[number - 1]()
        seen_as_recorded(server, recorded)
        return result

    result = talk(script, token=TOKEN)
    assert result is True if number > 2 else result


@pytest.mark.parametrize("recorded", rows("app-http", "startup/options-"), ids=lambda r: r["id"])
def test_binding_is_wanted_by_2xx_and_405(recorded: Row) -> None:
    async def script(channel: HttpChannel, server: ScriptedApp) -> Any:
        slow = 0.3 if recorded["id"].endswith("slow") else 0.0
        answer = Answer.recorded(recorded["answer"])
        server.default = Answer(answer.status, headers=answer.headers, hangup=answer.hangup, after=slow)
        try:
            return await channel.wants_binding("ring/bell", "", 0.1 if recorded["id"].endswith("slow") else 10.0)
        except AppUnavailable as error:
            return str(error)

    wants = talk(script)

    if recorded["id"].endswith(("hangup", "slow")):
        cause = ": EOF" if recorded["id"].endswith("hangup") else ": context deadline exceeded"
        assert wants.startswith('could not invoke OPTIONS method on input binding subscription endpoint "ring/bell": ')
        assert wants.endswith(cause)
    else:
        assert wants is recorded["consequence"]["app_gets_events"]


@pytest.mark.parametrize("answer", [Answer(404), Answer(500), Answer(200), Answer(200, b"{"), Answer.json([1]), Answer(hangup=True)])
def test_odd_configuration_is_an_empty_one(answer: Answer) -> None:
    async def script(channel: HttpChannel, server: ScriptedApp) -> Any:
        server.default = answer
        return await channel.config()

    assert talk(script).raw == {}


def test_a_dead_subscription_endpoint_is_asked_four_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.channel.http.SUBSCRIBE_DELAYS", (0.01, 0.01, 0.01))

    async def script(channel: HttpChannel, server: ScriptedApp) -> int:
        server.default = Answer(hangup=True)
        with pytest.raises(AppUnavailable, match=r'Get "http://127\.0\.0\.1:\d+/dapr/subscribe": EOF'):
            await channel.subscriptions()
        return len(server.on("/dapr/subscribe"))

    assert talk(script) == 4


BINDINGS = [r for r in rows("app-http", "bindings/mqtt-") if r["request"] and "with-policy" not in r["id"]]


@pytest.mark.parametrize("recorded", BINDINGS, ids=lambda r: r["id"])
def test_binding_event_is_posted_as_daprd_posts_it(recorded: Row) -> None:
    headers = dict(map(tuple, recorded["request"]["headers"]))
    metadata = {"topic": headers["Topic"], "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    answer = Answer.recorded(recorded.get("answer", {"status": 200}))
    data = body(recorded["request"]["body"])

    async def script(channel: HttpChannel, server: ScriptedApp) -> str:
        server.default = answer
        route = recorded["request"]["target"].removeprefix("/gate")
        try:
            result = await channel.trigger("gate", route, BindingEvent(data, metadata))
            assert result.data == answer.body
            outcome = ""
        except (AppRefused, AppUnavailable) as error:
            outcome = str(error)
        request = plain(server.seen[0], server.port, **{"app-token": TOKEN})
        request["headers"] = [[n, "00-<trace-id>-<span-id>-01" if n == "Traceparent" else v] for n, v in request["headers"]]
        assert request["headers"] == recorded["request"]["headers"]
        assert (server.seen[0].target, server.seen[0].body) == (recorded["request"]["target"], data)
        return outcome

    outcome = talk(script, token=TOKEN)
    log = next(iter(recorded["consequence"].get("log", ())), "")
    assert bool(outcome) == bool(log)
    if not answer.hangup and log:
        assert log.endswith(outcome)


INVOKED = [r for r in rows("app-http", "invoke/V1/") if r["request"] and r["request"]["target"] != "/v1.0/invoke/orchard/method/h"]


@pytest.mark.parametrize("recorded", INVOKED, ids=lambda r: r["id"])
def test_invocation_reaches_the_app_as_through_daprd(recorded: Row) -> None:
    trigger = recorded["trigger"]
    url = urlsplit(trigger["target"])
    path = unquote(url.path).removeprefix("/v1.0/invoke/orchard/method").lstrip("/")
    parent = next((v for n, v in trigger["headers"] if n.lower() == "traceparent"), "")
    headers = [(n.lower(), v) for n, v in trigger["headers"] if n.lower() not in ("content-type", "traceparent", "dapr-app-id")]
    if parent:
        headers.append(("traceparent", parent))
    content_type = next((v for n, v in trigger["headers"] if n.lower() == "content-type"), None)
    answer = Answer.recorded(recorded["answer"])
    given = trigger["body"]
    sent = pieces(given) if isinstance(given, list) else body(given)
    request = InvokeRequest(trigger["method"], path, url.query, headers, sent, content_type)

    async def script(channel: HttpChannel, server: ScriptedApp) -> None:
        server.default = answer
        try:
            got = await channel.invoke(request)
            data = got.body if isinstance(got.body, bytes) else b"".join([piece async for piece in got.body])
            assert (got.status, data) == (answer.status, b"" if trigger["method"] == "HEAD" else answer.body)
            assert [v for n, v in got.headers if n == "x-multi"] == [v for n, v in answer.headers if n == "X-Multi"]
        except AppUnavailable as error:
            assert answer.hangup
            assert str(error).endswith('/hang": EOF')
        seen_as_recorded(server, recorded)
        assert server.seen[0].body == (b"".join(part.encode() for part in given) if isinstance(given, list) else body(given))

    talk(script, token=TOKEN)


async def pieces(parts: list[str]) -> AsyncIterator[bytes]:
    for part in parts:
        yield part.encode()


def test_hop_by_hop_and_binary_headers_stay_behind() -> None:
    recorded = row("app-http", "invoke/V1/headers")
    headers = [(n.lower(), v) for n, v in recorded["trigger"]["headers"] if n != "Content-Type" and n != "Dapr-App-Id"]
    request = InvokeRequest("POST", "h", "", headers, b"x", "text/weird")

    async def script(channel: HttpChannel, server: ScriptedApp) -> list[list[str]]:
        await channel.invoke(request)
        return [[n, v] for n, v in server.seen[0].headers if n not in ("Host", "Dapr-Api-Token", "X-Forwarded-Host")]

    expected = [[n, v] for n, v in recorded["request"]["headers"] if n not in ("Host", "Dapr-Api-Token", "X-Forwarded-Host")]
    assert talk(script, token=TOKEN) == expected


def test_unhealthy_app_is_not_invoked() -> None:
    async def script(channel: HttpChannel, server: ScriptedApp) -> None:
        from edge.app import AppHealthCheck

        channel.app.health_check = AppHealthCheck()
        with pytest.raises(AppUnavailable, match="code = Internal desc = app is not in a healthy state"):
            await channel.invoke(InvokeRequest("GET", "x"))

    talk(script)


def test_app_that_is_away_is_told_apart_from_one_that_hangs_up() -> None:
    async def script(channel: HttpChannel, server: ScriptedApp) -> None:
        with pytest.raises(AppUnavailable) as caught:
            await channel.deliver(event_of(DELIVERED[0]))
        address = f"127.0.0.1:{server.port}"
        assert not caught.value.sent
        assert str(caught.value) == f'Post "http://{address}/in/heat": dial tcp {address}: connect: connection refused'
        assert not await channel.reachable()

    talk(script, down=True)


def test_compressed_answers_are_unpacked() -> None:
    packed = Answer(200, gzip.compress(b'{"status":"RETRY"}'), (("Content-Encoding", "gzip"),))

    async def script(channel: HttpChannel, server: ScriptedApp) -> tuple[Status, bytes]:
        server.default = packed
        verdict = await channel.deliver(event_of(DELIVERED[0]))
        got = await channel.invoke(InvokeRequest("GET", "x"))
        assert not isinstance(got.body, bytes)
        return verdict.status, b"".join([piece async for piece in got.body])

    assert talk(script) == (Status.RETRY, b'{"status":"RETRY"}')


def test_a_streamed_answer_holds_its_slot_until_it_is_closed() -> None:
    async def script(channel: HttpChannel, server: ScriptedApp) -> None:
        server.default = Answer(200, b"x" * 300_000)
        first = await channel.invoke(InvokeRequest("GET", "x"))
        assert not isinstance(first.body, bytes)
        second = asyncio.create_task(channel.invoke(InvokeRequest("GET", "x")))
        await asyncio.sleep(0.05)
        assert not second.done()

        await first.body.aclose()  # type: ignore[attr-defined]

        assert (await second).status == 200

    talk(script, concurrency=1)


def test_no_more_calls_at_a_time_than_allowed() -> None:
    async def script(channel: HttpChannel, server: ScriptedApp) -> int:
        server.default = Answer(200, after=0.03)
        await asyncio.gather(*(channel.deliver(event_of(DELIVERED[0])) for _ in range(6)))
        return server.most_busy

    assert talk(script, concurrency=2) == 2


@pytest.mark.parametrize(
    ("answer", "healthy", "reason"),
    [
        (Answer(204), True, ""),
        (Answer(299), True, ""),
        (Answer(301), False, "Health check failed with status code: 301"),
        (Answer(500), False, "Health check failed with status code: 500"),
        (Answer(hangup=True), False, 'Network error: Get "http://127.0.0.1:{port}/ready/me": EOF'),
        (Answer(after=0.3), False, 'Network error: Get "http://127.0.0.1:{port}/ready/me": context deadline exceeded'),
    ],
)
def test_probe_is_a_bare_get(answer: Answer, healthy: bool, reason: str) -> None:
    async def script(channel: HttpChannel, server: ScriptedApp) -> None:
        server.default = answer
        assert await channel.healthy("/ready/me", 0.1) is healthy
        seen_as_recorded(server, row("app-http", "health/probe"))
        assert healthy or channel.probe_failure == reason.format(port=server.port)

    talk(script, token=TOKEN)


def test_configuration_update_is_posted_with_all_items() -> None:
    async def script(channel: HttpChannel, server: ScriptedApp) -> Any:
        await channel.configuration_changed("store", "k1", "sub-1", {"k1": ConfigItem("v", "3", {"a": "b"})})
        server.default = Answer(204)
        with pytest.raises(AppRefused):
            await channel.configuration_changed("store", "k1", "sub-1", {})
        return server.seen[0].target, server.seen[0].json()

    target, sent = talk(script)

    assert target == "/configuration/store/k1"
    assert sent == {"id": "sub-1", "items": {"k1": {"value": "v", "version": "3", "metadata": {"a": "b"}}}}


def test_callback_goes_out_as_given() -> None:
    async def script(channel: HttpChannel, server: ScriptedApp) -> Any:
        answer = await channel.call(Callback("PUT", "/actors/Hive/q/method/lay", (("x-bee", "1"),), b"{}", "application/json"))
        assert answer.status == 200
        return [name for name, _ in server.seen[0].headers]

    assert talk(script) == ["Host", "User-Agent", "Content-Length", "Content-Type", "X-Bee", "Accept-Encoding"]


@pytest.mark.parametrize(
    ("path", "query", "target"),
    [
        ("m/x", "", "/m/x"),
        ("m/a*b(c)!", "", "/m/a*b(c)!"),
        ("m/a b*(c)", "", "/m/a%20b%2A%28c%29"),
        ("m/a%25b", "", "/m/a%25b"),
        ("m/a%25b|c", "", "/m/a%25b%7Cc"),
        ("m/\udcff", "", "/m/%FF"),
        ("m", "a=b&c=%zz", "/m?a=b&c=%zz"),
        ("m", "a=b#c", "/m?a=b"),
        ("m", "a=b c&d=%20", "/m?a=b%20c&d=%20"),
    ],
)
def test_a_methods_path_is_escaped_as_gos_url_does(path: str, query: str, target: str) -> None:
    assert method_target(path, query) == target


@pytest.mark.parametrize(("path", "wrong"), [("a%b", "%b"), ("a%", "%"), ("a%zzc", "%zz")])
def test_a_broken_escape_in_a_methods_path_is_refused(path: str, wrong: str) -> None:
    with pytest.raises(ValueError, match=f'invalid URL escape "{wrong}"'):
        method_target(path, "")


def test_a_control_character_in_a_query_is_refused() -> None:
    with pytest.raises(ValueError, match="invalid control character in URL"):
        method_target("m", "a=b\r\nx: y")


@pytest.mark.parametrize(("route", "target"), [("/a#b", "/a"), ("#", "/"), ("/a?#f", "/a?"), ("a?x=1#b", "/a?x=1")])
def test_a_fragment_of_a_route_stays_here(route: str, target: str) -> None:
    assert route_target(route) == target
