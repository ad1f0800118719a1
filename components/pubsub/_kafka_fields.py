"""The metadata of `pubsub.kafka`, and what aiokafka is told of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from edge.clock import blamed
from edge.errors import Invalid
from edge.record import record
from edge.spec import Duration, Size, meta, truthy

ACKS: Mapping[str, int | str] = {"all": "all", "local": 1, "none": 0}
MECHANISMS = {"sha-256": "SCRAM-SHA-256", "sha-512": "SCRAM-SHA-512", "plaintext": "PLAIN", "": "PLAIN"}
AUTH = ("none", "password", "mtls", "certificate")


@record
class Fields:
    """Metadata of the component."""

    brokers: str = meta(
        doc="Bootstrap servers, comma separated.", example="localhost:9092", missing="kafka error: missing 'brokers' attribute"
    )
    consumer_id: str = meta("", name="consumerID", doc="The group where `consumerGroup` is not given; the app id unless given.")
    consumer_group: str = meta("", doc="Name of the consumer group.")
    client_id: str = meta("", name="clientId", doc="Name of this client; the app id unless given.", aliases=("clientID",))
    auth_type: str = meta("", doc="How we sign in.", choices=("", *AUTH))
    auth_required: str = meta("", doc="Old form of authType: `true` = password or mtls, `false` = none.")
    sasl_username: str = meta("", doc="User name, for password.")
    sasl_password: str = meta("", doc="Password.", sensitive=True)
    sasl_mechanism: str = meta("", doc="`SHA-256`, `SHA-512` or `PLAINTEXT`, for password.")
    initial_offset: str = meta("newest", doc="Where a new group begins.", choices=("newest", "oldest"))
    max_message_bytes: Size = meta(Size(1 << 20), doc="Longest message that is published.", least=1)
    disable_tls: bool = meta(False, name="disableTls", doc="No TLS although a password is sent.")
    skip_verify: bool = meta(False, doc="Accept any certificate of the servers.")
    ca_cert: str = meta("", doc="PEM text of the authority that signed the servers' certificates.")
    client_cert: str = meta("", doc="PEM text of the client's certificate.")
    client_key: str = meta("", doc="PEM text of its key.", sensitive=True)
    heartbeat_interval: Duration = meta(Duration(3), doc="How often a group member says that it is there.")
    session_timeout: Duration = meta(Duration(10), doc="After this silence a group member counts as gone.")
    consumer_group_rebalance_strategy: str = meta("range", doc="How partitions are shared.", choices=("range", "roundrobin", "sticky"))
    consume_retry_enabled: bool = meta(True, doc="Accepted and not needed: a failed delivery is always tried again.")
    consume_retry_interval: Duration = meta(Duration(0.1), doc="Accepted and not needed.")
    compression: str = meta("none", doc="Compression of what is published.", choices=("none", "gzip", "snappy", "lz4", "zstd"))
    producer_required_acks: str = meta("all", doc="Who must have a message.", choices=tuple(ACKS))
    exclude_header_meta_regex: str = meta("", doc="Metadata names that match are no headers, and headers that match no metadata.")
    escape_headers: bool = meta(False, doc="Header values are URL-escaped in metadata.")
    version: str = meta("", doc="Accepted and not needed: the client asks the servers.")


def excluded(fields: Fields) -> re.Pattern[str] | None:
    """Raises Invalid."""
    try:
        return re.compile(fields.exclude_header_meta_regex) if fields.exclude_header_meta_regex else None
    except re.error as error:
        raise Invalid(f"excludeHeaderMetaRegex: {error}") from error


def connection(fields: Fields, app_id: str) -> dict[str, Any]:
    """What producer and consumers share; reads files. Raises Invalid."""
    auth = _auth(fields)
    found: dict[str, Any] = {
        "bootstrap_servers": [broker.strip() for broker in fields.brokers.split(",")],
        "client_id": fields.client_id or app_id,
        "request_timeout_ms": 10_000,
        "retry_backoff_ms": 100,
    }
    tls = auth in ("mtls", "certificate") or (auth == "password" and not fields.disable_tls) or bool(fields.ca_cert)
    if tls and not fields.disable_tls:
        from components.bindings._pem import client_context  # OpenSSL, for those who need it

        pems = ("caCert", fields.ca_cert), ("clientCert", fields.client_cert), ("clientKey", fields.client_key)
        found["ssl_context"] = context = client_context(*pems, None)
        if fields.skip_verify:
            context.check_hostname, context.verify_mode = False, 0  # type: ignore[assignment]
    protocol = "SSL" if "ssl_context" in found else "PLAINTEXT"
    if auth == "password":
        found |= {"sasl_mechanism": MECHANISMS.get(fields.sasl_mechanism.lower(), "PLAIN")}
        found |= {"sasl_plain_username": fields.sasl_username, "sasl_plain_password": fields.sasl_password}
        protocol = f"SASL_{protocol}"
    return found | {"security_protocol": protocol}


def _auth(fields: Fields) -> str:
    auth = fields.auth_type
    if not auth and fields.auth_required:
        auth = ("password" if fields.sasl_password else "mtls") if truthy(fields.auth_required) else "none"
    if not auth:
        raise Invalid("kafka error: 'authType' attribute was missing or empty")
    if auth == "password" and not (fields.sasl_username and fields.sasl_password):
        missing = "Password" if fields.sasl_username else "Username"
        raise Invalid(f"kafka error: missing SASL {missing} for authType 'password'")
    return auth


async def reason(how: Mapping[str, Any], error: Exception) -> str:
    """Why the cluster cannot be reached: aiokafka's error names the servers only, so the first of them is asked once more."""
    from aiokafka.conn import create_conn
    from aiokafka.errors import KafkaError

    servers = how["bootstrap_servers"]
    host, _, port = servers[0].rpartition(":")
    more = {name: value for name, value in how.items() if name not in ("bootstrap_servers", "retry_backoff_ms")}
    try:
        asked = await create_conn(host.strip("[]") or servers[0], int(port) if port.isdigit() else 9092, **more)
        asked.close()
    except (KafkaError, OSError, TimeoutError) as found:
        error = found
    return f"{', '.join(servers)}: {blamed(str(error)) or type(error).__name__}"
