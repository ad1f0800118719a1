#!/usr/bin/env python3
"""Actors side by side, interleaved: method calls per second at 1 and 64, how late reminders fire, memory of idle actors.

A is edged; B, if its paths are given, is daprd with its placement and its scheduler beside it, all processes' memory added up:
actors.py [--a CMD] [--daprd PATH --placement PATH --scheduler PATH] [--rounds 3] [--seconds 3] [--reminders 10000] [--window 60] [--idle 10000]
"""

import argparse
import asyncio
import contextlib
import datetime
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

from compare import CACHE, Side, build, component, port, pss

REGISTERING = 32


class Actors(Side):
    """A sidecar whose app hosts the type Bench. beside: processes that it needs."""

    def __init__(self, label, command, root, app_port, beside=()):
        super().__init__(label, command, root, 1, app_port)
        (self.res / "pubsub.yaml").unlink()
        store = component("statestore", "state.sqlite", connectionString=self.root / "state.db", actorStateStore="true")
        (self.res / "state.yaml").write_text(store)
        self.beside = list(beside)

    def memory(self):
        """PSS of all that it takes, in MB."""
        return sum(pss(pid) for pid in self.pids()) + sum(pss(one.pid) for one in self.beside)

    def ready(self):
        """Wait until calls reach the app."""
        urllib.request.urlopen(f"http://127.0.0.1:{self.http}/v1.0/actors/Bench/warm/method/go", timeout=60).close()


def daprd(options, root, procs):
    """The command of a daprd and what runs beside it."""
    places = {name: port() for name in ("placement", "scheduler", "etcd", "peer")}
    healths = [port() for _ in range(4)]
    common = ["--log-level", "error"]
    placement = [options.placement, "--port", places["placement"], "--healthz-port", healths[0], "--metrics-port", healths[1], *common]
    scheduler = [options.scheduler, "--port", places["scheduler"], "--healthz-port", healths[2], "--metrics-port", healths[3], *common]
    scheduler += ["--etcd-data-dir", root / "etcd", "--etcd-client-port", places["etcd"]]
    scheduler += ["--etcd-initial-cluster", f"dapr-scheduler-server-0=http://127.0.0.1:{places['peer']}"]
    beside = []
    for command in (placement, scheduler):
        log = (root / f"{pathlib.Path(command[0]).name}.log").open("ab")
        beside.append(subprocess.Popen([str(part) for part in command], stdout=log, stderr=log))
    procs += beside
    time.sleep(3)
    hosts = f"--placement-host-address 127.0.0.1:{places['placement']} --scheduler-host-address 127.0.0.1:{places['scheduler']}"
    return f"{options.daprd} {hosts}", beside


def calls(load, side, c, seconds, n=0, keys=64):
    """Method calls, each connection to actors of its own."""
    command = [load, "-mode", "http-get", "-addr", f"127.0.0.1:{side.http}", "-path", "/v1.0/actors/Bench/{key}/method/go", "-c", c]
    command += ["-keys", keys, "-d", f"{seconds}s", "-pid", side.worker(), *(["-n", n] if n else [])]
    out = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True)
    return json.loads(out.stdout.strip().splitlines()[-1])


async def remind(side, count, window):
    """Set reminders due evenly over a window of seconds; how many were set per second."""
    start = time.time() + max(2.0, count / 1500)
    numbers = iter(range(count))

    async def register():
        reader, writer = await asyncio.open_connection("127.0.0.1", side.http)
        for number in numbers:
            due = start + window * number / count
            when = datetime.datetime.fromtimestamp(due, datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            body = json.dumps({"dueTime": when}).encode()
            path = f"/v1.0/actors/Bench/{number % 1000}/reminders/due-{int(due * 1000)}-{number}"
            writer.write(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
            head = await reader.readuntil(b"\r\n\r\n")
            assert b" 204 " in head.split(b"\r\n")[0], head
        writer.close()

    begun = time.perf_counter()
    await asyncio.gather(*[register() for _ in range(REGISTERING)])
    rate = count / (time.perf_counter() - begun)
    await asyncio.sleep(max(0.0, start - time.time()))
    return rate


def lateness(side, count, window):
    app = f"http://127.0.0.1:{side.app_port}"
    urllib.request.urlopen(f"{app}/reset").close()
    rate = asyncio.run(remind(side, count, window))
    deadline = time.monotonic() + window + 60
    while (stats := json.load(urllib.request.urlopen(f"{app}/stats")))["n"] < count and time.monotonic() < deadline:
        time.sleep(0.5)
    return {"set": rate, **stats}


def measure(options, sides, load, note):
    for side in sides:
        side.start(app=True)
        side.ready()
    for _ in range(options.rounds):
        for c in (1, 64):
            got = [calls(load, side, c, options.seconds) for side in sides]
            note(f"calls c={c}, per s", [one["ops_s"] for one in got])
            note(f"calls c={c}, p99 ms", [one["p99_ms"] for one in got])
            note(f"calls c={c}, us CPU each (sidecar)", [one["cpu_us_op"] for one in got])
            note(f"calls c={c}, errors", [one["errs"] for one in got])
    if options.idle:
        before = [side.memory() for side in sides]
        for side in sides:
            calls(load, side, 8, 120, n=options.idle, keys=options.idle)
        time.sleep(3)
        after = [side.memory() for side in sides]
        note("all processes, MB", after)
        note(f"{options.idle} idle actors, MB more", [max(0.0, b - a) for a, b in zip(before, after, strict=True)])
    if options.reminders:
        got = [lateness(side, options.reminders, options.window) for side in sides]
        for name, key in (("set per s", "set"), ("p50 ms late", "p50"), ("p99 ms late", "p99"), ("max ms late", "max"), ("fired", "n")):
            note(f"{options.reminders} reminders in {options.window:g} s, {name}", [one[key] for one in got])


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--a", default=f"{sys.executable} -m edge run")
    for name in ("daprd", "placement", "scheduler"):
        ap.add_argument(f"--{name}", default=os.environ.get(name.upper(), ""))
    ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--seconds", type=float, default=3)
    ap.add_argument("--reminders", type=int, default=10000)
    ap.add_argument("--window", type=float, default=60)
    ap.add_argument("--idle", type=int, default=10000)
    options = ap.parse_args()
    CACHE.mkdir(parents=True, exist_ok=True)
    load, app = build("load"), build("app")
    root, procs, figures = pathlib.Path(tempfile.mkdtemp(prefix="edged-actors-")), [], {}
    commands = [("A", options.a, [])]
    if options.daprd:
        commands.append(("B", *daprd(options, root, procs)))
    sides = []
    try:
        for label, command, beside in commands:
            app_port = port()
            procs.append(subprocess.Popen([app, str(app_port)], stdout=subprocess.DEVNULL, env=os.environ | {"BENCH_ACTORS": "1"}))
            sides.append(Actors(label, command, root, app_port, beside))
        measure(options, sides, load, lambda name, values: figures.setdefault(name, []).append(values))
    finally:
        for side in sides:
            if side.p is not None:
                side.stop()
        for process in procs:
            process.terminate()
        for process in procs:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
        shutil.rmtree(root, ignore_errors=True)
    print(f"{'figure':48} {'A':>12} {'B':>12} {'A/B':>8}")
    for name, rows in figures.items():
        median = [statistics.median(row[index] for row in rows) for index in range(len(rows[0]))]
        ratio = (
            statistics.median(row[0] / row[1] for row in rows if row[1])
            if len(median) > 1 and any(row[1] for row in rows)
            else float("nan")
        )
        print(f"{name:48} {median[0]:12.1f} {(median[1] if len(median) > 1 else float('nan')):12.1f} {ratio:8.2f}")


if __name__ == "__main__":
    sys.exit(main())
