"""Imports point down the layers only (docs/architecture.md): read from the source's own import statements."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LAYERS = {
    "edge.version": 0, "edge.errors": 0, "edge.model": 0, "edge.events": 0, "edge.received": 0, "edge.clock": 0, "edge.tasks": 0,
    "edge.durations": 0, "edge.protojson": 0, "edge.cron": 0, "edge.record": 0, "edge.crash": 0, "edge.eager": 0, "edge.lean": 0,
    "edge.gojson": 0, "edge.reading": 0, "edge.gourl": 0,
    "edge.goscanner": 0, "edge.gointeger": 0, "edge.gobase64": 0, "edge.gofloat": 0, "edge.gostruct": 0, "edge.quantity": 0, "edge.chat": 0,
    "edge.component": 1, "edge.spec": 1, "edge.kinds": 1, "edge.reference": 1, "edge.registry": 1, "edge.resiliency": 1, "edge.cel": 1,
    "edge.tokens": 1,
    "edge.firing": 2,
    "edge.config": 2, "edge.database": 2, "edge.journal": 2, "edge.scheduler": 2, "edge.http1": 2, "edge.rpc": 2, "edge.telemetry": 2,
    "edge.identity": 2, "edge.systemd": 2, "edge.datadir": 2,
    "edge.app": 3, "edge.actor": 3, "edge.settings": 3, "edge.loader": 3,
    "edge.channel": 4, "edge.blocks": 4, "edge.mesh": 4,
    "edge.api": 5,
    "edge.host": 6, "edge.metering": 6, "edge.services": 6, "edge.reload": 6, "edge.renewal": 6, "edge.meshing": 6, "edge.internal_port": 6,
    "edge.listeners": 6, "edge.instances": 6, "edge.attendance": 6, "edge.adoption": 6, "edge.runtime": 6, "edge.cli": 6,
    "edge.__main__": 6, "edge.tracing": 6, "edge.clustering": 6,
}  # fmt: skip
APART = [("edge.channel", "edge.blocks"), ("edge.api.http", "edge.api.grpc")]
COMPONENTS_MAY = (
    "edge.rpc.client",
    "edge.rpc.pb",
    "edge.rpc.status",
    "edge.database",
    "edge.http1.client",
    "edge.http1.messages",
    "edge.http1.streams",
    "edge.version",
)


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> set[str]:
    """Modules that a file imports, at the top or in functions; what only type checkers see does not count."""
    tree = ast.parse(path.read_text())
    typing_only = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
        for child in ast.walk(node)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.startswith(("edge", "components"))}


def layer(name: str) -> int | None:
    parts = name.split(".")
    for end in range(len(parts), 1, -1):
        if (level := LAYERS.get(".".join(parts[:end]))) is not None:
            return level
    return None


def under(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def sources(folder: str) -> list[Path]:
    return [path for path in sorted((ROOT / folder).rglob("*.py")) if "/pb/" not in str(path)]


def test_every_module_of_edge_has_a_layer() -> None:
    unknown = [name for path in sources("edge") if (name := module_name(path)) != "edge" and layer(name) is None]

    assert not unknown, f"give these a layer in docs/architecture.md and here: {unknown}"


def test_imports_point_down_the_layers() -> None:
    wrong = []
    for path in sources("edge"):
        name = module_name(path)
        own = layer(name) or 0
        up = [i for i in imports(path) if under(i, "edge") and (layer(i) or 0) > own]
        wrong += [f"{name} [{own}] imports {imported} [{layer(imported)}]" for imported in up]

    assert not wrong, "\n".join(wrong)


def test_sister_packages_never_import_each_other() -> None:
    wrong = []
    for path in sources("edge"):
        name = module_name(path)
        for left, right in [*APART, *[(b, a) for a, b in APART]]:
            wrong += [f"{name} imports {i}" for i in imports(path) if under(name, left) and under(i, right)]

    assert not wrong, "\n".join(wrong)


def test_components_import_only_what_an_author_may() -> None:
    wrong = []
    for path in sources("components"):
        for imported in imports(path):
            if not (under(imported, "components") or imported.startswith(COMPONENTS_MAY) or (layer(imported) or 0) <= 1):
                wrong += [f"{module_name(path)} imports {imported}"]

    assert not wrong, "\n".join(wrong)
