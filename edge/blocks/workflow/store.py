"""Workflow rows in the daemon's file: instances, their history, what came in, timers and activities that wait.

Every change of a turn is one unit of work of the database's writer, so history and its effects stand or fall together.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

SCHEMA = """
CREATE TABLE workflow_instance(
    n INTEGER PRIMARY KEY AUTOINCREMENT, app TEXT NOT NULL, id TEXT NOT NULL, generation INTEGER NOT NULL DEFAULT 1,
    status INTEGER NOT NULL, name TEXT NOT NULL DEFAULT '', custom_status TEXT, created_ms INTEGER NOT NULL,
    parent_app TEXT, parent_id TEXT, parent_task INTEGER, next_seq INTEGER NOT NULL DEFAULT 0, UNIQUE(app, id));
CREATE TABLE workflow_history(
    instance INTEGER NOT NULL, seq INTEGER NOT NULL, event BLOB NOT NULL, PRIMARY KEY(instance, seq));
CREATE TABLE workflow_inbox(
    n INTEGER PRIMARY KEY AUTOINCREMENT, instance INTEGER NOT NULL, early INTEGER NOT NULL DEFAULT 0, event BLOB NOT NULL);
CREATE INDEX workflow_inbox_instance ON workflow_inbox(instance, early DESC, n);
CREATE TABLE workflow_timer(
    n INTEGER PRIMARY KEY AUTOINCREMENT, instance INTEGER NOT NULL, due_ms INTEGER NOT NULL, kind TEXT NOT NULL, event BLOB NOT NULL);
CREATE INDEX workflow_timer_due ON workflow_timer(due_ms);
CREATE INDEX workflow_timer_instance ON workflow_timer(instance);
CREATE TABLE workflow_activity(
    n INTEGER PRIMARY KEY AUTOINCREMENT, instance INTEGER NOT NULL, task INTEGER NOT NULL, target TEXT NOT NULL, name TEXT NOT NULL,
    request BLOB NOT NULL);
CREATE INDEX workflow_activity_instance ON workflow_activity(instance, task);
"""
LINEAGE = """
ALTER TABLE workflow_instance ADD COLUMN propagated BLOB;
CREATE INDEX workflow_instance_parent ON workflow_instance(parent_app, parent_id);
"""
MIGRATIONS = (SCHEMA, LINEAGE)
FIRE, START, PURGE = "fire", "start", "purge"
Check = Callable[[sqlite3.Connection, "Instance"], None]


@dataclass(frozen=True, slots=True)
class Instance:
    """The head of one workflow instance. status: durabletask's number. propagated: PropagatedHistory that its parent gave it."""

    n: int
    app: str
    id: str
    generation: int
    status: int
    name: str
    custom_status: str | None
    created_ms: int
    parent_app: str | None
    parent_id: str | None
    parent_task: int | None
    next_seq: int
    propagated: bytes | None = None


@dataclass(slots=True)
class Child:
    """A child to start: the event is its executionStarted."""

    app: str
    id: str
    name: str
    task: int
    event: bytes
    propagated: bytes | None = None


@dataclass(slots=True)
class Changes:
    """What one turn does to the rows. history: appended. inbox_done: rows consumed. reset: continue-as-new, history starts again."""

    status: int
    history: list[bytes] = field(default_factory=list)
    inbox_done: Sequence[int] = ()
    custom_status: str | None = None
    name: str | None = None
    activities: list[tuple[int, str, str, bytes]] = field(default_factory=list)  # task, target app, name, request
    timers: list[tuple[int, bytes]] = field(default_factory=list)  # due_ms, event
    children: list[Child] = field(default_factory=list)
    messages: list[tuple[str, str, bytes]] = field(default_factory=list)  # app, instance id, event
    reset: list[bytes] | None = None
    finished: bool = False
    purge_at_ms: int | None = None


COLUMNS = "n, app, id, generation, status, name, custom_status, created_ms, parent_app, parent_id, parent_task, next_seq, propagated"


def instance(tx: sqlite3.Connection, app: str, instance_id: str) -> Instance | None:
    """The head by id."""
    row = tx.execute(f"SELECT {COLUMNS} FROM workflow_instance WHERE app=? AND id=?", (app, instance_id)).fetchone()
    return None if row is None else Instance(*row)


def by_number(tx: sqlite3.Connection, number: int) -> Instance | None:
    row = tx.execute(f"SELECT {COLUMNS} FROM workflow_instance WHERE n=?", (number,)).fetchone()
    return None if row is None else Instance(*row)


def create(
    tx: sqlite3.Connection, app: str, instance_id: str, pending: int, created_ms: int, parent: tuple[str, str, int] | None = None
) -> int:
    """A new head (an old life under the same id is dropped); its number."""
    drop(tx, app, instance_id)
    parent_app, parent_id, task = parent or (None, None, None)
    row = tx.execute(
        "INSERT INTO workflow_instance(app, id, status, created_ms, parent_app, parent_id, parent_task) VALUES(?,?,?,?,?,?,?)",
        (app, instance_id, pending, created_ms, parent_app, parent_id, task),
    )
    assert row.lastrowid is not None
    return row.lastrowid


def drop(tx: sqlite3.Connection, app: str, instance_id: str) -> bool:
    """Remove every row of an instance; False when there was none."""
    found = instance(tx, app, instance_id)
    if found is None:
        return False
    for table in ("history", "inbox", "timer", "activity"):
        tx.execute(f"DELETE FROM workflow_{table} WHERE instance=?", (found.n,))
    tx.execute("DELETE FROM workflow_instance WHERE n=?", (found.n,))
    return True


def put(tx: sqlite3.Connection, number: int, event: bytes, early: bool = False) -> None:
    """An event came in for an instance; early ones are read before those that came by themselves."""
    tx.execute("INSERT INTO workflow_inbox(instance, early, event) VALUES(?,?,?)", (number, int(early), event))


def put_timer(tx: sqlite3.Connection, number: int, due_ms: int, kind: str, event: bytes) -> None:
    tx.execute("INSERT INTO workflow_timer(instance, due_ms, kind, event) VALUES(?,?,?,?)", (number, due_ms, kind, event))


def inbox(tx: sqlite3.Connection, number: int) -> list[tuple[int, bytes]]:
    """What waits for the next turn, in order: row number, event."""
    return list(tx.execute("SELECT n, event FROM workflow_inbox WHERE instance=? ORDER BY early DESC, n", (number,)))


def history(tx: sqlite3.Connection, number: int) -> list[bytes]:
    return [row[0] for row in tx.execute("SELECT event FROM workflow_history WHERE instance=? ORDER BY seq", (number,))]


def commit_turn(tx: sqlite3.Connection, number: int, generation: int, changes: Changes) -> bool:
    """Apply a turn; False when the instance was purged or began a new life meanwhile (then nothing is changed)."""
    head = by_number(tx, number)
    if head is None or head.generation != generation:
        return False
    tx.executemany("DELETE FROM workflow_inbox WHERE n=?", [(n,) for n in changes.inbox_done])
    if changes.reset is not None:
        _begin_again(tx, head, changes)
        return True
    rows = [(number, head.next_seq + i, event) for i, event in enumerate(changes.history)]
    tx.executemany("INSERT INTO workflow_history(instance, seq, event) VALUES(?,?,?)", rows)
    tx.execute(
        "UPDATE workflow_instance SET status=?, next_seq=next_seq+?, custom_status=coalesce(?, custom_status),"
        " name=coalesce(?, name) WHERE n=?",
        (changes.status, len(rows), changes.custom_status, changes.name, number),
    )
    tx.executemany(
        "INSERT INTO workflow_activity(instance, task, target, name, request) VALUES(?,?,?,?,?)",
        [(number, *activity) for activity in changes.activities],
    )
    for due_ms, event in changes.timers:
        put_timer(tx, number, due_ms, FIRE, event)
    for child in changes.children:
        _start_child(tx, head, child)
    for app, instance_id, event in changes.messages:
        deliver(tx, app, instance_id, event)
    if changes.finished:
        _finish(tx, number, changes.purge_at_ms)
    return True


def _begin_again(tx: sqlite3.Connection, head: Instance, changes: Changes) -> None:
    for table in ("history", "timer", "activity"):
        tx.execute(f"DELETE FROM workflow_{table} WHERE instance=?", (head.n,))
    for event in changes.reset or ():
        put(tx, head.n, event, early=True)
    tx.execute(
        "UPDATE workflow_instance SET generation=generation+1, next_seq=0, status=?, custom_status=coalesce(?, custom_status) WHERE n=?",
        (changes.status, changes.custom_status, head.n),
    )


def _finish(tx: sqlite3.Connection, number: int, purge_at_ms: int | None) -> None:
    for table in ("inbox", "timer", "activity"):
        tx.execute(f"DELETE FROM workflow_{table} WHERE instance=?", (number,))
    if purge_at_ms is not None:
        put_timer(tx, number, purge_at_ms, PURGE, b"")


def _start_child(tx: sqlite3.Connection, head: Instance, child: Child) -> None:
    number = create(tx, child.app, child.id, PENDING, head.created_ms, (head.app, head.id, child.task))
    if child.propagated is not None:
        tx.execute("UPDATE workflow_instance SET propagated=? WHERE n=?", (child.propagated, number))
    put(tx, number, child.event)


PENDING = 6
ENDED = (1, 3, 4, 5)


def deliver(tx: sqlite3.Connection, app: str, instance_id: str, event: bytes) -> Instance | None:
    """Put an event into an instance's inbox unless it has ended; the head, None when there is no such instance."""
    head = instance(tx, app, instance_id)
    if head is not None and head.status not in ENDED:
        put(tx, head.n, event)
    return head


def finish_activity(tx: sqlite3.Connection, row: int, number: int, event: bytes) -> bool:
    """An activity ended: its row becomes an event of its instance; False when nobody waits for it any more."""
    if tx.execute("DELETE FROM workflow_activity WHERE n=? AND instance=?", (row, number)).rowcount == 0:
        return False
    put(tx, number, event)
    return True


def fire_due(tx: sqlite3.Connection, now_ms: int, limit: int = 500) -> list[tuple[int, str]]:
    """Move timers that are due into inboxes; instance numbers and kinds (purge rows are only reported)."""
    rows = tx.execute(
        "SELECT n, instance, kind, event FROM workflow_timer WHERE due_ms<=? ORDER BY due_ms LIMIT ?", (now_ms, limit)
    ).fetchall()
    for row, number, kind, event in rows:
        tx.execute("DELETE FROM workflow_timer WHERE n=?", (row,))
        if kind != PURGE:
            put(tx, number, event)
    return [(number, kind) for _, number, kind, _ in rows]


def next_due(tx: sqlite3.Connection) -> int | None:
    row = tx.execute("SELECT min(due_ms) FROM workflow_timer").fetchone()
    return None if row is None else row[0]


def ready(tx: sqlite3.Connection) -> list[tuple[int, str]]:
    """Instances with something in their inbox: number, app."""
    query = "SELECT i.n, i.app FROM workflow_instance i WHERE EXISTS(SELECT 1 FROM workflow_inbox b WHERE b.instance=i.n) ORDER BY i.n"
    return list(tx.execute(query))


def activities(tx: sqlite3.Connection, after: int = 0) -> list[tuple[int, int, int, str, bytes]]:
    """Activities that wait for a worker, from a row number on: row, instance, task, target app, request."""
    return list(tx.execute("SELECT n, instance, task, target, request FROM workflow_activity WHERE n>? ORDER BY n", (after,)))


def listing(tx: sqlite3.Connection, app: str, after: int, limit: int) -> list[tuple[int, str]]:
    return list(tx.execute("SELECT n, id FROM workflow_instance WHERE app=? AND n>? ORDER BY n LIMIT ?", (app, after, limit)))


def children(tx: sqlite3.Connection, app: str, instance_id: str) -> list[Instance]:
    """Heads whose parent is this instance."""
    rows: Iterable[Any] = tx.execute(f"SELECT {COLUMNS} FROM workflow_instance WHERE parent_app=? AND parent_id=?", (app, instance_id))
    return [Instance(*row) for row in rows]


def activities_of(tx: sqlite3.Connection, number: int) -> list[tuple[int, int, int, str, bytes]]:
    """The same for one instance."""
    return list(tx.execute("SELECT n, instance, task, target, request FROM workflow_activity WHERE instance=? ORDER BY n", (number,)))


def bring_start(tx: sqlite3.Connection, app: str, instance_id: str) -> None:
    """A start that waits for its time comes now."""
    head = instance(tx, app, instance_id)
    if head is not None:
        for row, event in tx.execute("SELECT n, event FROM workflow_timer WHERE instance=? AND kind=?", (head.n, START)).fetchall():
            tx.execute("DELETE FROM workflow_timer WHERE n=?", (row,))
            put(tx, head.n, event, early=True)


def drop_tree(tx: sqlite3.Connection, head: Instance, recursive: bool, check: Check) -> list[Instance]:
    """Remove an instance, and its children if asked; the heads that are gone. check: raises where a parent may not purge its children."""
    gone = [head]
    if recursive:
        check(tx, head)
        for child in children(tx, head.app, head.id):
            gone += drop_tree(tx, child, True, check)
    drop(tx, head.app, head.id)
    return gone
