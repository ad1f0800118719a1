"""What an app says about its actors: the JSON of `GET /dapr/config`, or the first message of an actor stream. Per type, with defaults."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from edge.durations import parse_go_duration
from edge.record import record

log = logging.getLogger("dapr.runtime.actor.config")
DISSEMINATION = 30.0
NAMES = (
    *("entities", "actorIdleTimeout", "drainOngoingCallTimeout", "drainRebalancedActors", "reentrancy", "enabled", "maxStackDepth"),
    *("remindersStoragePartitions", "entitiesConfig"),
)
KEYS = {name.lower(): name for name in NAMES}


@record
class TypeConfig:
    """How actors of one type behave. idle_timeout: seconds without a call until an instance is deactivated.

    drain_timeout: seconds a running call may take when its actor moves or the app goes; drain: False = none.
    reentrant: a stack of calls may enter an actor again, `max_depth` times in all.
    """

    idle_timeout: float = 3600.0
    drain_timeout: float = 2.0
    drain: bool = True
    reentrant: bool = False
    max_depth: int = 32


def parse(raw: Mapping[str, Any]) -> dict[str, TypeConfig]:
    """The hosted types and their settings; what cannot be read keeps its default and is logged.

    Source: Dapr pkg/actors/actors.go RegisterHosted, pkg/actors/api/config.go @1.18.3; an unreadable duration there ends the registration.
    """
    raw = _spelled(raw)
    common = _settings(raw, TypeConfig())
    types = {name: common for name in _names(raw)}
    for entry in raw.get("entitiesConfig") or ():
        if not isinstance(entry, dict):
            continue
        entry = _spelled(entry)
        own = _settings(entry, replace(common, idle_timeout=3600.0, reentrant=False, max_depth=32))
        for name in _names(entry):
            if name in types:
                types[name] = own
            else:
                log.warning("Configuration specified for non-hosted actor type: %s", name)
    if raw.get("remindersStoragePartitions"):
        log.warning("remindersStoragePartitions is deprecated and ignored: reminders are kept by the scheduler")
    return types


def _spelled(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Keys in any case are Go's."""
    return {KEYS.get(key.lower(), key): value for key, value in raw.items()}


def _names(raw: Mapping[str, Any]) -> list[str]:
    names = raw.get("entities")
    return [name for name in names if isinstance(name, str) and name] if isinstance(names, list) else []


def _settings(raw: Mapping[str, Any], base: TypeConfig) -> TypeConfig:
    reentrancy = raw.get("reentrancy")
    reentrancy = _spelled(reentrancy) if isinstance(reentrancy, dict) else {}
    depth = reentrancy.get("maxStackDepth")
    drain = raw.get("drainRebalancedActors")
    return TypeConfig(
        idle_timeout=_duration(raw, "actorIdleTimeout", base.idle_timeout),
        drain_timeout=min(_duration(raw, "drainOngoingCallTimeout", base.drain_timeout), DISSEMINATION * 0.8),
        drain=drain if isinstance(drain, bool) else base.drain,
        reentrant=bool(reentrancy["enabled"]) if "enabled" in reentrancy else base.reentrant,
        max_depth=max(depth, 1) if isinstance(depth, int) else base.max_depth,
    )


def _duration(raw: Mapping[str, Any], key: str, default: float) -> float:
    text = raw.get(key)
    if not text:
        return default
    try:
        seconds = parse_go_duration(str(text))
    except ValueError:
        log.warning("Invalid %s value %s, using default value %gs", key, text, default)
        return default
    return seconds if seconds > 0 else default
