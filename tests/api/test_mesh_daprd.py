"""edged and a real daprd call each other, where $DAPRD names its executable: found by mDNS and by a names file."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.api.test_mesh import names
from tests.apps import Answer, ScriptedApp
from tests.harness import Sidecar, free_port

DAPRD = os.environ.get("DAPRD", "")
pytestmark = pytest.mark.skipif(not DAPRD, reason="DAPRD does not name a daprd")


class Daprd(Sidecar):
    """The same harness around the other executable."""

    def spawn(self) -> subprocess.Popen[bytes]:
        arguments = [each for each in self.arguments() if each not in ("--data-dir", str(self.folder / "data"))]
        with self.log_path.open("ab") as out:
            self.process = subprocess.Popen([DAPRD, *arguments], stdout=out, stderr=out, cwd=self.folder)
        return self.process


@pytest.mark.parametrize("found", ["mdns", "sqlite"])
async def test_both_call_each_other(tmp_path: Path, found: str) -> None:
    config = names(tmp_path) if found == "sqlite" else None
    loopback: Any = ("--dapr-listen-addresses", "127.0.0.1")
    tag = free_port()
    async with ScriptedApp({"/jam": Answer(201, b"jam"), "/gone": Answer(404, b"{}")}) as app:
        ours = Sidecar(tmp_path / "e", f"edged-{tag}", app.port, config=config)
        theirs = Daprd(tmp_path / "d", f"daprd-{tag}", app.port, config=config, flags=loopback)
        try:
            for one in (ours, theirs):
                one.folder.mkdir()
                one.spawn()
            for one in (ours, theirs):
                await asyncio.to_thread(one.wait)
            for caller, callee in ((ours, theirs), (theirs, ours)):
                got = await asyncio.to_thread(caller.call, "POST", f"/v1.0/invoke/{callee.app_id}/method/jam?x=1", b"plum")
                gone = await asyncio.to_thread(caller.call, "GET", f"/v1.0/invoke/{callee.app_id}/method/gone")
                seen = app.on("/jam")[-1]
                assert (got.status, got.body, gone.status) == (201, b"jam", 404)
                ids = seen.header("dapr-caller-app-id"), seen.header("dapr-callee-app-id")
                assert (seen.body, ids) == (b"plum", (caller.app_id, callee.app_id))
        finally:
            for one in (ours, theirs):
                if one.process is not None and one.process.poll() is None:
                    await asyncio.to_thread(one.kill)
