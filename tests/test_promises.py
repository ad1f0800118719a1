"""The page of promises and the page of reliability name tests that there are."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("page", ["promises.md", "reliability.md"])
def test_every_test_that_a_page_names_exists(page: str) -> None:
    named = re.findall(r"`(tests/[\w/]+(?:\.py)?)?(?:::(\w+))?`", (ROOT / "docs" / page).read_text())
    missing, file = [], ROOT
    for path, test in ((path, test) for path, test in named if path or test):
        file = ROOT / path if path else file  # `::test_…` is in the file that was named last
        if not file.exists() or (test and test not in names_in(file)):
            missing.append(f"{file.relative_to(ROOT)}::{test}")

    assert len(named) >= (30 if page == "promises.md" else 5)
    assert not missing


def names_in(file: Path) -> set[str]:
    """Names of the test functions of a file."""
    return {node.name for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
