"""`--config` files are merged, expanded and typed as Dapr does."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.config.configfile import ConfigurationError, expand, load
from edge.config.configuration import Configuration, SecretScope


def write(path: Path, text: str) -> Path:
    path.write_text(f"apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata: {{name: c}}\nspec:\n{text}")
    return path


def test_no_file_gives_daprs_defaults() -> None:
    found, problems = load([], {})

    assert not problems
    assert found.metric.enabled and found.access_control.default_action == "allow" and found.tracing.otel.is_secure
    assert found.enabled_features == ("HotReload", "WorkflowsRemoteActivityReminder")


def test_later_files_go_over_earlier_ones_key_by_key(tmp_path: Path) -> None:
    first = write(tmp_path / "a.yaml", "  tracing: {samplingRate: '1', stdout: true}\n  components: {deny: [a, b]}\n")
    second = write(tmp_path / "b.yaml", "  tracing: {stdout: false}\n  components: {deny: [c]}\n")

    found, _ = load([first, second], {})

    assert (found.tracing.sampling_rate, found.tracing.stdout) == ("1", False)
    assert found.components.deny == ("c",)


def test_the_environment_is_expanded_and_unset_names_are_empty() -> None:
    assert expand("a: $X ${Y}z $NO. 5$ $1", {"X": "x", "Y": "y"}) == "a: x yz . 5$ "


def test_the_plural_metrics_wins_field_by_field(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", "  metric: {enabled: true, recordErrorCodes: true}\n  metrics: {enabled: false}\n")

    found, _ = load([path], {})

    assert not found.metric.enabled and found.metric.record_error_codes


def test_secret_scopes_decide_as_dapr_does() -> None:
    assert not SecretScope("s", "allow", denied_secrets=("x",)).allows("x")
    assert SecretScope("s", "deny", allowed_secrets=("x",)).allows("x")
    assert not SecretScope("s", "allow", allowed_secrets=("x",)).allows("y")
    assert not SecretScope("s", "Deny").allows("y")
    assert SecretScope("s").allows("y")


def test_a_feature_written_off_is_off(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", "  features: [{name: HotReload, enabled: false}, {name: ActorStateTTL, enabled: true}]\n")

    assert load([path], {})[0].enabled_features == ("ActorStateTTL", "WorkflowsRemoteActivityReminder")


def test_api_rules_are_found_by_protocol(tmp_path: Path) -> None:
    text = "  api:\n    denied:\n    - {name: state, version: v1, protocol: HTTP}\n    - {name: invoke, version: v1}\n"

    api = load([write(tmp_path / "a.yaml", text)], {})[0].api

    assert api.rules("denied", "http") == {"v1/state"}
    assert not api.rules("denied", "grpc") and not api.rules("allowed", "http")


def test_an_unknown_field_is_a_warning_with_its_line(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", "  tracing:\n    samplingRatio: '1'\n")

    found, (problem,) = load([path], {})

    assert found == Configuration()
    assert problem.where == f"{path}:6"
    assert problem.message == "unknown field spec.tracing.samplingRatio, did you mean samplingRate?; it is ignored"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("  tracing: {stdout: 'yes please'}\n", r"yaml: line 5: spec\.tracing\.stdout is the text .yes please., it must be true or false"),
        ("  tracing: [\n", "yaml: line 5: did not find expected node content"),
        ("  secrets: {scopes: [{storeName: a}, {storeName: a}]}\n", "a storeName is repeated in secrets configuration"),
        ("  secrets: {scopes: [{storeName: a, defaultAccess: some}]}\n", "defaultAccess some can be either allow or deny"),
        ("  workflow: {stateRetentionPolicy: {completed: never}}\n", "completed: time: invalid duration"),
    ],
)
def test_a_mistake_is_refused_in_daprs_words(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^error loading configuration: .*{message}"):
        load([write(tmp_path / "a.yaml", text)], {})


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"^error loading configuration: stat .*x\.yaml: no such file or directory$"):
        load([tmp_path / "x.yaml"], {})
