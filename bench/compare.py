#!/usr/bin/env python3
"""Compare two sidecars in one run, interleaved: compare.py --a CMD [--b CMD] [--rounds 3] [--seconds 3] [--only state,publish,e2e,start,idle]

A and B are commands that take daprd's flags (for edged: `edged run`); B is usually a daprd given by path.
Prints a row per figure: A's median, B's median, the median of the pairwise ratios A/B. Loopback only.
The load program and the subscriber app (Go, beside this file) are built into the cache once.
"""

import argparse
import json
import os
import pathlib
import shlex
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "edged-perf"


def build(name):
    out = CACHE / name
    src = HERE / name
    if not out.exists() or out.stat().st_mtime < max(f.stat().st_mtime for f in src.iterdir()):
        work = CACHE / f"{name}-src"
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(src, work)
        subprocess.run(["go", "build", "-mod=mod", "-o", out, "."], cwd=work, check=True)
    return out


def port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def component(name, kind, **metadata):
    items = "".join(f"\n  - {{name: {k}, value: {json.dumps(str(v))}}}" for k, v in metadata.items())
    return f"apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {{name: {name}}}\nspec:\n  type: {kind}\n  version: v1\n  metadata:{items or ' []'}\n"


class Side:
    def __init__(self, label, command, root, broker, app_port):
        self.label, self.command, self.root = label, shlex.split(command), root / label
        self.res = self.root / "resources"
        self.res.mkdir(parents=True)
        (self.res / "state.yaml").write_text(component("statestore", "state.sqlite", connectionString=self.root / "state.db"))
        (self.res / "pubsub.yaml").write_text(
            component("pubsub", "pubsub.mqtt3", url=f"mqtt://127.0.0.1:{broker}", qos=1, consumerID=label)
        )
        names = json.dumps(str(self.root / "names.db"))
        (self.root / "config.yaml").write_text(
            "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata: {name: c}\nspec:\n"
            f"  nameResolution:\n    component: sqlite\n    version: v1\n    configuration: {{connectionString: {names}}}\n"
        )
        self.http, self.grpc, self.app_port, self.p = port(), port(), app_port, None

    def start(self, app=False):
        cmd = [
            *self.command,
            "--app-id",
            f"perf-{self.label}",
            "--dapr-http-port",
            self.http,
            "--dapr-grpc-port",
            self.grpc,
            "--dapr-internal-grpc-port",
            port(),
            "--metrics-port",
            port(),
            "--dapr-listen-addresses",
            "127.0.0.1",
            "--resources-path",
            self.res,
            "--config",
            self.root / "config.yaml",
            "--log-level",
            "error",
        ]
        if app:
            cmd += ["--app-port", self.app_port, "--app-protocol", "http"]
        env = {k: v for k, v in os.environ.items() if not k.startswith("DAPR_")}
        env["XDG_STATE_HOME"] = env["HOME"] = str(self.root)
        t = time.perf_counter()
        self.p = subprocess.Popen(
            [str(c) for c in cmd], cwd=self.root, env=env, stdout=subprocess.DEVNULL, stderr=open(self.root / "log", "ab")
        )
        while time.perf_counter() - t < 60:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/v1.0/healthz/outbound", timeout=1) as r:
                    if r.status == 204:
                        return time.perf_counter() - t
            except OSError:
                pass
            if self.p.poll() is not None:
                raise SystemExit(f"{self.label} ended with {self.p.returncode}:\n" + (self.root / "log").read_text()[-2000:])
            time.sleep(0.005)
        raise SystemExit(f"{self.label} not healthy in 60 s")

    def pids(self):
        out, todo = [], [self.p.pid]
        while todo:
            pid = todo.pop()
            out.append(pid)
            try:
                todo += [int(x) for x in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
            except OSError:
                pass
        return out

    def worker(self):
        """The process that does the work (a frozen file's child, or itself): the largest."""
        return max(self.pids(), key=lambda p: memory(p)[0])

    def stop(self):
        self.p.terminate()
        try:
            self.p.wait(15)
        except subprocess.TimeoutExpired:
            self.p.kill()
            self.p.wait()


def memory(pid):
    rss = anon = 0.0
    try:
        for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                rss = int(line.split()[1]) / 1024
            if line.startswith("RssAnon"):
                anon = int(line.split()[1]) / 1024
    except OSError:
        pass
    return rss, anon


def cpu(pid):
    """Milliseconds of CPU that the threads of a process took until now."""
    tasks = pathlib.Path(f"/proc/{pid}/task")
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir()) / 1e6


def pss(pid):
    """Proportional set size in MB: what the process really costs, shared pages split among their users."""
    try:
        for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return 0.0


def load(bin_, side, mode, c, seconds, topic="perf/x"):
    store = "pubsub" if "pub" in mode else "statestore"
    addr = f"127.0.0.1:{side.grpc if mode.startswith('grpc') else side.http}"
    out = subprocess.run(
        [
            bin_,
            "-mode",
            mode,
            "-addr",
            addr,
            "-c",
            str(c),
            "-d",
            f"{seconds}s",
            "-store",
            store,
            "-topic",
            topic,
            "-pid",
            str(side.worker()),
            "-label",
            side.label,
        ],
        capture_output=True,
        text=True,
    )
    return json.loads(out.stdout.strip().splitlines()[-1])


def through(bin_, side, c, seconds):
    """Publish to the side's own app: what the load program and the app say."""
    urllib.request.urlopen(f"http://127.0.0.1:{side.app_port}/reset").read()
    sent = load(bin_, side, "http-pub", c, seconds, topic="perf/e2e")
    time.sleep(2)
    with urllib.request.urlopen(f"http://127.0.0.1:{side.app_port}/stats") as answer:
        return sent, json.load(answer)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--a", default=f"{sys.executable} -m edge run")
    ap.add_argument("--b", default=os.environ.get("DAPRD", ""))
    ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--seconds", type=float, default=3)
    ap.add_argument("--only", default="start,idle,state,publish,e2e")
    ap.add_argument("--no-grpc", action="store_true")
    o = ap.parse_args()
    only = set(o.only.split(","))
    CACHE.mkdir(parents=True, exist_ok=True)
    ld, app = build("load"), build("app")
    root = pathlib.Path(tempfile.mkdtemp(prefix="edged-perf-"))
    procs = []
    figures = {}

    def note(name, values):
        figures.setdefault(name, []).append(values)

    try:
        sides = []
        for label, cmd in (("A", o.a), ("B", o.b)):
            if cmd:
                # a broker of its own: what the load sends to one side would else be delivered by the other one too, on the same cores
                broker, ap_port = port(), port()
                conf = root / f"mosquitto-{label}.conf"
                conf.write_text(f"listener {broker} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n")
                procs.append(subprocess.Popen(["mosquitto", "-c", conf], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
                procs.append(subprocess.Popen([app, str(ap_port)], stdout=subprocess.DEVNULL))
                sides.append(Side(label, cmd, root, broker, ap_port))
        time.sleep(0.3)
        if "start" in only:
            for _ in range(max(3, o.rounds)):
                row, used = [], []
                for s in sides:
                    row.append(s.start() * 1000)
                    used.append(sum(cpu(p) for p in s.pids()))
                    s.stop()
                note("start to healthy, ms", row)
                note("CPU until healthy, ms", used)
        if "idle" in only:
            for s in sides:
                s.start()
            time.sleep(5)
            mem = [[sum(x) for x in zip(*(memory(p) for p in s.pids()))] for s in sides]
            note("idle RSS, MB", [m[0] for m in mem])
            note("idle private, MB", [m[1] for m in mem])
            note("idle PSS, MB", [sum(pss(p) for p in s.pids()) for s in sides])
            for s in sides:
                s.stop()
        for s in sides:
            s.start(app="e2e" in only)
        time.sleep(1)
        modes = []
        if "state" in only:
            modes += [("http-save", c) for c in (1, 8, 64)] + [("http-get", c) for c in (1, 8, 64)]
            modes += [] if o.no_grpc else [("grpc-save", c) for c in (1, 64)] + [("grpc-get", c) for c in (1, 64)]
        if "publish" in only:
            modes += [("http-pub", c) for c in (1, 64)] + ([] if o.no_grpc else [("grpc-pub", 64)])
        for _ in range(o.rounds):
            for mode, c in modes:
                rs = [load(ld, s, mode, c, o.seconds) for s in sides]
                for key, unit in (
                    ("ops_s", "per s"),
                    ("cpu_us_op", "us CPU each"),
                    ("p99_ms", "p99 ms"),
                    ("wbytes_op", "bytes written each"),
                    ("errs", "errors"),
                ):
                    note(f"{mode} c={c}, {unit}", [r[key] for r in rs])
        if modes:
            note("RSS after load, MB", [sum(memory(p)[0] for p in s.pids()) for s in sides])
            note("PSS after load, MB", [sum(pss(p) for p in s.pids()) for s in sides])
        if "e2e" in only:
            for _ in range(o.rounds):
                for c in (1, 8, 64):
                    row = [through(ld, s, c, o.seconds) for s in sides]
                    note(f"e2e c={c}, delivered per s", [got["rate"] for _, got in row])
                    note(f"e2e c={c}, p50 ms", [got["p50"] for _, got in row])
                    note(f"e2e c={c}, p99 ms", [got["p99"] for _, got in row])
                    note(f"e2e c={c}, us CPU each", [sent["cpu_us_op"] for sent, _ in row])
                    note(f"e2e c={c}, missing", [max(0, sent["ops"] - got["n"]) for sent, got in row])
        for s in sides:
            s.stop()
    finally:
        for p in procs:
            p.terminate()
        shutil.rmtree(root, ignore_errors=True)
    print(f"{'figure':44} {'A':>12} {'B':>12} {'A/B':>8}")
    for name, rows in figures.items():
        med = [statistics.median(r[i] for r in rows) for i in range(len(rows[0]))]
        ratio = statistics.median(r[0] / r[1] for r in rows if r[1]) if len(med) > 1 and any(r[1] for r in rows) else float("nan")
        print(f"{name:44} {med[0]:12.1f} {(med[1] if len(med) > 1 else float('nan')):12.1f} {ratio:8.2f}")


if __name__ == "__main__":
    sys.exit(main())
