"""daprd's command line by Go's rules."""

from __future__ import annotations

from typing import Any

import pytest

from edge.cli import flags


@pytest.mark.parametrize(
    ("words", "key", "value"),
    [
        (["--app-id", "a"], "app_id", "a"),
        (["-app-id", "a"], "app_id", "a"),
        (["--app-id=a=b"], "app_id", "a=b"),
        (["--app-max-concurrency", "-1"], "app_max_concurrency", -1),
        (["--enable-metrics=false"], "enable_metrics", False),
        (["--enable-api-logging"], "enable_api_logging", True),
        (["--resources-path", "a,b", "--resources-path", "c"], "resources_path", ["a", "b", "c"]),
        (["--config", "a", "--config=b"], "config", ["a", "b"]),
        (["--dapr-block-shutdown-duration", "1m30s"], "dapr_block_shutdown_duration", 90.0),
        ([], "dapr_http_port", "3500"),
        ([], "dapr_grpc_port", "50001"),
        ([], "dapr_graceful_shutdown_seconds", 5),
    ],
)
def test_values_by_gos_rules_and_daprds_defaults(words: list[str], key: str, value: Any) -> None:
    assert flags.parse(words)[0][key] == value


def test_what_stands_after_two_dashes_is_the_apps() -> None:
    values, command = flags.parse(["--app-id", "a", "--", "python", "app.py", "--app-id", "b"])

    assert values["app_id"] == "a" and command == ["python", "app.py", "--app-id", "b"]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--no-such"], "unknown flag: --no-such"),
        (["--app-id"], "flag needs an argument: --app-id"),
        (["--app-max-concurrency", "many"], 'invalid argument "many" for "--app-max-concurrency" flag'),
        (["--enable-metrics=maybe"], 'strconv.ParseBool: parsing "maybe": invalid syntax'),
    ],
)
def test_errors_are_gos(words: list[str], text: str) -> None:
    with pytest.raises(flags.UsageError) as caught:
        flags.parse(words)

    assert text in str(caught.value)


def test_usage_lists_every_flag_with_its_default() -> None:
    text = flags.usage("daprd")

    assert text.startswith("Usage of daprd:\n")
    assert all(f"--{flag.name}" in text for flag in flags.FLAGS)
    assert "(default 5)" in text and '(default "/healthz")' in text and "(default 3s)" in text
