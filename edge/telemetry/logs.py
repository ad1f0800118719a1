"""Log lines as daprd writes them: `time="…" level=info msg="…" app_id=… scope=… type=log ver=…`, or the same as JSON.

Loggers are named by Dapr's scopes (`dapr.runtime`). Fields of a record come through `extra={"fields": {...}}`, a component's name
through `extra={"component": "mq (pubsub.mqtt3/v1)"}`. Source: recorded lines of daprd 1.18.3.

A message that comes thousands of times a minute is folded: after the first five hundred it is counted, and the count is told. Not so debug
lines and the API log, which are asked for.
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
PRIORITIES = {10: "<7>", 20: "<6>", 30: "<4>", 40: "<3>", 50: "<2>"}
"""Before a line for journald: its priority there (sd-daemon(3))."""
PLAIN = re.compile(r"[A-Za-z0-9\-._/@^+]*")
ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
HTML = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})  # as Go's JSON
MINUTE, AT_MOST, MOST_MESSAGES = 60.0, 500, 1000
ASKED_FOR = ("dapr.runtime.http-info", "dapr.runtime.grpc.api-info", "dapr.runtime.trace")
UNSAFE = re.compile(r'["\\\x00-\x1f\x7f]')


def quote(text: str) -> str:
    """Go's %q for what a log line may hold."""
    return '"' + UNSAFE.sub(lambda m: ESCAPES.get(m[0], f"\\x{ord(m[0]):02x}"), text) + '"'


def _value(value: object) -> str:
    text = str(value)
    return text if text and PLAIN.fullmatch(text) else quote(text)


class Folding:
    """Which records of a message are shown, and a record that tells how many were not."""

    def __init__(self) -> None:
        self._minutes: dict[tuple[str, str], _Minute] = {}
        self._look_at = 0.0

    def shown(self, record: logging.LogRecord) -> bool:
        """This one is. Messages are told apart by logger and template."""
        if record.levelno <= logging.DEBUG or record.name in ASKED_FOR:
            return True
        key, now = (record.name, str(record.msg)), time.monotonic()
        minute = self._minutes.get(key)
        if minute is None or (now - minute.began >= MINUTE and not minute.hidden):
            if len(self._minutes) >= MOST_MESSAGES:
                self._minutes = {known: one for known, one in self._minutes.items() if one.hidden}
            minute = self._minutes[key] = _Minute(now)
        minute.seen += 1
        if minute.seen <= AT_MOST:
            return True
        minute.hidden, minute.last = minute.hidden + 1, record
        return False

    def over(self, ahead: float = 0.0) -> list[logging.LogRecord]:
        """What is to be told of minutes that are over. ahead: seconds by which they may end later."""
        now = time.monotonic() + ahead
        if now < self._look_at:
            return []
        self._look_at = now + 1.0
        ended = [(key, minute) for key, minute in self._minutes.items() if minute.hidden and now - minute.began >= MINUTE]
        for key, _ in ended:
            del self._minutes[key]
        return [_told(minute.last, minute.hidden) for _, minute in ended if minute.last is not None]


class _Minute:
    """The times that one message came."""

    __slots__ = ("began", "hidden", "last", "seen")

    def __init__(self, began: float) -> None:
        self.began, self.seen, self.hidden = began, 0, 0
        self.last: logging.LogRecord | None = None


def _told(last: logging.LogRecord, hidden: int) -> logging.LogRecord:
    told = logging.makeLogRecord(vars(last))
    told.msg, told.args, told.exc_info = f"{last.getMessage()} (one of {hidden} like this within a minute that are not shown)", (), None
    return told


def _is_journald(fd: int) -> bool:
    """systemd names its socket to the journal by device and inode (systemd.exec(5), $JOURNAL_STREAM)."""
    named = os.environ.get("JOURNAL_STREAM")
    if not named:
        return False
    about = os.fstat(fd)
    return named == f"{about.st_dev}:{about.st_ino}"


class Lines(logging.Handler):
    """Writes each record unbuffered to a file descriptor; a reader that went away is no reason to fail."""

    def __init__(self, app_id: str, as_json: bool = False, fd: int = 1) -> None:
        super().__init__()
        self.as_json, self.fd, self._folding = as_json, fd, Folding()
        self._priorities = PRIORITIES if _is_journald(fd) else {}
        self.common = {"instance": socket.gethostname(), "type": "log", "ver": DAPR}
        if app_id:
            self.common["app_id"] = app_id

    def emit(self, record: logging.LogRecord) -> None:
        for folded in self._folding.over():
            self._write(folded)
        if self._folding.shown(record):
            self._write(record)

    def close(self) -> None:
        for folded in self._folding.over(MINUTE):
            self._write(folded)
        super().close()

    def _write(self, record: logging.LogRecord) -> None:
        try:
            line = self._priorities.get(record.levelno, "") + self.line(record)
            os.write(self.fd, line.encode("utf-8", "replace"))
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
            line = json.dumps(dict(sorted({**fields, **head}.items())), ensure_ascii=False, default=str, separators=(",", ":"))
            return line.translate(HTML) + "\n"
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
