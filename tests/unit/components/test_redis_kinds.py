"""Redis behind TLS, as a cluster, and found by sentinels; and TLS in the process that users run, whose asyncio starts without OpenSSL."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from edge.model import DeleteItem, SetItem
from tests.certificates import self_signed
from tests.harness import component, sidecar
from tests.harness_components import opened
from tests.harness_servers import Redis, needs_redis, redis_server, server_port, wait_port

pytestmark = needs_redis


@contextmanager
def behind_tls(folder: Path) -> Iterator[Redis]:
    """A server that wants TLS and a client certificate."""
    folder.mkdir()
    key, certificate = self_signed()
    (folder / "key.pem").write_bytes(key)
    (folder / "cert.pem").write_bytes(certificate)
    one = Redis(folder, server_port())
    flags = ("--port", "0", "--tls-port", str(one.port), "--tls-cert-file", str(folder / "cert.pem"))
    one.flags = (*flags, "--tls-key-file", str(folder / "key.pem"), "--tls-ca-cert-file", str(folder / "cert.pem"))
    try:
        yield one.start()
    finally:
        one.stop()


def tls_fields(server: Redis) -> dict[str, str]:
    key, certificate = self_signed()
    return {
        "redisHost": server.host,
        "enableTLS": "true",
        "insecureSkipTLSVerify": "true",
        "clientCert": certificate.decode(),
        "clientKey": key.decode(),
    }


async def works(store: Any) -> None:
    items = [SetItem(f"k{number}", b"%d" % number, True) for number in range(20)]
    await store.set(items[0])
    assert await store.set_many(items) == [None] * 20
    await store.transact([items[3], DeleteItem("k4")], {})
    found = await store.get_many([item.key for item in items])
    assert [item.data for item in found] == [item.value if item.key != "k4" else None for item in items]
    assert (await store.keys_like("k%", 100, ""))[0] == sorted(item.key for item in items if item.key != "k4")
    assert store.unhealthy() is None


async def test_tls_with_a_client_certificate(tmp_path: Path) -> None:
    with behind_tls(tmp_path / "redis") as server:
        async with opened("state.redis", tmp_path, tls_fields(server)) as store:
            await works(store)


async def test_a_certificate_that_nobody_signed_is_refused(tmp_path: Path) -> None:
    with behind_tls(tmp_path / "redis") as server:
        async with opened("state.redis", tmp_path, tls_fields(server) | {"insecureSkipTLSVerify": "false"}) as store:
            assert "certificate" in (store.unhealthy() or "").lower()


def test_tls_works_in_the_process_that_users_run(tmp_path: Path) -> None:
    with behind_tls(tmp_path / "redis") as server:
        fields = tls_fields(server)
        with sidecar(tmp_path / "side", resources={"rds.yaml": component("rds", "state.redis", fields)}) as one:
            assert one.call("POST", "/v1.0/state/rds", [{"key": "k", "value": 1}]).status == 204, one.log()
            assert one.call("GET", "/v1.0/state/rds/k").body == b"1"


def cli(port: int, *words: str) -> str:
    return subprocess.run(["redis-cli", "-p", str(port), *words], check=True, capture_output=True, timeout=20).stdout.decode()


async def test_a_cluster(tmp_path: Path) -> None:
    bus = server_port()
    with redis_server(tmp_path / "redis", "--cluster-enabled", "yes", "--cluster-port", str(bus)) as server:
        cli(server.port, "CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        while "cluster_state:ok" not in cli(server.port, "CLUSTER", "INFO"):
            await asyncio.sleep(0.05)
        async with opened("state.redis", tmp_path, {"redisHost": server.host, "redisType": "cluster"}) as store:
            await works(store)


@pytest.mark.timeout(90)
async def test_sentinels(tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis") as master:
        port = server_port()
        settings = tmp_path / "sentinel.conf"
        settings.write_text(f"port {port}\nbind 127.0.0.1\nsentinel monitor mine 127.0.0.1 {master.port} 1\ndir {tmp_path}\n")
        process = subprocess.Popen(["redis-server", str(settings), "--sentinel"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_port(port, process)
            fields = {"redisHost": f"127.0.0.1:{port}", "failover": "true", "sentinelMasterName": "mine"}
            async with opened("state.redis", tmp_path, fields) as store:
                await works(store)
        finally:
            process.terminate()
            process.wait(20)
