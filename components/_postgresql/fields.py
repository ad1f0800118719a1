"""Connection fields of every PostgreSQL component (components.md §6.4) and what they mean together.

Source: components-contrib common/authentication/postgresql @1.18.4; connection strings as libpq and pgx read them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from edge.errors import Invalid
from edge.record import record
from edge.spec import Duration, meta

URLS = ("postgres://", "postgresql://")
MODES = ("cache_statement", "cache_describe", "describe_exec", "exec", "simple_protocol")
TLS = ("sslmode", "sslrootcert", "sslcert", "sslkey", "sslpassword")
RENAMED = {"dbname": "database"}
OURS = ("pool_max_conns", "pool_max_conn_idle_time", "connect_timeout")
OF_POOL = ("pool_min_conns", "pool_max_conn_lifetime", "pool_health_check_period", "pool_max_conn_lifetime_jitter")
OF_DRIVER = ("default_query_exec_mode", "statement_cache_capacity", "description_cache_capacity")
EXAMPLE = "host=localhost user=postgres password=example port=5432 dbname=dapr"


@record
class PostgresFields:
    """Where the server is. The parts override those of the connection string."""

    connection_string: str = meta(
        "", doc="URL or `key=value` words, as libpq's.", aliases=("url",), sensitive=True, example="host=localhost dbname=dapr"
    )
    host: str = meta("", doc="Host.")
    hostaddr: str = meta("", doc="Its address.")
    port: str = meta("", doc="Port.")
    database: str = meta("", doc="Database.")
    user: str = meta("", doc="User.")
    password: str = meta("", doc="Password.", sensitive=True)
    ssl_root_cert: str = meta("", doc="Path of the certificates that may sign the server's.")
    timeout: Duration = meta(Duration(20), doc="Longest wait for an operation.", aliases=("timeoutInSeconds",), least=1)
    max_conns: int = meta(0, doc="Most connections; 0 = the larger of 4 and the number of CPUs.")
    connection_max_idle_time: Duration = meta(Duration(0), doc="Connections idle for longer are closed; 0 = after 5 minutes.")
    query_exec_mode: str = meta("", doc="How statements are sent; `exec` and `simple_protocol` suit poolers.", choices=("", *MODES))


def words(fields: PostgresFields) -> dict[str, str]:
    """Everything that was said about the connection, by libpq's names (`database` for dbname). Raises Invalid."""
    text = fields.connection_string
    found = _of_url(text) if text.startswith(URLS) else _of_words(text)
    named = {"host": fields.host, "port": fields.port, "database": fields.database, "user": fields.user, "password": fields.password}
    found |= {name: value for name, value in named.items() if value}
    if fields.hostaddr:
        found["host"] = fields.hostaddr
    if fields.ssl_root_cert:
        found["sslrootcert"] = fields.ssl_root_cert
    if not found:
        raise Invalid(f"failed to build connection string: connectionString is missing; it looks like {EXAMPLE}")
    if found.get("port") and not found["port"].split(",")[0].isdigit():
        raise Invalid("failed to parse connection string: the port is no number")
    return found


def _of_url(text: str) -> dict[str, str]:
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        raise Invalid("invalid URL connection string: it looks like postgres://user:password@localhost:5432/dapr") from None
    found = {RENAMED.get(key, key): value for key, value in parse_qsl(url.query)}
    named = {"host": url.hostname, "user": url.username, "password": url.password, "database": url.path.lstrip("/")}
    found |= {name: unquote(value) for name, value in named.items() if value}
    return found | ({"port": str(port)} if port else {})


def _of_words(text: str) -> dict[str, str]:
    """`key=value key='with blanks'`. Raises Invalid."""
    found: dict[str, str] = {}
    rest = text.strip()
    while rest:
        name, equals, rest = rest.partition("=")
        if not equals or not name.strip() or " " in name.strip():
            raise Invalid(f"failed to parse connection string: it is no list of key=value; it looks like {EXAMPLE}")
        value, rest = _value(rest.lstrip())
        found[RENAMED.get(name.strip(), name.strip())] = value
    return found


def _value(text: str) -> tuple[str, str]:
    """The value at the start and what follows it."""
    quoted = text.startswith("'")
    value, at = "", 1 if quoted else 0
    while at < len(text):
        letter = text[at]
        if letter == "\\" and at + 1 < len(text):
            value, at = value + text[at + 1], at + 2
            continue
        if letter == "'" and quoted:
            return value, text[at + 1 :].lstrip()
        if letter.isspace() and not quoted:
            return value, text[at:].lstrip()
        value, at = value + letter, at + 1
    if quoted:
        raise Invalid("failed to parse connection string: unterminated quoted string")
    return value, ""


def settings(found: Mapping[str, str]) -> dict[str, Any]:
    """The words as keyword arguments of asyncpg."""
    known = ("host", "port", "user", "password", "database", "passfile", "target_session_attrs")
    out: dict[str, Any] = {name: found[name] for name in known if found.get(name)}
    if "port" in out:
        out["port"] = int(out["port"].split(",")[0])
    rest = {key: value for key, value in found.items() if key not in (*known, *TLS, *OURS, *OF_POOL, *OF_DRIVER, "hostaddr")}
    if rest:
        out["server_settings"] = rest
    return out
