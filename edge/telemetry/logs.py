"""Log lines as daprd writes them: `time="…" level=info msg="…" app_id=… scope=… type=log ver=…`, or the same as JSON.

Loggers are named by Dapr's scopes (`dapr.runtime`). Fields of a record come through `extra={"fields": {...}}`, a component's name
through `extra={"component": "mq (pubsub.mqtt3/v1)"}`. Source: recorded lines of daprd 1.18.3.
"""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import sys
import time
from pathlib import Path

from edge.version import DAPR

LEVELS = {"debug": 10, "info": 20, "warn": 30, "warning": 30, "error": 40, "fatal": 50, "panic": 50}
NAMES = {10: "debug", 20: "info", 30: "warning", 40: "error", 50: "fatal"}
PLAIN = re.compile(r"[A-Za-z0-9\-._/@^+]*")
ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
UNSAFE = re.compile(r'["\\\x00-\x1f\x7f]')


def quote(text: str) -> str:
    """Go's %q for what a log line may hold."""
    return '"' + UNSAFE.sub(lambda m: ESCAPES.get(m[0], f"\\x{ord(m[0]):02x}"), text) + '"'


def _value(value: object) -> str:
    text = str(value)
    return text if text and PLAIN.fullmatch(text) else quote(text)


class Lines(logging.Handler):
    """Writes each record unbuffered to a file descriptor; a reader that went away is no reason to fail."""

    def __init__(self, app_id: str, as_json: bool = False, fd: int = 1) -> None:
        super().__init__()
        self.as_json, self.fd = as_json, fd
        self.common = {"instance": socket.gethostname(), "type": "log", "ver": DAPR}
        if app_id:
            self.common["app_id"] = app_id

    def emit(self, record: logging.LogRecord) -> None:
        try:
            os.write(self.fd, self.line(record).encode("utf-8", "replace"))
        except OSError:
            self.handleError(record) if self.fd > 2 else None

    def line(self, record: logging.LogRecord) -> str:
        """One record as one line of text."""
        message = record.getMessage()
        if record.exc_info:
            message += "\n" + logging.Formatter().formatException(record.exc_info)
        fields: dict[str, object] = {**self.common, "scope": record.name}
        if component := getattr(record, "component", None):
            fields["component"] = component
        fields.update(getattr(record, "fields", None) or {})
        head = {"time": self._stamp(record), "level": NAMES.get(record.levelno, "info"), "msg": message}
        if self.as_json:
            return json.dumps(dict(sorted({**fields, **head}.items())), ensure_ascii=False, default=str) + "\n"
        tail = " ".join(f"{key}={_value(fields[key])}" for key in sorted(fields))
        return f"time={quote(head['time'])} level={head['level']} msg={quote(message)} {tail}\n"

    @staticmethod
    def _stamp(record: logging.LogRecord) -> str:
        seconds = time.gmtime(record.created)
        return f"{time.strftime('%Y-%m-%dT%H:%M:%S', seconds)}.{int(record.created % 1 * 1e9):09d}Z"


def setup(app_id: str, level: str = "info", as_json: bool = False, file: str = "") -> None:
    """Route all logging of this process. Raises ValueError for an unknown level, OSError if the file can't be opened."""
    if level.lower() not in LEVELS:
        raise ValueError(f"invalid value for --log-level: {level}")
    root = logging.getLogger()
    for handler in tuple(root.handlers):
        root.removeHandler(handler)
    root.addHandler(Lines(app_id, as_json))
    if file:
        path = Path(file)
        root.addHandler(Lines(app_id, as_json, os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)))
    root.setLevel(LEVELS[level.lower()])
    logging.raiseExceptions = False
    sys.stdout.reconfigure(line_buffering=True) if hasattr(sys.stdout, "reconfigure") else None
