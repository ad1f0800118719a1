"""A target's own entry wins over defaults by name; breakers are kept per component, address and actor."""

from __future__ import annotations

from edge.resiliency import ActorTarget, AppTarget, BreakerSettings, ComponentTarget, Policies, PolicyNames, Retry, Rules

ONCE, TWICE = Retry(max_retries=1), Retry(max_retries=2)


def test_nothing_configured_means_no_policy() -> None:
    policies = Policies()

    assert policies.component("s", "state", "outbound") is None
    assert policies.app("a", "1.2.3.4:5") is None and policies.actor_before("T", "1") is None and policies.actor_after("T", "1") is None


def test_a_component_has_a_policy_per_direction() -> None:
    target = ComponentTarget(outbound=PolicyNames(timeout="t", retry="r"))
    policies = Policies(Rules(timeouts={"t": 2.0}, retries={"r": ONCE}, components={"s": target}))

    found = policies.outbound("state")("s")

    assert found is not None and (found.timeout, found.retry, found.name) == (2.0, ONCE, "component[s] output")
    assert (found.target, found.direction) == ("Statestore_s", "outbound")
    assert policies.inbound("state")("s") is None


def test_defaults_are_found_most_specific_first_and_each_kind_by_itself() -> None:
    rules = Rules(
        timeouts={
            "DefaultTimeoutPolicy": 9,
            "DefaultStatestoreComponentOutboundTimeoutPolicy": 1,
            "DefaultComponentOutboundTimeoutPolicy": 2,
        },
        retries={"DefaultComponentRetryPolicy": ONCE, "DefaultRetryPolicy": TWICE},
    )
    policies = Policies(rules)

    state, bus, app = policies.component("s", "state", "outbound"), policies.component("b", "pubsub", "inbound"), policies.app("a", "x")

    assert state is not None and (state.timeout, state.retry) == (1, ONCE)
    assert bus is not None and (bus.timeout, bus.retry) == (9, ONCE)
    assert app is not None and (app.timeout, app.retry) == (9, TWICE)


def test_an_own_entry_switches_all_defaults_off() -> None:
    policies = Policies(Rules(timeouts={"DefaultTimeoutPolicy": 9}, components={"s": ComponentTarget()}, apps={"a": AppTarget()}))

    assert policies.component("s", "state", "outbound") is None and policies.app("a", "x") is None
    assert policies.has_app("a") and not policies.has_app("b")


def test_one_breaker_per_component_in_both_directions() -> None:
    names = PolicyNames(circuit_breaker="cb")
    policies = Policies(Rules(breakers={"cb": BreakerSettings()}, components={"s": ComponentTarget(names, names)}))

    inbound, outbound = policies.component("s", "pubsub", "inbound"), policies.component("s", "pubsub", "outbound")

    assert inbound is not None and outbound is not None and inbound.breaker is outbound.breaker


def test_an_app_has_a_breaker_per_address_and_keeps_so_many() -> None:
    policies = Policies(Rules(breakers={"cb": BreakerSettings()}, apps={"a": AppTarget(circuit_breaker="cb", cache_size=2)}))

    first = policies.app("a", "one")
    assert first is not None and policies.app("a", "one").breaker is first.breaker  # type: ignore[union-attr]
    for address in ("two", "three"):
        policies.app("a", address)

    assert policies.app("a", "one").breaker is not first.breaker  # type: ignore[union-attr]


def test_actor_breakers_are_per_type_or_per_actor_and_timeouts_inside_the_turn() -> None:
    rules = Rules(timeouts={"t": 3.0}, breakers={"cb": BreakerSettings()})
    rules.actors["T"] = ActorTarget("t", "", "cb", "type")
    rules.actors["I"] = ActorTarget("t", "", "cb", "id")
    policies = Policies(rules)

    breakers = {f"{type_}{id_}": policies.actor_before(type_, id_).breaker for type_ in "TI" for id_ in "12"}  # type: ignore[union-attr]

    assert breakers["T1"] is breakers["T2"] and breakers["I1"] is not breakers["I2"]
    inside = policies.actor_after("T", "1")
    assert inside is not None and inside.timeout == 3.0 and inside.breaker is None


def test_built_in_retries_are_daprs() -> None:
    policies = Policies()

    assert policies.built_in("DaprBuiltInServiceRetries").retry == Retry(duration=1, max_retries=3)
    assert policies.built_in("DaprBuiltInActorNotFoundRetries").retry == Retry(duration=1, max_retries=5)


def test_a_policy_that_does_not_exist_is_none() -> None:
    policies = Policies(Rules(components={"s": ComponentTarget(outbound=PolicyNames("no", "no", "no"))}))

    assert policies.component("s", "state", "outbound") is None
