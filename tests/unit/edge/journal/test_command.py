"""`edged journal`: every command on a real file, and beside a sidecar that runs."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from edge.cli.commands import cli
from edge.database import Database
from edge.journal import Journal
from edge.model import Message
from tests.harness import component, sidecar
from tests.harness_mqtt import expect, mosquitto, needs_mosquitto, watching

OUT = "out/mqtt/a"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A base folder with the journal of app `shop`: three messages wait, two are dead."""
    folder = tmp_path / "shop"
    folder.mkdir()

    async def fill() -> None:
        async with Database.open(folder / "edged.db") as database, Journal.open(database) as journal:
            await journal.put(OUT, *(Message("a", b"\xff%d" % n, {"k": "v"}, "text/plain", f"m{n}") for n in range(5)))
            for entry in journal.take_now(OUT, 2):
                await journal.bury(entry, "too large")

    asyncio.run(fill())
    return tmp_path


def run(data: Path, *words: str, code: int = 0, stdin: str | None = None) -> Result:
    result = CliRunner().invoke(cli, ["journal", *words, "--data-dir", str(data)], input=stdin)
    assert result.exit_code == code, result.output
    return result


def as_json(data: Path, *words: str) -> Any:
    return json.loads(run(data, *words, "--json").stdout)


def pending(data: Path) -> dict[str, int]:
    for lane in (found := as_json(data, "stats")):
        ended = lane["delivered"] + lane["expired"] + lane["dead"] + sum(lane["dropped"].values())
        assert lane["accepted"] == lane["pending"] + ended
    return {lane["lane"]: lane["pending"] for lane in found}


def test_stats_count_by_lane(data: Path) -> None:
    assert pending(data) == {OUT: 3, f"dead/{OUT}": 2}
    assert "PENDING" in run(data, "stats", "-a", "shop").stdout


def test_ls_lists_in_order_and_show_shows_all(data: Path) -> None:
    found = as_json(data, "ls", "--lane", "dead/*")

    assert [row["id"] for row in found] == ["m0", "m1"]
    assert found[0]["error"] == "too large"
    assert as_json(data, "show", str(found[0]["seq"])) == found[0]
    assert "m0" in run(data, "ls").stdout
    assert "text/plain" in run(data, "show", str(found[0]["seq"])).stdout


def test_retry_queues_the_dead_behind_the_others(data: Path) -> None:
    assert as_json(data, "retry", "--lane", "dead/*", "--dry-run")["count"] == 2
    assert pending(data)[OUT] == 3

    assert as_json(data, "retry", "--lane", "dead/*")["count"] == 2

    assert [row["id"] for row in as_json(data, "ls")] == ["m2", "m3", "m4", "m0", "m1"]
    assert pending(data) == {OUT: 5, f"dead/{OUT}": 0}


def test_drop_takes_numbers_or_lanes_and_never_all_by_accident(data: Path) -> None:
    first = as_json(data, "ls", "--lane", OUT)[0]["seq"]
    assert as_json(data, "drop", str(first), "--dry-run")["messages"][0]["id"] == "m2"

    run(data, "drop", str(first))

    assert pending(data)[OUT] == 2
    assert "no message" in run(data, "drop", str(first), code=1).output
    assert "--lane" in run(data, "drop", code=2).output


def test_purge_takes_the_dead_unless_told_otherwise(data: Path) -> None:
    run(data, "purge", "--dry-run")
    assert pending(data) == {OUT: 3, f"dead/{OUT}": 2}

    run(data, "purge")
    assert pending(data) == {OUT: 3, f"dead/{OUT}": 0}

    run(data, "purge", "--lane", "*")
    assert sum(pending(data).values()) == 0


@pytest.mark.parametrize("way", ["lines", "file"])
def test_export_and_import_round_trip(way: str, data: Path, tmp_path: Path) -> None:
    lines, before = tmp_path / "lines.json", as_json(data, "ls")
    run(data, "export", "-o", str(lines))
    kept = tmp_path / "kept.db"
    kept.write_bytes((data / "shop" / "edged.db").read_bytes())
    run(data, "purge", "--lane", "*")

    source = str(lines if way == "lines" else kept)
    assert as_json(data, "import", source, "--dry-run")["found"] == 5
    assert as_json(data, "import", source) == {"dryRun": False, "found": 5, "imported": 5, "known": 0}
    assert as_json(data, "import", source)["known"] == 5

    def essence(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{key: row[key] for key in row if key not in ("seq", "enqueued")} for row in rows]

    assert essence(as_json(data, "ls")) == essence(before)


def test_import_of_rubbish_stores_nothing(data: Path) -> None:
    good = run(data, "export", "--lane", OUT).stdout.splitlines()[0]

    result = run(data, "import", "-", code=1, stdin=f"{good}\nrubbish\n")

    assert "-" in result.output
    assert pending(data)[OUT] == 3


def test_which_journal_is_asked_for(data: Path) -> None:
    (data / "other").mkdir()
    (data / "other" / "edged.db").write_bytes(b"rubbish")

    assert "other, shop" in run(data, "stats", code=2).output
    assert "is it the edged.db" in run(data, "stats", "-a", "other", code=1).output
    assert "no journal" in run(data, "stats", "-a", "nobody", code=1).output


@needs_mosquitto
def test_a_running_sidecar_does_what_it_is_told(tmp_path: Path) -> None:
    with mosquitto(tmp_path, start=False) as broker:
        expect(broker)
        wire = component("wire", "pubsub.mqtt3", {"url": broker.url, "consumerID": "told"})
        with sidecar(tmp_path / "run", resources={"wire.yaml": wire}) as one:
            data = tmp_path / "run" / "data"
            for n in range(5):
                assert one.call("POST", "/v1.0/publish/wire/a?metadata.rawPayload=true", b"%d" % n).status == 204
            rows = as_json(data, "ls")
            assert len(rows) == 5
            told = json.loads(one.call("GET", "/v1.0/metadata").json()["extended"]["edgedJournal"])
            assert (told["out/wire/a"]["accepted"], told["out/wire/a"]["pending"]) == (5, 5)
            run(data, "drop", str(rows[3]["seq"]))
            line = json.dumps(rows[0] | {"id": "new", "data": "Nw==", "topic": "b", "lane": "out/wire/b"})
            run(data, "import", "-", stdin=line)

            with watching(broker) as peer:
                until = time.monotonic() + 20
                while not {b"4", b"7"} <= set(peer.payloads()) and time.monotonic() < until:
                    time.sleep(0.02)
                while sum(pending(data).values()) and time.monotonic() < until:
                    time.sleep(0.05)

            assert [p for p in peer.payloads() if p != b"7"] == [b"0", b"1", b"2", b"4"]
            assert b"7" in peer.payloads()
            assert pending(data) == {"out/wire/a": 0, "out/wire/b": 0}
            assert json.loads(one.call("GET", "/v1.0/metadata").json()["extended"]["edgedJournal"]).keys() == {"out/wire/a"}
