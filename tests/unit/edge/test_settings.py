"""daprd's command line: what it refuses, in its words (taken from daprd 1.18.3)."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.cli.flags import UsageError, parse
from edge.settings import SettingsError, app_settings, daemon_settings

REFUSED = [
    ("--app-id=", "parameter app-id cannot be empty"),
    ("--app-id=a.b", "parameter app-id cannot contain dots"),
    ("--app-port=abc", 'error parsing app-port: strconv.Atoi: parsing "abc": invalid syntax'),
    ("--dapr-http-port=abc", 'error parsing dapr-http-port flag: strconv.Atoi: parsing "abc": invalid syntax'),
    ("--dapr-http-port=6000 --app-port=6000", "the 'dapr-http-port' argument value 6000 conflicts with 'app-port'"),
    ("--dapr-grpc-port=6000 --app-port=6000", "the 'dapr-grpc-port' argument value 6000 conflicts with 'app-port'"),
    ("--app-protocol=ftp", "invalid value for 'app-protocol': ftp"),
    ("--disable-init-endpoints=config,foo", "invalid value for 'disable-init-endpoints': foo"),
    ("--dapr-http-port=", 'error parsing dapr-http-port flag: strconv.Atoi: parsing "": invalid syntax'),
    ("--profile-port=abc", 'error parsing profile-port flag: strconv.Atoi: parsing "abc": invalid syntax'),
    ("--scheduler-job-streams=0", "must define at least 1 scheduler stream, got 0"),
    ("--mode=foo", "invalid mode: foo"),
    (
        "--max-body-size=zz",
        "invalid value for 'max-body-size' option: "
        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
    ),
    (
        "--enable-app-health-check --app-health-probe-interval=1 --app-health-probe-timeout=2000",
        "value for 'health-probe-timeout' must be smaller than 'health-probe-interval'",
    ),
]
UNREADABLE = [
    ("--nope", "unknown flag: --nope"),
    ("--app-id", "flag needs an argument: --app-id"),
    ("--enable-metrics=maybe", 'invalid argument "maybe" for "--enable-metrics" flag: strconv.ParseBool: parsing "maybe": invalid syntax'),
    (
        "--app-max-concurrency=many",
        'invalid argument "many" for "--app-max-concurrency" flag: strconv.ParseInt: parsing "many": invalid syntax',
    ),
    (
        "--dapr-block-shutdown-duration=5",
        'invalid argument "5" for "--dapr-block-shutdown-duration" flag: time: missing unit in duration "5"',
    ),
]


@pytest.mark.parametrize(("line", "text"), REFUSED)
def test_a_value_that_cannot_be_used_is_refused_in_daprds_words(line: str, text: str, tmp_path: Path) -> None:
    words = line.split() if "--app-id" in line else ["--app-id=a", *line.split()]
    values, _ = parse(words)

    with pytest.raises(SettingsError) as refused:
        daemon_settings(values, [app_settings(values, {})], tmp_path)

    assert str(refused.value) == text


def test_the_old_name_of_the_resources_path_counts_only_alone(tmp_path: Path) -> None:
    both = parse(["--app-id=a", "--components-path=old", "--resources-path=new"])[0]
    old = parse(["--app-id=a", "--components-path=old"])[0]

    assert daemon_settings(both, [], tmp_path).resources_paths == (Path("new"),)
    assert daemon_settings(old, [], tmp_path).resources_paths == (Path("old"),)


@pytest.mark.parametrize(
    ("line", "body", "head"),
    [("", 4 << 20, 4 << 10), ("--read-buffer-size=0 --max-body-size=1e3", 1000, 1 << 20), ("--read-buffer-size=-1", 4 << 20, 4 << 10)],
)
def test_sizes_are_quantities_and_a_head_has_some_limit(line: str, body: int, head: int) -> None:
    settings = app_settings(parse(["--app-id=a", *line.split()])[0], {})

    assert (settings.max_body_bytes, settings.read_buffer_bytes) == (body, head)


@pytest.mark.parametrize(("line", "text"), UNREADABLE)
def test_a_line_that_cannot_be_read_is_refused_in_gos_words(line: str, text: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse(line.split())

    assert str(refused.value) == text
