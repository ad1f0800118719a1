"""Dapr's run file: precedence, paths, defaults and what is said of mistakes (cli.md §4)."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.cli import runfile
from edge.cli.group import grouped
from edge.cli.runfile import RunFileError


def load(folder: Path, text: str, root: Path | None = None) -> runfile.RunFile:
    (folder / "dapr.yaml").write_text(text)
    return runfile.load(folder / "dapr.yaml", root=root)


def test_app_keys_win_over_common_ones_and_env_is_merged(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    file = load(
        tmp_path,
        """
version: 1
common: {appProtocol: grpc, logLevel: debug, appMaxConcurrency: 3, env: {A: shared, B: shared}, enableApiLogging: true}
apps:
- {appDirPath: shop, appPort: 8001, logLevel: warn, env: {B: own, C: 3}, command: [python3, app.py, 1]}
- {appDirPath: ./, appID: other, appProtocol: http}
""",
    )
    shop, other = file.apps

    assert (shop.settings.app_id, shop.settings.app_protocol, shop.settings.app_port) == ("shop", "grpc", 8001)
    assert (shop.log_level, other.log_level) == ("warn", "debug")
    assert shop.env == {"A": "shared", "B": "own", "C": "3"} and other.env == {"A": "shared", "B": "shared"}
    assert (shop.command, other.command) == (("python3", "app.py", "1"), ())
    assert (other.settings.app_id, other.settings.app_protocol, other.settings.app_max_concurrency) == ("other", "http", 3)
    assert shop.settings.api_logging is True and shop.directory == tmp_path / "shop"


def test_resources_by_precedence(tmp_path: Path) -> None:
    for name in ("a/.dapr/resources", "b/own", "c", "shared", "root/components"):
        (tmp_path / name).mkdir(parents=True)
    apps = "- {appDirPath: a}\n- {appDirPath: b, resourcesPaths: [own]}\n- {appDirPath: c}\n"
    text = f"version: 1\ncommon: {{resourcesPath: shared}}\napps:\n{apps}"

    file = load(tmp_path, text, root=tmp_path / "root")
    bare = load(tmp_path, text.replace("resourcesPath: shared", ""), root=tmp_path / "root")

    assert [app.resources for app in file.apps] == [(tmp_path / "a/.dapr/resources",), (tmp_path / "b/own",), (tmp_path / "shared",)]
    assert bare.apps[2].resources == (tmp_path / "root/components",)
    assert file.common == ((tmp_path / "shared",), None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("apps: []", "`version: 1` is missing"),
        ("version: 1\napps: []", "`apps` is empty"),
        ("version: 1\napps: [x]", "each app is a mapping"),
        ("version: 1\napps: [{appID: a}]", "app a: appDirPath is missing"),
        ("version: 1\napps: [{appDirPath: nowhere}]", "nowhere: no such file or directory"),
        ("version: 1\napps: [{appDirPath: ., appID: a}, {appDirPath: ., appID: a}]", "app id a stands there twice"),
        ("version: 1\napps: [{appDirPath: ., appID: a, appProtocol: smtp}]", "appProtocol smtp: use one of http"),
        ("version: 1\napps: [{appDirPath: ., appID: a, appPort: many}]", "appPort: 'many' is no port"),
        ("version: 1\napps: [{appDirPath: ., appID: a, appPort: 70000}]", "70000 is no port (0-65535)"),
        ("version: 1\napps: [{appDirPath: ., appID: a, maxBodySize: big}]", "maxBodySize"),
        ("version: 1\napps: [", "dapr.yaml: while parsing"),
    ],
)
def test_a_mistake_is_named_with_file_app_and_key(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(RunFileError) as caught:
        load(tmp_path, text)

    assert str(caught.value).startswith(f"{tmp_path}") and said in str(caught.value)


def test_locate_finds_the_file_of_a_directory(tmp_path: Path) -> None:
    (tmp_path / "dapr.yaml").write_text("")
    (tmp_path / "run.txt").write_text("")

    assert runfile.locate(str(tmp_path)) == tmp_path / "dapr.yaml"
    with pytest.raises(RunFileError, match=r"ends in .yaml or .yml"):
        runfile.locate(str(tmp_path / "run.txt"))
    with pytest.raises(RunFileError, match="no such file"):
        runfile.locate(str(tmp_path / "other.yaml"))


VALUES = {"dapr_graceful_shutdown_seconds": 5, "enable_metrics": True, "metrics_listen_address": "127.0.0.1", "metrics_port": "9090"}


def test_apps_with_the_same_resources_share_a_daemon_whose_folder_keeps_its_name(tmp_path: Path) -> None:
    for name in ("shared", "own"):
        (tmp_path / name).mkdir()
    head = "version: 1\nname: farm\ncommon: {resourcesPaths: [shared]}\napps:\n"
    one, two, other = (
        "- {appDirPath: ., appID: one}\n",
        "- {appDirPath: ., appID: two}\n",
        "- {appDirPath: ., appID: x, resourcesPaths: [own]}\n",
    )

    few = grouped([load(tmp_path, head + other + one)], VALUES)
    more = grouped([load(tmp_path, head + one + two + other)], VALUES)

    assert {group.name: [app.app_id for app in group.settings.apps] for group in more} == {"farm": ["one", "two"], few[0].name: ["x"]}
    assert [group.name for group in few][1] == "farm" and few[0].name.startswith("farm-")
    ports = [port for group in more for app in group.settings.apps for port in (app.http_port, app.grpc_port)]
    assert len(set(ports)) == 6 and all(port > 0 for port in ports)
    assert [group.settings.metrics for group in more] == [True, False]


def test_an_app_id_in_two_files_is_refused(tmp_path: Path) -> None:
    file = load(tmp_path, "version: 1\napps: [{appDirPath: ., appID: a}]")

    with pytest.raises(RunFileError, match="app id a stands in another file too"):
        grouped([file, file], VALUES)
