"""`edged journal`: what waits, what is dead, and what to do about it; beside a running sidecar or without one."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from edge import instances
from edge.cli import api
from edge.cli.instance import data_dir_option
from edge.datadir import holder
from edge.journal import Entry, tools

F = TypeVar("F", bound=Callable[..., Any])
FILE = "edged.db"
SHOWN_BYTES = 60

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
dry_option = click.option("--dry-run", is_flag=True, help="Say what would be done, do nothing.")
lane_option = click.option("-l", "--lane", "pattern", default="*", help="Only lanes that match this shell pattern, e.g. 'dead/*'.")
seqs_argument = click.argument("seqs", nargs=-1, type=int)


def where(command: F) -> F:
    """The options that say whose journal it is."""
    for option in (
        click.option(
            "--file", type=click.Path(dir_okay=False, path_type=Path), help="The file itself (edged.db, or one that was set aside)."
        ),
        data_dir_option,
        click.option("-a", "--app-id", default="", help="Whose journal; may be left out when there is one only."),
    ):
        command = option(command)
    return command


@click.group()
def journal() -> None:
    """Look into the journal: what waits, what is dead; send it again, drop it, take it elsewhere.

    \b
      edged journal stats -a shop
      edged journal ls -a shop --lane 'dead/*'
      edged journal retry -a shop --lane 'dead/*'
    """


def path_of(app_id: str, data_dir: str, file: Path | None) -> Path:
    """The journal that is meant. Raises a click error that lists what there is."""
    if file is not None:
        return file
    base = api.base(data_dir)
    if app_id:
        running = instances.find(base, app_id)
        return Path(running.data_dir if running else base / app_id.replace("/", "_")) / FILE
    found = sorted({path.parent for path in (base / FILE, *base.glob(f"*/{FILE}")) if path.exists()})
    if len(found) == 1:
        return found[0] / FILE
    names = ", ".join(path.name for path in found) or "none"
    raise click.UsageError(f"whose journal? --app-id is one of: {names} (under {base})")


@contextmanager
def using(path: Path, *, write: bool = False) -> Iterator[Any]:
    try:
        with tools.opened(path, write=write) as connection:
            yield connection
    except (tools.NoJournal, ValueError) as error:
        raise click.ClickException(str(error)) from error
    if write:
        _tell_daemon(path.parent)


def _tell_daemon(folder: Path) -> None:
    """The daemon that runs on it looks again; one that is only just starting will see it anyway."""
    pid = holder(folder)
    if pid is not None and _listens(pid):
        os.kill(pid, signal.SIGUSR1)


def _listens(pid: int) -> bool:
    """The process has a handler for SIGUSR1; without one the signal would end it."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("SigCgt:"):
                return bool(int(line.split()[1], 16) >> (signal.SIGUSR1 - 1) & 1)
    return False


@journal.command()
@where
@lane_option
@json_option
def stats(app_id: str, data_dir: str, file: Path | None, pattern: str, as_json: bool) -> None:
    """Count what was accepted, delivered, waits, expired, was dropped and is dead, per lane (component and topic)."""
    with using(path_of(app_id, data_dir, file)) as connection:
        found = tools.numbers(connection, pattern)
    shown = [
        {
            "lane": lane.stats.lane,
            "accepted": lane.stats.accepted,
            "delivered": lane.stats.delivered,
            "pending": lane.stats.pending,
            "pendingBytes": lane.stats.pending_bytes,
            "expired": lane.stats.expired,
            "dropped": lane.stats.dropped if as_json else _reasons(lane.stats.dropped),
            "dead": lane.stats.dead,
            "oldestSeconds": round(lane.oldest, 1),
        }
        for lane in found
    ]
    columns = {"lane": "LANE", "accepted": "ACCEPTED", "delivered": "DELIVERED", "pending": "PENDING", "pendingBytes": "BYTES"}
    columns |= {"expired": "EXPIRED", "dropped": "DROPPED", "dead": "DEAD", "oldestSeconds": "OLDEST S"}
    api.show(shown, columns, as_json, "The journal is empty.")


def _reasons(dropped: dict[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in sorted(dropped.items())) or "0"


@journal.command()
@where
@lane_option
@click.option("--limit", default=100, show_default=True, help="Most messages to list.")
@json_option
def ls(app_id: str, data_dir: str, file: Path | None, pattern: str, limit: int, as_json: bool) -> None:
    """List messages that wait or are dead, oldest first in each lane."""
    with using(path_of(app_id, data_dir, file)) as connection:
        found = list(tools.entries(connection, pattern, limit))
    if as_json:
        return api.show([tools.document(entry) for entry in found], {}, True, "")
    shown = [_line(entry) for entry in found]
    columns = {"seq": "SEQ", "lane": "LANE", "id": "ID", "size": "SIZE", "attempts": "ATTEMPTS", "error": "ERROR"}
    return api.show(shown, columns, False, "Nothing waits.")


def _line(entry: Entry) -> dict[str, Any]:
    size, error = len(entry.message.data), entry.error[:SHOWN_BYTES]
    return {"seq": entry.seq, "lane": entry.lane, "id": entry.message.id, "size": size, "attempts": entry.attempts, "error": error}


@journal.command()
@click.argument("seq", type=int)
@where
@json_option
def show(seq: int, app_id: str, data_dir: str, file: Path | None, as_json: bool) -> None:
    """Show one message with its payload."""
    with using(path_of(app_id, data_dir, file)) as connection:
        (entry,) = tools.find(connection, [seq])
    document = tools.document(entry)
    if as_json:
        click.echo(json.dumps(document, indent=2))
        return
    for key, value in document.items():
        if key != "data":
            click.echo(f"{key}: {json.dumps(value) if isinstance(value, dict) else value}")
    click.echo(f"\n{entry.message.data.decode(errors='replace')}")


def _chosen(connection: Any, seqs: tuple[int, ...], pattern: str, needed: str) -> list[Entry]:
    if seqs:
        return tools.find(connection, seqs)
    if pattern == "*":
        raise click.UsageError(f"name messages by SEQ, or lanes with --lane (e.g. --lane '{needed}')")
    return list(tools.entries(connection, pattern))


def _done(verb: str, chosen: Iterable[Entry], count: int, dry_run: bool, as_json: bool) -> None:
    listed = [{"seq": entry.seq, "lane": entry.lane, "id": entry.message.id} for entry in chosen]
    if as_json:
        click.echo(json.dumps({"dryRun": dry_run, "count": len(listed) if dry_run else count, "messages": listed}))
    else:
        click.echo(f"would have {verb} {len(listed)} messages" if dry_run else f"{verb} {count} messages")


@journal.command()
@seqs_argument
@where
@lane_option
@click.option("--to", default="", help="Into this lane instead of the one they came from.")
@dry_option
@json_option
def retry(
    seqs: tuple[int, ...], app_id: str, data_dir: str, file: Path | None, pattern: str, to: str, dry_run: bool, as_json: bool
) -> None:
    """Send dead messages again."""
    with using(path_of(app_id, data_dir, file), write=not dry_run) as connection:
        chosen = _chosen(connection, seqs, pattern, "dead/*")
        chosen = [entry for entry in chosen if to or entry.lane.startswith(tools.DEAD)]
        count = 0 if dry_run else tools.retry(connection, chosen, to)
    _done("queued again", chosen, count, dry_run, as_json)


@journal.command()
@seqs_argument
@where
@lane_option
@dry_option
@json_option
def drop(seqs: tuple[int, ...], app_id: str, data_dir: str, file: Path | None, pattern: str, dry_run: bool, as_json: bool) -> None:
    """Drop messages, counted as dropped by hand. What is on its way at this moment may still arrive."""
    with using(path_of(app_id, data_dir, file), write=not dry_run) as connection:
        chosen = _chosen(connection, seqs, pattern, "dead/*")
        count = 0 if dry_run else tools.drop(connection, chosen)
    _done("dropped", chosen, count, dry_run, as_json)


@journal.command()
@where
@click.option("-l", "--lane", "pattern", default="dead/*", show_default=True, help="Lanes, a shell pattern; '*' is everything.")
@dry_option
@json_option
def purge(app_id: str, data_dir: str, file: Path | None, pattern: str, dry_run: bool, as_json: bool) -> None:
    """Drop everything in some lanes: without --lane what is dead."""
    with using(path_of(app_id, data_dir, file), write=not dry_run) as connection:
        chosen = list(tools.entries(connection, pattern))
        count = 0 if dry_run else tools.drop(connection, chosen, "purged")
    _done("purged", chosen, count, dry_run, as_json)


@journal.command()
@where
@lane_option
@click.option("-o", "--output", type=click.Path(dir_okay=False, allow_dash=True), default="-", help="File; - is standard output.")
@json_option
def export(app_id: str, data_dir: str, file: Path | None, pattern: str, output: str, as_json: bool) -> None:
    """Write messages as JSON lines (--json: the same); nothing is removed. `import` reads them."""
    del as_json
    count = 0
    with using(path_of(app_id, data_dir, file)) as connection, click.open_file(output, "w") as stream:
        for line in tools.export(connection, pattern):
            stream.write(line + "\n")
            count += 1
    click.echo(f"exported {count} messages", err=True)


@journal.command("import")
@click.argument("source", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@where
@click.option("--to", default="", help="Into this lane instead of the one that stands there.")
@dry_option
@json_option
def import_(source: Path, app_id: str, data_dir: str, file: Path | None, to: str, dry_run: bool, as_json: bool) -> None:
    """Queue messages from an `export` (- is standard input) or from another journal's file. What is there already is left out."""
    path = path_of(app_id, data_dir, file)
    try:
        found = _read(source)
    except (ValueError, tools.NoJournal) as error:
        raise click.ClickException(f"{source}: {error}") from error
    stored = known = 0
    if not dry_run:
        with using(path, write=True) as connection:
            stored, known = tools.load(connection, found, to)
    if as_json:
        click.echo(json.dumps({"dryRun": dry_run, "found": len(found), "imported": stored, "known": known}))
    else:
        click.echo(f"would import {len(found)} messages" if dry_run else f"imported {stored} messages, {known} were there")


def _read(source: Path) -> list[Entry]:
    if str(source) == "-":
        return [tools.parsed(line) for line in sys.stdin if line.strip()]
    with source.open("rb") as stream:
        if stream.read(16).startswith(b"SQLite format 3"):
            with tools.opened(source) as connection:
                return list(tools.entries(connection))
    return [tools.parsed(line) for line in source.read_text().splitlines() if line.strip()]
