"""`edged run -f` and `edged serve`: many apps in one process, their logs, their restarts, and files that change."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.cli.edged import EDGED, ROOT, alive, edged, until
from tests.harness import component, free_port


class Fleet:
    """A process with many apps. files: below the folder, path -> text."""

    def __init__(self, folder: Path, *words: str, files: Mapping[str, str], env: Mapping[str, str] | None = None) -> None:
        self.folder, self.home = folder, folder / "state"
        self.write(files)
        self.out = folder / "out.txt"
        about = {k: v for k, v in os.environ.items() if not k.startswith(("DAPR_", "APP_"))}
        with self.out.open("wb") as out:
            about |= {"XDG_STATE_HOME": str(self.home)} | dict(env or {})
            self.process = subprocess.Popen([*EDGED, *words], stdout=out, stderr=out, env=about, cwd=folder)

    def write(self, files: Mapping[str, str]) -> None:
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def log(self) -> str:
        return self.out.read_text(errors="replace")

    def says(self, text: str) -> None:
        """Wait for a line."""
        until(lambda: text in self.log() or self.process.poll() is not None, what=f"{text!r} in\n{self.log()}")
        assert text in self.log(), self.log()

    def call(self, port: int, path: str, method: str = "GET", body: Any = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request(method, path, None if body is None else json.dumps(body), {"content-type": "application/json"})
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        return answer.status, data

    def up(self, *ports: int) -> None:
        """Wait until each of the ports' APIs answers."""

        def answers(port: int) -> bool:
            with contextlib.suppress(OSError, http.client.HTTPException):
                return self.call(port, "/v1.0/healthz/outbound")[0] == 204
            return self.process.poll() is not None

        for port in ports:
            until(lambda port=port: answers(port), what=f"an answer on {port}:\n{self.log()}")  # type: ignore[misc]
        assert self.process.poll() is None, self.log()

    def end(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(30)


@contextlib.contextmanager
def fleet(folder: Path, *words: str, **settings: Any) -> Iterator[Fleet]:
    one = Fleet(folder, *words, **settings)
    try:
        yield one
    finally:
        one.end(signal.SIGKILL)


def run_file(*apps: Mapping[str, object], **common: object) -> str:
    return json.dumps({"version": 1, "common": common, "apps": [{"appDirPath": ".", **app} for app in apps]})


def app(app_id: str, *command: str, **more: object) -> dict[str, object]:
    return {"appID": app_id, "daprHTTPPort": free_port(), "daprGRPCPort": free_port(), **({"command": command} if command else {}), **more}


def port_of(one: Mapping[str, object]) -> int:
    return int(str(one["daprHTTPPort"]))


def listed(one: Fleet) -> dict[str, dict[str, Any]]:
    return {row["appId"]: row for row in json.loads(edged("list", "--json", home=one.home).stdout)}


def test_run_f_gives_apps_their_listeners_and_prefixes_what_they_say(tmp_path: Path) -> None:
    first = app("one", "sh", "-c", "echo hello $X $APP_ID; printf rest; exec sleep 100", env={"X": "own"})
    second = app("two", "sh", "-c", "echo hi $X; exec sleep 100")

    with fleet(tmp_path, "run", "-f", ".", files={"dapr.yaml": run_file(first, second, env={"X": "shared"})}) as one:
        one.up(port_of(first), port_of(second))
        one.says("== APP - one == hello own one\n")
        one.says("== APP - two == hi shared\n")
        ids = [json.loads(one.call(port_of(each), "/v1.0/metadata")[1])["id"] for each in (first, second)]
        rows = listed(one)
        pids = [row["appPid"] for row in rows.values()]
        log = Path(rows["one"]["appLogPath"]).read_text()
        shown = edged("logs", "-a", "two", home=one.home).stdout
        assert one.end() == 0

    assert ids == ["one", "two"]
    assert set(rows) == {"one", "two"} and rows["one"]["runTemplatePath"] == str(tmp_path / "dapr.yaml")
    assert log == "hello own one\nrest" and shown == "hi shared\n"
    assert not any(alive(pid) for pid in pids)
    assert "Received signal" in Path(rows["one"]["daprdLogPath"]).read_text() and "Received signal" not in one.log()


def test_run_f_goes_on_when_one_app_ends(tmp_path: Path) -> None:
    first, second = app("one", "sh", "-c", "exit 3"), app("two")

    with fleet(tmp_path, "run", "-f", "dapr.yaml", files={"dapr.yaml": run_file(first, second)}) as one:
        one.says("The app one ended with exit code 3")
        one.up(port_of(first), port_of(second))

        assert "starts again" not in one.log()
        assert edged("stop", "-f", str(tmp_path / "dapr.yaml"), home=one.home).returncode == 0
        assert one.process.wait(30) == 0


def test_a_run_file_from_standard_input_and_a_wrong_one(tmp_path: Path) -> None:
    (tmp_path / "dapr.yaml").write_text("version: 1\napps:\n- {appDirPath: nowhere}\n")

    wrong = edged("run", "-f", str(tmp_path))
    piped = edged("run", "-f", "-", text="apps: []")

    assert wrong.returncode == 1 and f"{tmp_path}/nowhere: no such file or directory; create it or correct the path" in wrong.stderr
    assert piped.returncode == 1 and "`version: 1` is missing" in piped.stderr


def test_components_are_shown_to_apps_by_scope_and_state_is_apart(tmp_path: Path) -> None:
    first, second = app("one"), app("two")
    files = {
        "edged.yaml": run_file(first, resourcesPaths=["resources"]),
        "apps.d/two.yaml": run_file(second, resourcesPaths=["../resources"]).replace('"."', '".."'),
        "resources/a.yaml": component("shared", "state.sqlite", {"connectionString": str(tmp_path / "a.db")}),
        "resources/b.yaml": component("mine", "state.in-memory", scopes=["two"]),
    }

    with fleet(tmp_path, "serve", "--config-dir", str(tmp_path), "--metrics-port", "0", files=files) as one:
        one.up(port_of(first), port_of(second))
        one.call(port_of(first), "/v1.0/state/shared", "POST", [{"key": "k", "value": 1}])

        assert one.call(port_of(first), "/v1.0/state/shared/k") == (200, b"1")
        assert one.call(port_of(second), "/v1.0/state/shared/k")[0] == 204
        assert one.call(port_of(second), "/v1.0/state/mine/k")[0] == 204
        assert one.call(port_of(first), "/v1.0/state/mine/k")[0] == 400
        assert [path.name for path in one.home.glob("edged/*") if path.is_dir()] == ["edged"]
        assert one.end() == 0


def test_serve_starts_an_app_again_and_hurts_no_other(tmp_path: Path) -> None:
    crashing = app("bad", "sh", "-c", f"echo x >> {tmp_path}/starts; exit 1")
    good = app("good", "sh", "-c", "exec sleep 100")

    with fleet(tmp_path, "serve", "--config-dir", ".", "--metrics-port", "0", files={"edged.yaml": run_file(crashing, good)}) as one:
        one.up(port_of(crashing), port_of(good))
        pid = listed(one)["good"]["appPid"]
        until(lambda: (tmp_path / "starts").read_text().count("x") >= 2)

        assert "The app bad starts again in" in one.log()
        assert listed(one)["good"]["appPid"] == pid and alive(pid)
        assert one.end() == 0
        assert not alive(pid)


def test_a_fault_in_a_file_at_sighup_changes_nothing(tmp_path: Path) -> None:
    first = app("one")
    with fleet(tmp_path, "serve", "--config-dir", ".", "--metrics-port", "0", files={"edged.yaml": run_file(first)}) as one:
        one.up(port_of(first))
        one.write({"edged.yaml": "version: 1\napps: [{appID: "})
        one.process.send_signal(signal.SIGHUP)

        one.says("what runs stays as it is")
        assert one.call(port_of(first), "/v1.0/healthz")[0] == 204
        assert one.end() == 0


def test_sighup_takes_over_apps_that_came_and_went(tmp_path: Path) -> None:
    first, second, third = app("one", "sleep", "100"), app("two"), app("three", "sleep", "101")
    with fleet(tmp_path, "serve", "--config-dir", ".", "--metrics-port", "0", files={"edged.yaml": run_file(first, second)}) as one:
        one.up(port_of(first), port_of(second))
        one.call(port_of(second), "/v1.0/state/statestore", "POST", [{"key": "k", "value": 1}])
        until(lambda: listed(one)["one"]["appPid"])
        before = listed(one)["one"]["appPid"]

        one.write({"edged.yaml": run_file(second, third)})
        one.process.send_signal(signal.SIGHUP)
        one.says("started anew with 2 apps")
        one.up(port_of(second), port_of(third))

        assert set(listed(one)) == {"two", "three"} and not alive(before)
        assert one.call(port_of(second), "/v1.0/state/statestore/k") == (200, b"1")
        until(lambda: listed(one)["three"]["appPid"])
        assert one.end() == 0


def test_a_second_daemon_on_a_data_directory_says_who_holds_it(tmp_path: Path) -> None:
    first = app("one")
    with fleet(tmp_path, "serve", "--config-dir", ".", "--metrics-port", "0", files={"edged.yaml": run_file(first)}) as one:
        one.up(port_of(first))
        second = edged("serve", "--config-dir", str(tmp_path), home=one.home)

    assert second.returncode == 1
    assert f"process {one.process.pid} holds it; stop that daemon, or give this one another --data-dir" in second.stdout


def test_systemd_is_told_and_its_watchdog_fed(tmp_path: Path) -> None:
    first = app("one")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices:
        notices.bind(str(tmp_path / "notify"))
        notices.settimeout(30)
        env = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"}
        with fleet(tmp_path, "serve", "--config-dir", ".", "--metrics-port", "0", files={"edged.yaml": run_file(first)}, env=env) as one:
            ready = notices.recv(1000).decode()
            assert one.call(port_of(first), "/v1.0/healthz/outbound")[0] == 204
            fed = [notices.recv(1000) for _ in range(2)]
            one.process.send_signal(signal.SIGTERM)
            while (last := notices.recv(1000)) == b"WATCHDOG=1":
                pass
            assert one.process.wait(30) == 0

    assert ready == "READY=1\nSTATUS=1 apps: one"
    assert fed == [b"WATCHDOG=1"] * 2 and last == b"STOPPING=1"


def test_a_daemon_without_apps_is_ready_too(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices:
        notices.bind(str(tmp_path / "notify"))
        notices.settimeout(30)
        env = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
        with fleet(tmp_path, "serve", "--config-dir", ".", files={"edged.yaml": "version: 1\napps: []\n"}, env=env) as one:
            assert notices.recv(1000).startswith(b"READY=1")
            assert one.end() == 0


ACTIVATED = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.set_inheritable(3, True)
os.environ |= {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid()), "LISTEN_FDNAMES": "one-http"}
os.execv(sys.executable, [sys.executable, "-m", "edge", *sys.argv[2:]])
"""


def test_a_socket_that_systemd_opened_is_served(tmp_path: Path) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        bound.listen()
        port = bound.getsockname()[1]
        descriptor = os.dup(bound.fileno())
        text = run_file(app("one"))
        os.set_inheritable(descriptor, True)
        (tmp_path / "edged.yaml").write_text(text)
        words = ("serve", "--config-dir", str(tmp_path), "--data-dir", str(tmp_path / "data"), "--metrics-port", "0")
        command = [sys.executable, "-c", ACTIVATED, str(descriptor), *words]
        process = subprocess.Popen(command, pass_fds=(descriptor,), stdout=subprocess.DEVNULL, cwd=ROOT)
        os.close(descriptor)
    try:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
            connection.request("GET", "/v1.0/metadata")

            assert json.loads(connection.getresponse().read())["id"] == "one"
    finally:
        process.terminate()
        assert process.wait(30) == 0
