"""Connection strings of state.sqlite: a path, a `file:` URI or memory, with the parameters of the Go driver that Dapr users write."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote

from edge.component import Context
from edge.database import Options
from edge.errors import ComponentError
from edge.record import record

REFUSED = ("busy_timeout", "journal_mode", "foreign_keys")
OF_SQLITE = ("mode", "cache", "immutable", "vfs")


@record
class Target:
    """What to open. uri: for SQLite. shared: it is the daemon's own file, opened already."""

    uri: str | Path
    options: Options
    shared: bool = False


def parse_connection(text: str, context: Context, disable_wal: bool, busy_timeout: float) -> Target:
    """The file behind a connection string. Raises ComponentError for pragmas that the component sets itself."""
    body, _, query = text.removeprefix("file:").partition("?")
    parameters = parse_qsl(query, keep_blank_values=True)
    passed = {key: value for key, value in parameters if key in OF_SQLITE}
    pragmas = tuple(_pragma(value) for key, value in parameters if key == "_pragma")
    read_only = passed.get("mode") == "ro" or passed.get("immutable") in ("1", "true")
    if body == ":memory:" or passed.get("mode") == "memory":
        name = quote(f"{context.name}-{id(context)}" if body in (":memory:", "") else body, safe="")
        options = Options("MEMORY", busy_timeout, pragmas=pragmas)
        return Target(f"file:{name}?mode=memory&cache=shared", options)
    path = Path(unquote(body) if text.startswith("file:") else body)
    path = path if path.is_absolute() else (context.working_dir or Path.cwd()) / path
    mode = "DELETE" if disable_wal else "WAL"
    options = Options(mode, busy_timeout, pragmas=pragmas, read_only=read_only)
    if path == context.data_dir / "edged.db" and not pragmas and not disable_wal:
        return Target(path, options, shared=True)
    if passed:
        return Target(f"file:{quote(str(path))}?" + "&".join(f"{key}={value}" for key, value in passed.items()), options)
    return Target(path, options)


def _pragma(text: str) -> str:
    """`synchronous(1)` or `synchronous=1` as SQLite's `synchronous=1`."""
    name, _, value = text.replace("(", "=", 1).rstrip(")").partition("=")
    if name.strip().lower() in REFUSED:
        raise ComponentError(f"found forbidden option '_pragma={name}' in the connection string; use the metadata field for it")
    if not name.replace("_", "").isalnum() or not value.replace("_", "").replace("-", "").isalnum():
        raise ComponentError(f"the pragma {text!r} in the connection string is not understood; write name(value)")
    return f"{name}={value}"
