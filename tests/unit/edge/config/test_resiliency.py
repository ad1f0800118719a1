"""Resiliency resources become rules, with Dapr's defaults and refusals."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from edge.cel import Condition
from edge.config.plan import Plan, read_plan
from edge.config.resources import Resiliency
from edge.resiliency import BreakerSettings, Retry, Rules

HEAD = "apiVersion: dapr.io/v1alpha1\nkind: Resiliency\nmetadata: {name: %s}\nspec:\n"


def plan_of(tmp_path: Path, *specs: str, tail: str = "") -> Plan:
    for number, spec in enumerate(specs):
        (tmp_path / f"{number}.yaml").write_text(HEAD % f"r{number}" + textwrap.indent(textwrap.dedent(spec), "  ") + tail)
    return read_plan([tmp_path], [], ["shop"], {}, tmp_path)


def test_policies_have_daprs_defaults_and_units(tmp_path: Path) -> None:
    rules = plan_of(
        tmp_path,
        """
        policies:
          timeouts: {a: 400ms, b: 250}
          retries:
            plain: {}
            many: {policy: Exponential, maxInterval: 15s, maxRetries: 4, matching: {httpStatusCodes: '502-504', gRPCStatusCodes: '14'}}
            fixed: {policy: constant, duration: 50}
          circuitBreakers:
            plain: {}
            own: {maxRequests: 2, interval: 8s, timeout: 45s, trip: consecutiveFailures > 8}
        """,
    ).rules("shop")

    assert rules.timeouts == {"a": 0.4, "b": 0.25}
    assert rules.retries["plain"] == Retry()
    assert rules.retries["many"] == Retry(True, max_interval=15, max_retries=4, http=((502, 504),), grpc=((14, 14),))
    assert rules.retries["fixed"].duration == 0.05
    assert rules.breakers == {"plain": BreakerSettings(), "own": BreakerSettings(2, 8, 45, Condition("consecutiveFailures > 8"))}
    assert "DaprBuiltInServiceRetries" in rules.retries


def test_a_later_resource_goes_over_an_earlier_one(tmp_path: Path) -> None:
    rules = plan_of(tmp_path, "policies: {timeouts: {a: 1s, b: 2s}}", "policies: {timeouts: {b: 3s}}").rules("shop")

    assert rules.timeouts == {"a": 1, "b": 3}


def test_scopes_keep_it_from_other_apps(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "policies: {timeouts: {a: 1s}}\n", tail="scopes: [other]\n")

    assert plan.rules("shop").timeouts == {} and plan.resiliencies == ()


def test_built_in_retries_keep_three_tries_and_one_is_protected(tmp_path: Path) -> None:
    plan = plan_of(
        tmp_path,
        """
        policies:
          retries:
            DaprBuiltInServiceRetries: {duration: 10ms, maxRetries: 1}
            DaprBuiltInActorNotFoundRetries: {duration: 10ms, maxRetries: 9}
        """,
    )

    rules = plan.rules("shop")
    assert rules.retries["DaprBuiltInServiceRetries"] == Retry(duration=0.01, max_retries=3)
    assert rules.retries["DaprBuiltInActorNotFoundRetries"] == Retry(duration=1, max_retries=5)
    assert ["minimum retry count" in p.message or "protected policy" in p.message for p in plan.problems] == [True, True]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("policies: {timeouts: {a: soon}}", 'invalid duration "timeout a", soon'),
        ("policies: {retries: {a: {policy: wild}}}", "unexpected back off policy type: wild"),
        ("policies: {retries: {a: {matching: {httpStatusCodes: '99'}}}}", "invalid pattern 99"),
        ("policies: {circuitBreakers: {a: {trip: 'x >'}}}", "circuit breaker a: trip:"),
        ("targets: {actors: {T: {circuitBreaker: cb}}}", "actor circuit breakers must include scope"),
        ("targets: {actors: {T: {circuitBreaker: cb, circuitBreakerScope: all}}}", 'unknown circuit breaker scope "all"'),
        ("policies: []", "spec.policies is a list"),
    ],
)
def test_a_mistake_leaves_the_resource_out_with_a_warning(tmp_path: Path, spec: str, message: str) -> None:
    plan = plan_of(tmp_path, spec)

    assert plan.resiliencies == ()
    assert [problem.lost for problem in plan.problems] == [True] and message in plan.problems[0].message


def test_a_target_that_names_no_policy_is_a_warning(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "policies: {timeouts: {quick: 1s}}\ntargets: {components: {s: {outbound: {timeout: quik}}}}")

    assert plan.problems[0].message == ("spec.targets.components.s.outbound.timeout: no policy quik in this resource, did you mean quick?")


def test_rules_apply_to_the_apps_of_their_scopes_the_later_over_the_earlier() -> None:
    everybody = Resiliency("all", "", (), Rules(timeouts={"slow": 1.0}))
    one = Resiliency("one", "", ("shop",), Rules(timeouts={"slow": 2.0}))
    plan = Plan(resiliencies=(everybody, one))

    assert [plan.rules(app).timeouts for app in ("shop", "other")] == [{"slow": 2.0}, {"slow": 1.0}]
    assert [plan.resiliency_name(app) for app in ("shop", "other")] == ["one", "all"]
