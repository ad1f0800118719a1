"""The built executable: sizes, memory, what it maps, how the one file unpacks. Run by `make test-binary`."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import grpc
import pytest

from edge.version import VERSION
from tests.budgets.process import memory, settled
from tests.cli.edged import alive, until
from tests.harness import ROOT, Sidecar, component, free_port, sidecar
from tests.harness_brokers import nats_server, needs_nats
from tests.harness_mqtt import mosquitto, needs_mosquitto
from tests.harness_servers import needs_postgresql, postgresql_server

APP = """
import os, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class App(BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(b"[]")
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        with open(sys.argv[1], "a") as seen:
            seen.write(self.path + " ")
        self.answer(b"{}")
    def answer(self, body):
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

ThreadingHTTPServer(("127.0.0.1", int(os.environ["APP_PORT"])), App).serve_forever()
"""
RED = {"match": 'event.type == "red"', "path": "/red"}
DIST = ROOT / "dist"
FOLDER = DIST / "edged"
ONE_FILE = DIST / f"edged-{VERSION}-{os.uname().machine}"
MIB = 1 << 20
pytestmark = [pytest.mark.frozen, pytest.mark.skipif(not ONE_FILE.exists(), reason="not built: make binary")]


def run(*words: str, program: Path = FOLDER / "edged", **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(program), *words], capture_output=True, text=True, env=env, timeout=60, check=False)


def test_the_sizes_are_within_their_budgets() -> None:
    folder = sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file() and path.name != "daprd")
    packed = (DIST / f"{ONE_FILE.name}.tar.xz").stat().st_size

    print(f"one file {ONE_FILE.stat().st_size / MIB:.1f} MB, folder {folder / MIB:.1f} MB, as xz {packed / MIB:.1f} MB")
    assert ONE_FILE.stat().st_size <= 20 * MIB
    assert packed <= 12 * MIB


@needs_mosquitto
def test_with_sqlite_and_mqtt_it_maps_no_tls_protobuf_or_cryptography_and_stays_small(tmp_path: Path) -> None:
    with mosquitto(tmp_path) as broker:
        resources = {
            "state.yaml": component("statestore", "state.sqlite", {"connectionString": str(tmp_path / "state.db")}),
            "mq.yaml": component("mq", "pubsub.mqtt3", {"url": broker.url}),
        }
        with sidecar(tmp_path, resources=resources, program=(str(FOLDER / "edged"), "run")) as one:
            assert one.call("POST", "/v1.0/publish/mq/t", {"n": 1}).status == 204
            assert one.process is not None
            settled(one.process.pid)
            maps = Path(f"/proc/{one.process.pid}/maps").read_text()
            found = memory(one.process.pid)

    print(f"frozen, sqlite and mqtt: Pss {found['Pss']} Rss {found['Rss']} KiB")
    assert not set(re.findall(r"_ssl|libssl|libcrypto|_message\.abi3|_psutil|_rust\.abi3", maps))
    assert found["Pss"] <= 30 * 1024


def test_every_component_of_the_catalogue_is_in_it() -> None:
    types = [row["type"] + " " + row["version"] for row in json.loads(run("components", "list", "--json").stdout)]

    failed = {name: done.stderr for name in types if (done := run("components", "describe", *name.split())).returncode}

    assert len(types) > 10 and all("needs a package that is not installed" in text for text in failed.values()), failed


@pytest.mark.parametrize("name", ["init", "check", "diag", "list", "invoke", "state", "completion"])
def test_every_command_is_in_it(name: str) -> None:
    done = run(name, "--help")

    assert done.returncode == 0 and "Usage" in done.stdout, done.stderr


def test_routing_rules_and_grpc_work_in_it(tmp_path: Path) -> None:
    rules = {
        "apiVersion": "dapr.io/v2alpha1", "kind": "Subscription", "metadata": {"name": "s"},
        "spec": {"pubsubname": "p", "topic": "t", "routes": {"rules": [RED], "default": "/other"}},
    }  # fmt: skip
    resources = {"p.yaml": component("p", "pubsub.in-memory"), "s.yaml": json.dumps(rules)}
    seen = tmp_path / "seen"
    with sidecar(
        tmp_path, resources=resources, program=(str(FOLDER / "edged"), "run"), app_port=free_port(),
        command=(sys.executable, "-c", APP, str(seen)),
    ) as one:  # fmt: skip
        one.wait("/v1.0/healthz")
        one.call("POST", "/v1.0/publish/p/t?metadata.cloudevent.type=red", {"n": 1})
        one.call("POST", "/v1.0/publish/p/t", {"n": 2})
        until(lambda: seen.exists() and sorted(seen.read_text().split()) == ["/other", "/red"])
        with grpc.insecure_channel(f"127.0.0.1:{one.grpc_port}") as channel:
            call = channel.unary_unary("/dapr.proto.runtime.v1.Dapr/GetMetadata")
            assert b"pubsub.in-memory" in call(b"", timeout=20)


@needs_postgresql
def test_state_in_postgresql_works_in_it(tmp_path: Path) -> None:
    with postgresql_server(tmp_path / "server") as server:
        resources = {"state.yaml": component("db", "state.postgresql", {"connectionString": server.url}, version="v2")}
        with sidecar(tmp_path, resources=resources, program=(str(FOLDER / "edged"), "run")) as one:
            assert one.call("POST", "/v1.0/state/db", [{"key": "k", "value": 42}]).status == 204
            assert one.call("GET", "/v1.0/state/db/k").body == b"42"


async def stream(url: str, name: str, subject: str) -> None:
    import nats

    async with await nats.connect(url) as plain:
        await plain.jetstream().add_stream(name=name, subjects=[subject])


@needs_nats
def test_jetstream_works_in_it(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    subscription = {"apiVersion": "dapr.io/v1alpha1", "kind": "Subscription", "metadata": {"name": "s"}}
    spec = {"spec": {"pubsubname": "js", "topic": "t", "route": "/got"}}
    with nats_server(tmp_path / "server") as server:
        asyncio.run(stream(server.url, "plants", "t"))
        resources = {
            "js.yaml": component("js", "pubsub.jetstream", {"natsURL": server.url}),
            "s.yaml": json.dumps(subscription | spec),
        }
        with sidecar(
            tmp_path, resources=resources, program=(str(FOLDER / "edged"), "run"), app_port=free_port(),
            command=(sys.executable, "-c", APP, str(seen)),
        ) as one:  # fmt: skip
            one.wait("/v1.0/healthz")
            assert one.call("POST", "/v1.0/publish/js/t", {"n": 1}).status == 204
            until(lambda: seen.exists() and seen.read_text() == "/got ")


def test_the_bill_of_materials_names_what_is_frozen_in() -> None:
    bill = json.loads((DIST / f"{ONE_FILE.name}.cdx.json").read_text())

    parts = {part["name"]: part for part in bill["components"]}
    assert {"python", "sqlite", "httptools", "orjson", "protobuf", "paho-mqtt", "cryptography", "asyncpg", "nats-py", "redis"} <= set(parts)
    assert not {"pytest", "mypy", "grpcio", "dapr"} & set(parts)
    assert all(part.get("licenses") or part["hashes"] for part in parts.values())


def test_under_the_name_daprd_it_is_daprd() -> None:
    assert run("--version", program=FOLDER / "daprd").stdout == "1.18.3\n"


def test_the_one_file_unpacks_once_and_becomes_the_program(tmp_path: Path) -> None:
    env = {"STATE_DIRECTORY": str(tmp_path)}
    first = run("--version", program=ONE_FILE, **env)
    (unpacked,) = (tmp_path / "program").iterdir()
    stamp = (unpacked / "edged").stat().st_mtime_ns, unpacked.stat().st_ctime_ns

    with sidecar(tmp_path, program=(str(ONE_FILE), "run"), env=env) as one:
        assert one.process is not None
        executable = Path(f"/proc/{one.process.pid}/exe").resolve()
        children = Path(f"/proc/{one.process.pid}/task/{one.process.pid}/children").read_text()
        pid = one.process.pid
        one.kill()

    assert first.stdout.startswith(f"edged {VERSION}")
    assert executable == unpacked / "edged" and children == ""
    assert stamp == ((unpacked / "edged").stat().st_mtime_ns, unpacked.stat().st_ctime_ns)
    until(lambda: not alive(pid))


def test_the_one_file_unpacks_for_a_user_outside_of_systemd(tmp_path: Path) -> None:
    done = run("--version", program=ONE_FILE, HOME=str(tmp_path))

    assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith(f"edged {VERSION}")
    assert [path.name.rpartition("-")[0] for path in (tmp_path / ".local/state/edged/program").iterdir()] == [VERSION]


def test_the_commands_describe_themselves() -> None:
    assert "List the running sidecars." in run("list", "--help").stdout
    assert "Run the daemon of this device" in run("serve", "--help").stdout


def test_a_damaged_one_file_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    damaged = tmp_path / "edged"
    shutil.copy(ONE_FILE, damaged)
    with damaged.open("r+b") as file:
        file.seek(-100_000, os.SEEK_END)
        file.write(b"x" * 100)

    done = run("--version", program=damaged, STATE_DIRECTORY=str(tmp_path / "state"))

    assert done.returncode == 1 and "this file is damaged" in done.stderr
    assert list((tmp_path / "state/program").iterdir()) == []


def test_a_program_that_cannot_run_here_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    """As on another architecture, or from a folder mounted noexec: the unpacked program is tried before it counts."""
    text, _, payload = ONE_FILE.read_bytes().partition(b"\nexit 1\n")
    broken = tmp_path / "broken"
    for arch, said in (("sparc", "this file is for sparc, this machine is"), (os.uname().machine, "mounted noexec")):
        script = re.sub(rb"arch='[^']*'", f"arch='{arch}'".encode(), text).replace(
            b'said=$("$work', b'chmod a-x "$work/edged/edged"; said=$("$work'
        )
        broken.write_bytes(script + b"\nexit 1\n" + payload)
        broken.chmod(0o755)

        done = run("--version", program=broken, STATE_DIRECTORY=str(tmp_path / "state"))

        assert done.returncode == 1 and "does not run from" in done.stderr and said in done.stderr
        assert list((tmp_path / "state/program").iterdir()) == []


def test_a_folder_of_another_user_is_not_trusted(tmp_path: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("needs root to make one")
    base = tmp_path / "program"
    base.mkdir()
    os.chown(base, 12345, 12345)

    done = run("--version", program=ONE_FILE, STATE_DIRECTORY=str(tmp_path))

    assert done.returncode == 1 and "belongs to uid 12345" in done.stderr


def test_the_executable_needs_nothing_of_the_environment(tmp_path: Path) -> None:
    one = Sidecar(tmp_path)
    done = run("run", *one.arguments(), "--", "/bin/sh", "-c", "exit 3")

    assert (done.returncode, done.stderr) == (3, "")
