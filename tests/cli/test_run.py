"""`edged run` beside an app: environment, signals, exit codes, and what is left when edged is killed."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.edged import EDGED, alive, edged, until
from tests.harness import Sidecar, sidecar


@contextlib.contextmanager
def beside(folder: Path, script: str, **settings: object) -> Iterator[Sidecar]:
    """A sidecar with a shell script as its app; ended with the block."""
    one = Sidecar(folder, command=("/bin/sh", "-c", script), **settings)  # type: ignore[arg-type]
    one.spawn()
    try:
        yield one
    finally:
        if one.process is not None and one.process.poll() is None:
            one.kill()


def ended(one: Sidecar) -> int:
    assert one.process is not None
    return one.process.wait(30)


@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137)])
def test_the_apps_exit_code_is_passed_on(tmp_path: Path, script: str, code: int) -> None:
    with beside(tmp_path, script) as one:
        assert ended(one) == code, one.log()


def test_an_app_that_cannot_be_started_ends_the_sidecar(tmp_path: Path) -> None:
    one = Sidecar(tmp_path, command=("/no/such/program",))
    one.spawn()

    assert ended(one) == 1
    assert "cannot start the app command '/no/such/program': No such file or directory" in one.log()


def test_the_app_gets_the_variables_of_daprs_launcher(tmp_path: Path) -> None:
    with beside(tmp_path, "env", app_port=6123) as one:
        assert ended(one) == 0
        env = dict(line.split("=", 1) for line in one.log().splitlines() if line.startswith(("APP_", "DAPR_")))

    assert env == {
        "APP_ID": "test", "APP_PORT": "6123", "APP_PROTOCOL": "http", "APP_CHANNEL_ADDRESS": "127.0.0.1",
        "DAPR_HTTP_PORT": str(one.http_port), "DAPR_GRPC_PORT": str(one.grpc_port), "DAPR_METRICS_PORT": str(one.metrics_port),
    }  # fmt: skip


def test_a_signal_reaches_the_app_and_its_answer_comes_back(tmp_path: Path) -> None:
    with beside(tmp_path, "trap 'exit 5' TERM; echo up; while :; do sleep 0.05; done") as one:
        until(lambda: "\nup\n" in one.log())

        assert one.stop() == 5


@pytest.mark.slow
def test_an_app_that_does_not_care_for_signals_is_killed(tmp_path: Path) -> None:
    with beside(tmp_path, "trap '' TERM; echo up; while :; do sleep 0.05; done", flags=("--log-level", "debug")) as one:
        until(lambda: "\nup\n" in one.log())

        assert one.stop() == 0


def test_sigkill_of_edged_leaves_no_child(tmp_path: Path) -> None:
    script = f"sleep 999 & echo $! > {tmp_path}/grandchild; echo $$ > {tmp_path}/child; sleep 998"
    with beside(tmp_path, script) as one:
        until(lambda: (tmp_path / "child").exists() and (tmp_path / "child").read_text())
        pids = [int((tmp_path / name).read_text()) for name in ("child", "grandchild")]

        one.kill()
        until(lambda: not any(alive(pid) for pid in pids), what="the end of the app and its child")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_restart_at_once_on_the_same_ports_and_files_works(tmp_path: Path, number: int) -> None:
    with sidecar(tmp_path) as one:
        assert one.call("POST", "/v1.0/state/statestore", [{"key": "k", "value": 1}]).status == 204

        one.kill(number)
        one.start()

        assert one.call("GET", "/v1.0/state/statestore/k").body == b"1"
        assert "Another instance" not in one.log()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("line", ["Starting Dapr Runtime", "standalone mode configured", "HTTP server is running"])
def test_a_signal_during_the_start_ends_it_with_success(tmp_path: Path, number: int, line: str) -> None:
    one = Sidecar(tmp_path)
    one.spawn()
    until(lambda: line in one.log())

    assert one.kill(number) == 0
    assert "Traceback" not in one.log()


def test_it_runs_with_an_empty_environment(tmp_path: Path) -> None:
    one = Sidecar(tmp_path)
    command = [*EDGED, "run", *one.arguments(), "--", "/bin/sh", "-c", "exit 3"]

    done = subprocess.run(command, env={}, capture_output=True, text=True, timeout=40, check=False, cwd=Path(__file__).parent.parent.parent)

    assert (done.returncode, done.stderr) == (3, "")


@pytest.mark.parametrize("port", ["http", "grpc", "internal-grpc"])
def test_a_port_that_is_taken_is_named_with_what_to_do(port: str, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        one = Sidecar(tmp_path)
        number = taken.getsockname()[1]
        one.flags = [f"--dapr-{port}-port", str(number)]
        one.spawn()

        assert ended(one) == 1
    assert f"{number}: bind: address already in use" in one.log() and f"choose another with --dapr-{port}-port" in one.log()


@pytest.fixture
def daprd(tmp_path: Path) -> str:
    """The executable under Dapr's name."""
    script = shutil.which("edged", path=str(Path(sys.executable).parent))
    assert script
    link = tmp_path / "daprd"
    link.symlink_to(script)
    return str(link)


def test_under_the_name_daprd_it_takes_daprds_command_line(tmp_path: Path, daprd: str) -> None:
    config = "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata: {name: c}\nspec: {}\n"

    with sidecar(tmp_path, program=(daprd,), config=config, resources={}, flags=("-log-level=debug", "--enable-metrics=false")) as one:
        assert one.call("GET", "/v1.0/metadata").json()["runtimeVersion"] == "1.18.3"
        assert one.stop() == 0


def test_the_flags_that_daprs_own_cli_gives_its_daprd_are_taken(tmp_path: Path, daprd: str) -> None:
    given = "--app-channel-address 127.0.0.1 --app-max-concurrency -1 --app-protocol http --enable-profiling=false --profile-port 0 "
    given += "--log-level info --max-body-size 4Mi --read-buffer-size 4Ki --app-health-probe-interval 0 --app-health-threshold 0 "
    given += "--dapr-listen-addresses 127.0.0.1 --enable-api-logging=false --app-ssl=false"

    with sidecar(tmp_path, program=(daprd,), resources={}, flags=given.split()) as one:
        assert one.process is not None
        assert one.call("PUT", "/v1.0/metadata/cliPID", b"1").status == 204
        assert Path(f"/proc/{one.process.pid}/comm").read_text() in ("daprd\n", "python\n")


def test_under_the_name_daprd_errors_and_version_are_daprds(daprd: str) -> None:
    version = subprocess.run([daprd, "--version"], capture_output=True, text=True, check=False)
    nameless = subprocess.run([daprd], capture_output=True, text=True, check=False, env={"HOME": "/nonexistent"})
    unknown = subprocess.run([daprd, "--no-such-flag"], capture_output=True, text=True, check=False)

    assert (version.stdout, version.returncode) == ("1.18.3\n", 0)
    assert "parameter app-id cannot be empty" in nameless.stdout and nameless.returncode == 1
    assert "unknown flag: --no-such-flag" in unknown.stderr and unknown.returncode == 2


def test_a_second_instance_of_an_app_gets_a_folder_of_its_own(tmp_path: Path) -> None:
    with sidecar(tmp_path) as first:
        second = Sidecar(tmp_path)
        second.log_path = tmp_path / "second.txt"
        with contextlib.ExitStack() as up:
            second.start()
            up.callback(second.kill)
            up.callback(first.call, "GET", "/v1.0/healthz")

            assert (
                f"Another instance of app id test on this machine holds {tmp_path}/data/test; this one uses {tmp_path}/data/test.2"
                in second.log()
            )


def test_wait_returns_when_the_sidecar_answers(tmp_path: Path) -> None:
    one = Sidecar(tmp_path)
    waiting = subprocess.Popen(
        [*EDGED, "run", "--wait", "--app-id", "x", "--dapr-http-port", str(one.http_port)], stdout=subprocess.DEVNULL
    )
    try:
        one.start()

        assert waiting.wait(30) == 0
    finally:
        one.kill()
        waiting.kill()


def test_the_log_goes_to_standard_output_line_by_line_as_daprd_writes_it(tmp_path: Path) -> None:
    with sidecar(tmp_path) as one:
        line = next(text for text in one.log().splitlines() if "app id: test" in text)

    assert line.startswith('time="') and 'level=info msg="app id: test" app_id=test instance=' in line and "type=log ver=1.18.3" in line


def test_help_and_a_wrong_command_say_what_there_is() -> None:
    assert "edged run --app-id shop" in edged("--help").stdout
    wrong = edged("rn")
    assert wrong.returncode == 2 and "No such command 'rn'" in wrong.stderr
