"""Generated pages are fresh and say what the components declare."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from edge.reference import component_schema, readme

ROOT = Path(__file__).resolve().parents[3]


def test_the_generated_pages_are_fresh() -> None:
    out = subprocess.run([sys.executable, ROOT / "packaging/reference", "--check"], capture_output=True, text=True, timeout=50)

    assert out.returncode == 0, out.stderr


def test_every_type_has_a_section_with_its_fields() -> None:
    text = readme()

    assert "### `secretstores.systemd` *new*" in text
    assert "| `secretsFile` | text | required | Path of the JSON file." in text


def test_the_schema_knows_a_types_fields() -> None:
    branches: list[dict[str, Any]] = component_schema()["properties"]["spec"]["allOf"]
    (found,) = [branch for branch in branches if branch["if"]["properties"]["type"] == {"const": "secretstores.local.file"}]

    fields = [item["properties"]["name"]["const"] for item in found["then"]["properties"]["metadata"]["items"]["anyOf"]]
    assert fields == ["secretsFile", "nestedSeparator", "multiValued"]
    assert json.dumps(component_schema())
