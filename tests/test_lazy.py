"""What is not configured is not imported: read from the interpreter's own account of a real start (-v)."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edge import quantity
from tests.harness import Sidecar, component, sidecar
from tests.harness_mqtt import mosquitto, needs_mosquitto

ACCOUNT = (sys.executable, "-v", "-m", "edge", "run")
HEAVY = {
    "ssl", "_ssl", "_hashlib", "inspect", "google.protobuf", "cryptography", "psutil", "prometheus_client", "hpack", "click", "yaml",
    "aiosqlite", "paho.mqtt.client", "zeroconf", "celpy", "encodings.idna", "ctypes", "email", "http.client",
    "edge.api.grpc.server", "edge.rpc.connection", "edge.rpc.pb.pool",
    "edge.blocks.workflow.engine", "edge.blocks.actors.service", "edge.blocks.jobs",
    "opentelemetry", "edge.telemetry.spans", "edge.telemetry.export",
}  # fmt: skip
if sys.version_info >= (3, 12):
    HEAVY.discard("inspect")  # typing brings it for isinstance() with a protocol
GRPC = {"edge.api.grpc.server", "edge.rpc.connection", "google.protobuf", "hpack"}


def wait_for(condition: Callable[[], bool], timeout: float = 20.0) -> None:
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.01)


def imported(one: Sidecar) -> set[str]:
    """Modules that the process imported until now."""
    return set(re.findall(r"^import '?([\w.]+)'? #", one.log(), re.MULTILINE))


def test_a_sidecar_with_the_defaults_imports_nothing_heavy(tmp_path: Path) -> None:
    with sidecar(tmp_path, program=ACCOUNT) as one:
        one.call("GET", "/v1.0/metadata")
        found = imported(one)

    assert {"asyncio", "edge.runtime", "components.state.sqlite", "components.pubsub.sqlite"} <= found
    assert not found & HEAVY


def test_the_first_grpc_connection_brings_protobuf_and_http2(tmp_path: Path) -> None:
    with sidecar(tmp_path, program=ACCOUNT) as one:
        one.call("GET", "/v1.0/metadata")
        before = imported(one)
        with socket.create_connection(("127.0.0.1", one.grpc_port)) as client:
            client.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5))
            assert client.recv(9)[3] == 4  # SETTINGS
        wait_for(lambda: GRPC <= imported(one))

    assert not before & GRPC


@needs_mosquitto
@pytest.mark.mosquitto
def test_a_sidecar_with_mqtt_imports_neither_tls_nor_protobuf(tmp_path: Path) -> None:
    with mosquitto(tmp_path) as broker:
        mqtt = component("mq", "pubsub.mqtt3", {"url": broker.url, "qos": 1})

        with sidecar(tmp_path, program=ACCOUNT, resources={"mq.yaml": mqtt}) as one:
            assert one.call("POST", "/v1.0/publish/mq/t", {"n": 1}).status == 204
            wait_for(lambda: "Received PUBLISH" in broker.log())
            found = imported(one)

    assert {"components.pubsub.mqtt3", "paho.mqtt.client"} <= found
    assert not found & (HEAVY - {"yaml", "paho.mqtt.client"})


@pytest.mark.parametrize(
    ("what", "program"),
    [
        ("a coroutine is told from a function", "a, b = lean._Later('inspect'), None\nasync def c(): ...\nassert a.iscoroutinefunction(c)"),
        ("a bound method is none", "class C:\n  def m(self): ...\nassert not lean._Later('inspect').iscoroutinefunction(C().m)"),
        ("inspect comes when asked", "import dataclasses; assert str(dataclasses.inspect.getmodule(lean)).startswith('<module')"),
        (
            "a child can be started",
            "async def f(): return await (await asyncio.create_subprocess_exec('true')).wait()\nassert asyncio.run(f()) == 0",
        ),
        (
            "errors are told in full",
            "import traceback\ntry: 1/0\nexcept ZeroDivisionError: assert 'ZeroDivisionError' in traceback.format_exc()",
        ),
        (
            "and without another file",
            "lean.settle(); assert sys.modules['traceback'].__file__ and sys.modules['linecache'].__file__",
        ),
        ("a stand-in becomes the module", "import random; assert 0 <= random.random() < 1 and isinstance(random.Random(1), random.Random)"),
        (
            "the platform is told",
            "import platform, os; assert platform.system() == os.uname().sysname and platform.machine() == os.uname().machine",
        ),
        ("TLS comes back to asyncio", "import ssl; assert asyncio.sslproto.ssl is ssl and asyncio.sslproto.SSLAgainErrors"),
        ("and is loaded once", "import ssl, sys; assert ssl.__spec__.loader.__class__.__module__ != 'edge.lean'"),
        ("a class without docstring is a dataclass", "import dataclasses\n@dataclasses.dataclass\nclass C:\n  a: int\nassert C(1) == C(1)"),
    ],
)
def test_what_a_lean_start_left_out_comes_at_its_first_use(what: str, program: str) -> None:
    lean = "from edge import lean\nlean.prepare()\nimport asyncio, sys\nassert 'ssl' not in sys.modules and 'inspect' not in sys.modules\n"

    done = subprocess.run([sys.executable, "-c", lean + program], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, ""), what


@pytest.mark.parametrize(
    "program",
    [
        "a = C(1); assert a == C(1) and a != C(2) and repr(a) == 'C(n=1)' and repr(a) == 'C(n=1)'",
        "a = F(1, s='x'); assert hash(a) == hash(F(1)) and F(1) < F(2) and a.__init__.__func__.__qualname__ == 'F.__init__'",
        "a = F(1)\ntry: a.n = 2\nexcept dataclasses.FrozenInstanceError: pass\nelse: assert False",
        "assert dataclasses.replace(F(1), n=3) == F(3) and dataclasses.asdict(D(1, [2])) == {'n': 1, 'more': [2]}",
        "assert D(1).more == [] and D(1).more is not D(1).more and isinstance(D(1), C)",
        "try: C()\nexcept TypeError as error: assert 'missing 1 required positional argument' in str(error)\nelse: assert False",
        "import pickle, copy; assert copy.deepcopy(D(1, [2])) == D(1, [2])",
    ],
)
def test_methods_of_dataclasses_that_compile_late_are_the_same(program: str) -> None:
    classes = """
from edge import lean
lean.prepare()
import dataclasses
@dataclasses.dataclass(slots=True)
class C:
    n: int
@dataclasses.dataclass(frozen=True, slots=True, order=True)
class F:
    n: int
    s: str = dataclasses.field(default="y", compare=False)
@dataclasses.dataclass
class D(C):
    more: list = dataclasses.field(default_factory=list)
"""

    done = subprocess.run([sys.executable, "-c", classes + program], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")


def test_patterns_of_our_modules_compile_at_their_first_use() -> None:
    program = """
from edge import lean
lean.prepare()
from edge import quantity
assert type(vars(quantity)[%r]).__name__ == "_Pattern"
assert quantity.parse_quantity("4Mi") == 4 << 20
import re
assert type(re.compile("x")).__name__ == "Pattern"
"""
    name = next(name for name, value in vars(quantity).items() if isinstance(value, re.Pattern))

    done = subprocess.run([sys.executable, "-c", program % name], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
