"""Programs of the released Java SDK: clients, workers and a gRPC app without a framework, and Spring Boot apps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.sdk import garden, programs

SEEN = json.loads((Path(__file__).parent / "java" / "seen.json").read_text())
"""What the same programs saw with daprd 1.18.3: program -> [step, saw]…; FOLDER is where the components' files are."""


def seen_by(command: list[str], folder: Path, protocol: str) -> object:
    needs_app = protocol != ""
    seen = programs.run(
        command, folder, app_id="sdk", app_protocol=protocol or "http", needs_app=needs_app, resources=garden.resources(folder)
    )
    return json.loads(json.dumps(seen).replace(str(folder), "FOLDER"))


@pytest.mark.parametrize("program", ["Client", "Streams", "Jobs", "Workflows"])
def test_client_sees_what_it_sees_with_daprd(tmp_path: Path, program: str) -> None:
    assert seen_by(programs.java("client", program), tmp_path, "") == SEEN[program]


def test_grpc_app_sees_what_it_sees_with_daprd(tmp_path: Path) -> None:
    assert seen_by(programs.java("client", "GrpcApp"), tmp_path, "grpc") == SEEN["GrpcApp"]


@pytest.mark.parametrize("program", ["Subscriber", "Actors"])
def test_spring_app_sees_what_it_sees_with_daprd(tmp_path: Path, program: str) -> None:
    assert seen_by(programs.java("spring", program), tmp_path, "http") == SEEN[program]
