"""Connection fields of every Redis component (components.md §6.5). Bare integers in durations are milliseconds.

Source: components-contrib common/component/redis/settings.go @1.18.4.
"""

from __future__ import annotations

from edge.errors import Invalid
from edge.record import record
from edge.spec import Duration, meta

MS = 0.001
DEFAULT_PORT = 6379


@record
class RedisFields:
    """Where the server is and how it is spoken to."""

    redis_host: str = meta("", doc="`host:port`; several, comma separated, for a cluster or sentinels.", example="localhost:6379")
    redis_port: int = meta(0, doc="Port, where the host has none; else 6379.", least=0, most=65535)
    redis_username: str = meta("", doc="User name.")
    redis_password: str = meta("", doc="Password.", sensitive=True)
    redis_db: int = meta(0, name="redisDB", doc="Database number.", least=0)
    redis_type: str = meta("node", doc="One server, or a cluster.", choices=("node", "cluster"))
    failover: bool = meta(False, doc="The hosts are sentinels.")
    sentinel_master_name: str = meta("", doc="Name of the master that the sentinels watch.")
    sentinel_username: str = meta("", doc="User name at the sentinels.")
    sentinel_password: str = meta("", doc="Password at the sentinels.", sensitive=True)
    enable_tls: bool = meta(False, name="enableTLS", doc="Use TLS.")
    insecure_skip_tls_verify: bool = meta(False, name="insecureSkipTLSVerify", doc="Do not check the server's certificate.")
    client_cert: str = meta("", doc="PEM text of the client certificate.")
    client_key: str = meta("", doc="PEM text of its key.", sensitive=True)
    redis_max_retries: int = meta(3, aliases=("maxRetries",), doc="Tries after a broken connection; -1 = none.", least=-1)
    redis_min_retry_interval: Duration = meta(Duration(0.008), doc="First pause before a retry.", bare=MS)
    redis_max_retry_interval: Duration = meta(Duration(0.512), doc="Longest pause before a retry.", bare=MS)
    dial_timeout: Duration = meta(Duration(5), doc="Longest wait for a connection.", bare=MS)
    read_timeout: Duration = meta(Duration(3), doc="Longest wait for an answer.", bare=MS)
    write_timeout: Duration = meta(Duration(3), doc="Longest wait for a write.", bare=MS)
    pool_size: int = meta(0, doc="Most connections; 0 = 10 for each CPU.", least=0)
    min_idle_conns: int = meta(0, doc="Accepted and not needed: connections are made when they are used.")
    max_conn_age: Duration = meta(Duration(0), doc="Accepted and not needed.", bare=MS)
    pool_timeout: Duration = meta(Duration(4), doc="Longest wait for a free connection.", bare=MS)
    idle_timeout: Duration = meta(Duration(300), doc="Connections idle for longer are checked before use.", bare=MS)
    idle_check_frequency: Duration = meta(Duration(60), doc="Accepted and not needed.", bare=MS)


def addresses(fields: RedisFields) -> list[tuple[str, int]]:
    """Hosts and ports. Raises Invalid."""
    if not fields.redis_host:
        raise Invalid("redisHost is required; it looks like localhost:6379")
    return [_address(each.strip(), fields.redis_port) for each in fields.redis_host.split(",") if each.strip()]


def _address(text: str, port: int) -> tuple[str, int]:
    host, colon, own = text.rpartition(":")
    if not colon or text.endswith("]"):
        return text.strip("[]"), port or DEFAULT_PORT
    if not own.isdigit():
        raise Invalid(f'redisHost: "{text}" has no valid port; it looks like localhost:6379')
    if port and port != int(own):
        raise Invalid(
            f'redis host "{text}" already contains port {own}, but redisPort is set to {port}; '
            "either remove the port from redisHost or remove the redisPort setting"
        )
    return host.strip("[]"), int(own)
