"""Resource directories become a plan: daprd's own YAML loads unchanged, mistakes name file and line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edge.config.plan import Plan, PlanError, read_plan
from edge.model import BulkSubscribe, Rule

SETUPS: dict[str, Any] = json.loads((Path(__file__).parents[3] / "data/setups.json").read_text())
COMPONENT = "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {{name: {}}}\nspec: {{type: {}, version: v1{}}}\n---\n"


def plan_of(tmp_path: Path, *files: str, app: str = "shop", environ: dict[str, str] | None = None, config: str = "", **more: Any) -> Plan:
    folder = tmp_path / "r"
    folder.mkdir(exist_ok=True)
    for number, text in enumerate(files):
        (folder / f"{number:02}.yaml").write_text(text)
    (tmp_path / "c.yaml").write_text(config)
    return read_plan([folder], [tmp_path / "c.yaml"] if config else [], [app], environ or {}, tmp_path, **more)


def component(name: str, type_: str = "state.in-memory", more: str = "") -> str:
    return COMPONENT.format(name, type_, more)


@pytest.mark.parametrize("name", sorted(SETUPS))
def test_daprds_resources_load_without_a_word(name: str, tmp_path: Path) -> None:
    setup = SETUPS[name]

    plan = plan_of(tmp_path, setup["resources"], app=setup["app_id"], config=setup["config"] or "spec: {}")

    assert [str(problem) for problem in plan.problems] == []
    assert len(plan.components) == setup["resources"].count("kind: Component")


def test_without_yaml_there_is_a_durable_store_and_pubsub(tmp_path: Path) -> None:
    plan = read_plan([], [], ["shop"], {}, tmp_path)

    assert [(each.name, each.type) for each in plan.components] == [("statestore", "state.sqlite"), ("pubsub", "pubsub.sqlite")]
    assert plan.components[0].metadata[0].value == str(tmp_path / "edged.db")
    assert plan.embedded


def test_a_configuration_alone_keeps_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("spec: {tracing: {stdout: true}}")

    plan = read_plan([], [tmp_path / "c.yaml"], ["shop"], {}, tmp_path)

    assert plan.embedded and plan.configuration.tracing.stdout


def test_secret_stores_come_first(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, component("a") + component("s", "secretstores.local.env") + component("b"))

    assert [each.name for each in plan.components] == ["s", "a", "b"]


def test_out_of_scope_resources_are_left_out(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, component("a") + "scopes: [other]\n---\n" + component("b").replace("---\n", "scopes: [shop, x]\n"))

    assert [each.name for each in plan.components] == ["a", "b"]
    assert plan.components[1].scopes == ("shop", "x")


def test_a_namespace_counts_only_when_both_sides_have_one(tmp_path: Path) -> None:
    text = component("a").replace("{name: a}", "{name: a, namespace: prod}") + component("b")

    assert [each.name for each in plan_of(tmp_path, text).components] == ["a", "b"]
    assert [each.name for each in plan_of(tmp_path, text, environ={"NAMESPACE": "dev"}).components] == ["b"]
    assert [each.name for each in plan_of(tmp_path, text, environ={"NAMESPACE": "prod"}).components] == ["a", "b"]


def test_a_name_twice_is_refused_with_both_places(tmp_path: Path) -> None:
    with pytest.raises(PlanError) as caught:
        plan_of(tmp_path, component("a"), component("a", "state.sqlite"))

    text = str(caught.value)
    assert "duplicate definition of Component name a (state.sqlite/v1) with existing a (state.in-memory/v1)" in text
    assert "01.yaml:1" in text and "00.yaml:1" in text


def test_of_subscriptions_with_one_name_the_last_counts(tmp_path: Path) -> None:
    head = "apiVersion: dapr.io/v2alpha1\nkind: Subscription\nmetadata: {{name: s}}\n"
    text = head + "spec: {{pubsubname: p, topic: {}, routes: {{default: /x}}}}\n"

    plan = plan_of(tmp_path, text.format("one"), text.format("two"))

    assert [each.subscription.topic for each in plan.subscriptions] == ["two"]
    assert "Subscription s is defined again at" in str(plan.problems[0]) and not plan.problems[0].fatal


def test_entries_keep_their_values_as_text(tmp_path: Path) -> None:
    fields = (
        "{name: a, value: 1.0}, {name: b, value: yes}, {name: c, secretKeyRef: {name: s}}, {name: d, envRef: E}, {name: e, value: {x: 1}}"
    )

    (found,) = plan_of(tmp_path, component("a", more=f", metadata: [{fields}]")).components

    assert [(each.name, each.value, each.secret, each.env) for each in found.metadata] == [
        ("a", "1", ("", ""), ""),
        ("b", "true", ("", ""), ""),
        ("c", None, ("s", "s"), ""),
        ("d", None, ("", ""), "E"),
        ("e", '{"x":1}', ("", ""), ""),
    ]


@pytest.mark.parametrize(("text", "seconds"), [("10s", 10.0), ("", 5.0), ("soon", 5.0)])
def test_init_timeout_is_five_seconds_unless_it_can_be_read(tmp_path: Path, text: str, seconds: float) -> None:
    plan = plan_of(tmp_path, component("a", more=f", initTimeout: '{text}', ignoreErrors: true"))

    assert (plan.components[0].init_timeout, plan.components[0].ignore_errors) == (seconds, True)
    assert len(plan.problems) == (text == "soon")


def test_a_document_that_can_not_be_used_is_skipped_with_one_warning(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "kind: [\n---\n" + component("a") + component("b").replace("spec: {", "spec: {ignoreErrors: 'true', "))

    assert [each.name for each in plan.components] == ["a"]
    assert [problem.where.rpartition(":")[2] for problem in plan.problems] == ["1", "11"]
    assert "ignoreErrors is the text" in plan.problems[1].message and all(problem.lost for problem in plan.problems)


def test_strict_refuses_what_would_be_skipped(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="no YAML"):
        plan_of(tmp_path, "kind: [\n", strict=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("apiVersion: dapr.io/v1alpha1\nkind: Componnet\nmetadata: {name: a}", "unknown kind Componnet, did you mean Component?"),
        (component("a").replace("v1alpha1", "v9"), 'apiVersion "dapr.io/v9" is not dapr.io/v1alpha1'),
        (component("a/b"), 'metadata.name "a/b" must be one path segment'),
        (component("a").replace("type:", "tpye:"), "unknown field spec.tpye, did you mean type?"),
        (component("a").replace("---", "scope: [x]"), "unknown field scope, did you mean scopes?"),
    ],
)
def test_a_slip_names_the_nearest_word(tmp_path: Path, text: str, message: str) -> None:
    assert any(message in problem.message for problem in plan_of(tmp_path, text).problems)


def test_references_to_nothing_are_warnings(tmp_path: Path) -> None:
    subscription = "apiVersion: dapr.io/v2alpha1\nkind: Subscription\nmetadata: {name: d}\nspec: {pubsubname: bas, topic: t}\n---\n"
    outbox = component("s", more=", metadata: [{name: outboxPublishPubsub, value: nobus}]").replace(
        "---", "auth: {secretStore: vault}\n---"
    )

    plan = plan_of(tmp_path, subscription + component("bus", "pubsub.in-memory") + outbox)

    assert [problem.message for problem in plan.problems] == [
        "subscription d is for pubsub bas, but there is no such pub/sub component, did you mean bus?",
        "s takes its secrets from vault, but there is no such secret store",
        "outboxPublishPubsub of s is nobus, but there is no such pub/sub component, did you mean bus?",
    ]


def test_subscriptions_and_resiliency_need_no_name_but_components_do(tmp_path: Path) -> None:
    subscription = "apiVersion: dapr.io/v1alpha1\nkind: Subscription\nspec: {pubsubname: b, topic: t, route: /r}\n---\n"
    resiliency = "apiVersion: dapr.io/v1alpha1\nkind: Resiliency\nspec: {policies: {timeouts: {brief: 1s}}}\n---\n"

    plan = plan_of(tmp_path, component("b", "pubsub.in-memory"), subscription, resiliency)

    assert [each.subscription.topic for each in plan.subscriptions] == ["t"] and not plan.problems
    assert any("must be one path segment" in problem.message for problem in plan_of(tmp_path, component("''")).problems)


def test_subscriptions_of_both_versions_become_rules(tmp_path: Path) -> None:
    old = "apiVersion: dapr.io/v1alpha1\nkind: Subscription\nmetadata: {name: a}\nspec: {pubsubname: b, topic: t, route: /r}\n---\n"
    new = """apiVersion: dapr.io/v2alpha1
kind: Subscription
metadata: {name: c}
spec:
  pubsubname: b
  topic: u
  routes: {rules: [{match: event.type == "x", path: /x}], default: /d}
  metadata: {rawPayload: true}
  deadLetterTopic: grave
  bulkSubscribe: {enabled: true, maxAwaitDurationMs: 40}
scopes: [shop]
"""

    first, second = (each.subscription for each in plan_of(tmp_path, component("b", "pubsub.in-memory") + old + new).subscriptions)

    assert first.rules == (Rule("", "/r"),)
    assert second.rules == (Rule('event.type == "x"', "/x"), Rule("", "/d"))
    assert second.raw and second.dead_letter_topic == "grave" and second.scopes == ("shop",)
    assert second.bulk == BulkSubscribe(True, 100, 0.04)


def test_a_rule_that_is_no_cel_is_refused(tmp_path: Path) -> None:
    text = "apiVersion: dapr.io/v2alpha1\nkind: Subscription\nmetadata: {name: d}\n"
    text += "spec: {pubsubname: b, topic: t, routes: {rules: [{match: 'event.type ==', path: /x}]}}\n"

    with pytest.raises(PlanError, match=r"00\.yaml:1: subscription d: the rule event.type == can't be used"):
        plan_of(tmp_path, text)


def test_denied_types_are_left_out(tmp_path: Path) -> None:
    config = "spec: {components: {deny: [state.sqlite/v1, state.redis]}}"
    text = component("a", "state.sqlite") + component("b", "state.redis") + component("c") + component("d").replace(", version: v1", "")

    plan = plan_of(tmp_path, text, config=config)

    assert [each.name for each in plan.components] == ["c"]
    assert len(plan.problems) == 3


def test_http_endpoints_have_headers_and_tls(tmp_path: Path) -> None:
    text = """apiVersion: dapr.io/v1alpha1
kind: HTTPEndpoint
metadata: {name: out}
spec:
  baseUrl: https://x.example
  headers: [{name: k, secretKeyRef: {name: s, key: v}}]
  clientTLS: {rootCA: {value: pem}, privateKey: {secretKeyRef: {name: k}}, renegotiation: RenegotiateNever}
auth: {secretStore: e}
"""

    (found,) = plan_of(tmp_path, component("e", "secretstores.local.env") + text).http_endpoints

    assert found.base_url == "https://x.example" and found.headers[0].secret == ("s", "v")
    assert [(each.name, each.value, each.secret[0]) for each in found.tls] == [("rootCA", "pem", ""), ("privateKey", None, "k")]


def test_a_missing_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"open .*nowhere: no such file or directory"):
        read_plan([tmp_path / "nowhere"], [], ["shop"], {}, tmp_path)
