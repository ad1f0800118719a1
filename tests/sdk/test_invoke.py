"""Programs of the SDKs call apps of the SDKs behind other sidecars; found by a names file, as on one device."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sdk import programs

RECORDED = Path(__file__).parent / "invoked.json"
"""What the same programs and apps saw with daprd 1.18.3 on both sides: program -> step -> what it saw."""


def names(folder: Path) -> str:
    resolution = {"component": "sqlite", "version": "v1", "configuration": {"connectionString": str(folder / "names.db")}}
    spec = {"nameResolution": resolution}
    return json.dumps({"apiVersion": "dapr.io/v1alpha1", "kind": "Configuration", "metadata": {"name": "c"}, "spec": spec})


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The configuration with which larder (FastAPI), loft (Python, gRPC), shed (JavaScript) and barn (Go, gRPC) are found."""
    folder = tmp_path_factory.mktemp("street")
    apps = {
        "larder": (programs.python("larder"), "http"),
        "loft": (programs.python("loft"), "grpc"),
        "shed": (programs.node("shed"), "http"),
        "barn": (programs.go("barn"), "grpc"),
    }
    with programs.called(folder, apps, config=names(folder)):
        yield names(folder)


@pytest.mark.parametrize("language", ["python", "node", "go", "java"])
def test_programs_see_what_they_see_with_daprd(tmp_path: Path, config: str, language: str) -> None:
    command = programs.java("client", "Invoke") if language == "java" else getattr(programs, language)("invoke")
    expected = json.loads(RECORDED.read_text())[language]

    seen = dict(programs.run(command, tmp_path, app_id="kitchen", needs_app=False, config=config))

    assert seen == expected
