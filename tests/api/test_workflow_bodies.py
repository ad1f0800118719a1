"""What the workflow routes read of a body, as observed with daprd 1.18.3: protojson for orders, UTF-8 for inputs and events."""

from __future__ import annotations

import json
from pathlib import Path

from tests.harness import Sidecar

NOT_READ = "failed deserializing HTTP body: proto: "
ORDERS = [
    (b"null", NOT_READ + "syntax error (line 1:1): unexpected token null"),
    (b"[]", NOT_READ + "syntax error (line 1:1): unexpected token ["),
    (b"{}x", NOT_READ + "syntax error (line 1:3): invalid value x"),
    (b'{"workflow_component":5}', NOT_READ + "(line 1:23): invalid value for string field workflowComponent: 5"),
    (b'{"instanceID":5}', NOT_READ + "(line 1:15): invalid value for string field instanceID: 5"),
    (b'{"x":"\xff"}', NOT_READ + "syntax error (line 1:6): invalid UTF-8 in string"),
]
TEXT = "string field contains invalid UTF-8"
BEGUN = "unable to start workflow: failed to start workflow: failed to marshal CreateWorkflowInstanceRequest"
RAISED = "failed to raise event go on workflow i: failed to raise event"


def test_bodies_are_read_as_by_daprd(tmp_path: Path) -> None:
    edged = Sidecar(tmp_path, app_id="mill")
    edged.start("/v1.0/healthz", 40.0)
    try:

        def asked(path: str, body: bytes) -> tuple[int, str]:
            answer = edged.call("POST", f"/v1.0/workflows/dapr/{path}", body)
            return answer.status, json.loads(answer.body).get("message", "").replace("\u00a0", " ")

        for verb in ("terminate", "pause", "resume", "purge"):
            for body, message in ORDERS:
                assert asked(f"i/{verb}", body) == (400, message)
            assert "no such instance exists" in asked(f"i/{verb}", b' {"instanceID":null,"x":[1]}\n')[1]
        assert asked("wf/start", b"\xff") == (500, f"error starting workflow 'wf': {BEGUN}: {TEXT}")
        assert asked("i/raiseEvent/go", b"\xff") == (500, f"error raising event on workflow 'i': {RAISED}: {TEXT}")
    finally:
        edged.kill()
