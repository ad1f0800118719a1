"""Every component by Dapr's type and version. Strings only: registry, docs, tests and the frozen build read this table."""

from __future__ import annotations

CATALOG: dict[str, str] = {
    "bindings.cron/v1": "components.bindings.cron:Binding",
    "bindings.host/v1": "components.bindings.host:Binding",
    "bindings.http/v1": "components.bindings.http:Binding",
    "bindings.localstorage/v1": "components.bindings.localstorage:Binding",
    "bindings.mqtt3/v1": "components.bindings.mqtt3:Binding",
    "bindings.postgresql/v1": "components.bindings.postgresql:Binding",
    "bindings.redis/v1": "components.bindings.redis:Binding",
    "bindings.serial/v1": "components.bindings.serial:Binding",
    "bindings.smtp/v1": "components.bindings.smtp:Binding",
    "bindings.sqlite/v1": "components.bindings.sqlite:Binding",
    "configuration.postgresql/v1": "components.configuration.postgresql:Store",
    "configuration.redis/v1": "components.configuration.redis:Store",
    "configuration.sqlite/v1": "components.configuration.sqlite:Store",
    "conversation.echo/v1": "components.conversation.echo:Model",
    "conversation.ollama/v1": "components.conversation.ollama:Model",
    "conversation.openai/v1": "components.conversation.openai:Model",
    "crypto.dapr.jwks/v1": "components.crypto.dapr_jwks:Provider",
    "crypto.dapr.localstorage/v1": "components.crypto.dapr_localstorage:Provider",
    "lock.redis/v1": "components.lock.redis:Store",
    "lock.sqlite/v1": "components.lock.sqlite:Store",
    "pubsub.in-memory/v1": "components.pubsub.in_memory:PubSub",
    "pubsub.jetstream/v1": "components.pubsub.jetstream:PubSub",
    "pubsub.mqtt3/v1": "components.pubsub.mqtt3:PubSub",
    "pubsub.redis/v1": "components.pubsub.redis:PubSub",
    "pubsub.sqlite/v1": "components.pubsub.sqlite:PubSub",
    "secretstores.local.env/v1": "components.secretstores.local_env:Store",
    "secretstores.local.file/v1": "components.secretstores.local_file:Store",
    "secretstores.systemd/v1": "components.secretstores.systemd:Store",
    "state.in-memory/v1": "components.state.in_memory:Store",
    "state.postgresql/v1": "components.state.postgresql:Store",
    "state.postgresql/v2": "components.state.postgresql_v2:Store",
    "state.redis/v1": "components.state.redis:Store",
    "state.sqlite/v1": "components.state.sqlite:Store",
}

ALIASES: dict[str, str] = {
    "bindings.postgres": "bindings.postgresql",
    "configuration.postgres": "configuration.postgresql",
    "pubsub.mqtt": "pubsub.mqtt3",
    "state.postgres": "state.postgresql",
    "state.sqlite3": "state.sqlite",
}
