"""Every test here is one of SDKs; the first one of a language may have to install its packages."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent.name == "sdk":
            item.add_marker(pytest.mark.sdk)
            item.add_marker(pytest.mark.timeout(300))
