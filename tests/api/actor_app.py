"""What an HTTP app that hosts actors and takes jobs gets, byte by byte, and what its answers lead to (tests/data/app-http.jsonl, A1)."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from tests.apps import Answer, ScriptedApp, Seen
from tests.harness import Sidecar, component
from tests.recorded import body, normal, rows

Row = dict[str, Any]
TOKEN = "an app token"
CONFIG = {
    "entities": ["Hive", "Keeper"],
    "actorIdleTimeout": "40s",
    "actorScanInterval": "1s",
    "drainOngoingCallTimeout": "2s",
    "drainRebalancedActors": True,
    "entitiesConfig": [{"entities": ["Keeper"], "actorIdleTimeout": "1h", "reentrancy": {"enabled": True, "maxStackDepth": 3}}],
}
ELSEWHERE = ("actors/start", "actors/stop", "actors/deactivate-idle", "actors/turns")  # played in test_actors_and_jobs_recorded
METHODS = [row for row in rows("app-http", "actors/method-") if row["id"] not in ELSEWHERE]
TIMED = [row for row in rows("app-http", "actors/", "jobs/") if row not in METHODS and row["id"] not in ELSEWHERE]
LATE = 2.0


class Cast:
    """The app, its sidecar, and what was seen of each row."""

    def __init__(self, app: ScriptedApp, edged: Sidecar) -> None:
        self.app, self.edged = app, edged

    async def method(self, row: Row) -> str:
        """A method call: what the app got and what the caller got, against the recording."""
        trigger = row["trigger"]
        self.app.default = _answer(row)
        self.app.seen.clear()
        given, headers = trigger["body"], dict(trigger["headers"])
        if isinstance(given, dict) and "base64" not in given:
            given, headers = json.dumps(given), headers | {"content-type": "application/json"}
        sent = None if given is None else body(given)
        answer = await asyncio.to_thread(
            self.edged.call, trigger["method"], trigger["target"], sent, {"accept-encoding": "identity", **headers}
        )
        wanted = trigger["api_answer"]
        text = answer.body.decode().replace(f":{self.app.port}/", ":<app-port>/")
        faults = [f"{answer.status} {text}"] if (answer.status, text.strip()) != (wanted["status"], wanted["body"].strip()) else []
        faults += [
            f"{name}: {answer.headers.get(name)}"
            for name, value in wanted["headers"]
            if name in ("content-type", "x-from-actor", "x-daprerrorresponseheader") and answer.headers.get(name) != value
        ]
        seen = [one for one in self.app.seen if one.method != "DELETE"]
        if [f"{one.method} {one.target}" for one in seen] != [r for r in row["consequence"]["app_requests"] if not r.startswith("DELETE")]:
            faults.append(f"app got {seen}")
        elif seen:
            faults += self.differences(seen[0], row["request"])
        return "; ".join(faults)

    async def timed(self, row: Row) -> str:
        """A timer, reminder or job: its requests, their number and times, and what is left of it."""
        method, target = row["trigger"]["do"].split(" ", 1)
        name = target.rpartition("/")[2]
        kind = "timer" if "/timers/" in target else "remind"
        path = f"/job/{name}" if "/jobs/" in target else f"/actors/Hive/queen-1/method/{kind}/{name}"
        self.app.answers[path] = _answer(row)
        wanted, consequence = row["trigger"]["api_answer"], row["consequence"]
        begun = asyncio.get_running_loop().time()
        answer = await asyncio.to_thread(self.edged.call, method, target, row["trigger"]["body"])
        if (answer.status, answer.body.decode().strip()) != (wanted["status"], wanted["body"].strip()):
            return f"{answer.status} {answer.body!r}"
        times = consequence["fired_at_s"]
        await self.until(lambda: len(self.app.on(path)) >= len(times))
        await asyncio.sleep(min(consequence["observed_for_s"] - (times or [0.0])[-1], 0.6))
        faults = await self.left(target, consequence, bool(times))
        got = [
            one.at - begun
            for one in self.app.on(path)
            if one.at - begun < max(consequence["observed_for_s"] - 0.05, times[-1] if times else 0)
        ]
        early = [f"{at:.2f} s" for at, due in zip(got, times, strict=False) if not due - 0.15 < at < due + LATE]
        if len(got) != len(times) or early:
            faults.append(f"fired at {[round(at, 2) for at in got]}")
        elif row.get("request"):
            faults += self.differences(self.app.on(path)[0], row["request"])
        return "; ".join(faults)

    async def left(self, target: str, consequence: Row, fired: bool) -> list[str]:
        wanted, faults = consequence.get("get_afterwards"), []
        if wanted:
            answer = await asyncio.to_thread(self.edged.call, "GET", target)
            if (answer.status, answer.body.decode().strip()) != (wanted["status"], wanted["body"].strip()):
                faults.append(f"afterwards {answer.status} {answer.body.decode()}")
        if consequence.get("delete_afterwards"):
            await asyncio.to_thread(self.edged.call, "DELETE", target)
        return faults

    async def until(self, condition: Any) -> None:
        async with asyncio.timeout(20):
            while not condition():
                await asyncio.sleep(0.02)

    def differences(self, seen: Seen, wanted: Row) -> list[str]:
        """Headers (a trace that each runtime makes by itself is no difference) and body."""
        if seen.body != body(wanted["body"]):
            # the spaces that Go's protojson writes differ from build to build
            same = json.loads(seen.body) == json.loads(wanted["body"]) if seen.header("content-type") else False
            return [] if same else [f"app got body {seen.body!r}"]
        lines = [f"{name}: {value}" for name, value in seen.headers]
        text = normal("\n".join(lines)).replace(f":{self.app.port}", ":<app-port>").replace(TOKEN, "<app-token>").split("\n")
        expected = [f"{name}: {value}" for name, value in wanted["headers"]]
        faults = [f"app got header {a}, not {b}" for a, b in zip(text, expected, strict=False) if a != b and "<span-id>" not in b]
        if len(text) != len(expected):
            faults.append(f"app got headers {text}")
        return faults


def _answer(row: Row) -> Answer:
    if row.get("answer") is None:
        return Answer.json({"done": True})
    return Answer.recorded(row["answer"])


async def play(folder: Path) -> dict[str, str]:
    """What went wrong, by row; "" = nothing."""
    async with ScriptedApp(default=Answer.json({"done": True})) as app:
        app.answers["/dapr/config"] = Answer.json(CONFIG)
        store = component("cellar", "state.sqlite", {"connectionString": str(folder / "st.db"), "actorStateStore": "true"})
        edged = Sidecar(folder, app_id="apiary", app_port=app.port, resources={"a.yaml": store}, env={"APP_API_TOKEN": TOKEN})
        try:
            await asyncio.to_thread(edged.start, "/v1.0/healthz", 40.0)
            cast = Cast(app, edged)
            found = {row["id"]: await cast.method(row) for row in METHODS}
            results = await asyncio.gather(*[cast.timed(row) for row in TIMED], return_exceptions=True)
            return found | {row["id"]: str(result) for row, result in zip(TIMED, results, strict=True)}
        finally:
            edged.kill()
