"""The building blocks of one daemon: every rule of Dapr's semantics lives under this package, fronts and components know none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edge.rpc.room import Room

if TYPE_CHECKING:
    from edge.app import App
    from edge.blocks.bindings import OutputBindings
    from edge.blocks.health import HealthService
    from edge.blocks.invoke import InvokeService
    from edge.blocks.metadata import MetadataService
    from edge.blocks.pubsub import PubSubService
    from edge.blocks.secrets import SecretService
    from edge.blocks.state import StateService


@dataclass(slots=True)
class Blocks:
    """What the fronts call, with the calling App as first argument. None: this daemon has no such block (no component needs it).

    shutdown: ends an app's sidecar; the flag: at once, with exit code 1. room: for answers that gRPC callers have not read.
    """

    state: StateService
    pubsub: PubSubService
    secrets: SecretService
    invoke: InvokeService
    metadata: MetadataService
    health: HealthService
    bindings: OutputBindings
    configuration: Any = None
    lock: Any = None
    jobs: Any = None
    actors: Any = None
    workflow: Any = None
    crypto: Any = None
    conversation: Any = None
    subscriptions: Any = None
    shutdown: Callable[[App, bool], None] | None = None
    room: Room = field(default_factory=Room)
