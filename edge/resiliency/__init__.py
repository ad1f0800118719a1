"""Timeouts, retries and circuit breakers: `Policies` finds the `Policy` of a target, `Policy.run` applies it."""

from edge.resiliency.breaker import Breaker, BreakerSettings, CircuitOpen
from edge.resiliency.policies import ActorTarget, AppTarget, ComponentTarget, Policies, PolicyNames, Rules
from edge.resiliency.policy import CodeError, Final, Observer, Policy, TimedOut
from edge.resiliency.retry import CodeRange, Retry

__all__ = [
    "ActorTarget",
    "AppTarget",
    "Breaker",
    "BreakerSettings",
    "CircuitOpen",
    "CodeError",
    "CodeRange",
    "ComponentTarget",
    "Final",
    "Observer",
    "Policies",
    "Policy",
    "PolicyNames",
    "Retry",
    "Rules",
    "TimedOut",
]
