"""A plan becomes open components; what fails is said in daprd's words with file, line and nearest name."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest

from components import catalog
from edge.app import App, Parts
from edge.component import Context, Feature
from edge.config.plan import Plan, read_plan
from edge.config.resources import Component as Resource
from edge.loader import Loader, LoadError, check, open_components
from edge.record import record
from edge.spec import meta
from edge.tasks import Tasks

APP = App("shop")


SECRET = (
    "metadata: {{name: a}}\nspec: {{type: state.odd, metadata: [{{name: how, secretKeyRef: {{name: word}}}}]}}\nauth: {{secretStore: {}}}\n"
)


@record
class Fields:
    how: str = meta("", doc="How it ends.")


class Odd:
    """A component whose start is as the field says."""

    Metadata: ClassVar[type] = Fields
    features: ClassVar[frozenset[Feature]] = frozenset()
    log: ClassVar[list[str]] = []

    def __init__(self, metadata: Fields, context: Context) -> None:
        self.metadata, self.context = metadata, context

    async def open(self) -> None:
        if self.metadata.how == "slow":
            await asyncio.sleep(30)
        if self.metadata.how == "bug":
            raise KeyError("x")
        if self.metadata.how == "file":
            raise FileNotFoundError(2, "No such file or directory", "/x/y")
        self.log.append(f"open {self.context.name}")
        await asyncio.sleep(0)

    async def close(self) -> None:
        self.log.append(f"close {self.context.name}")


@pytest.fixture(autouse=True)
def _odd(monkeypatch: pytest.MonkeyPatch) -> None:
    Odd.log.clear()
    for type_ in ("state.odd", "secretstores.odd", "pubsub.odd"):
        monkeypatch.setitem(catalog.CATALOG, f"{type_}/v1", f"{__name__}:Odd")


def write(tmp_path: Path, *components: str) -> Plan:
    head = "apiVersion: dapr.io/v1alpha1\nkind: Component\n"
    (tmp_path / "r").mkdir(exist_ok=True)
    (tmp_path / "r/a.yaml").write_text("---\n".join(head + component for component in components))
    return read_plan([tmp_path / "r"], [], ["shop"], {}, tmp_path)


def one(name: str, type_: str, *fields: tuple[str, str], more: str = "") -> str:
    entries = ", ".join(f"{{name: {key}, value: '{value}'}}" for key, value in fields)
    return f"metadata: {{name: {name}}}\nspec: {{type: {type_}, version: v1, metadata: [{entries}]{more}}}\n"


@asynccontextmanager
async def opened(tmp_path: Path, plan: Plan, environ: Mapping[str, str] | None = None) -> Any:
    async def no_database() -> Any:
        raise AssertionError("none of these needs it")

    async with Tasks("t") as tasks:

        def lend(resource: Resource) -> Context:
            return Context(resource.name, ("shop",), "default", tmp_path, tasks, no_database, resource.init_timeout, tmp_path)

        async with open_components(plan, lend, environ or {}) as loader:
            yield loader.parts


def load(tmp_path: Path, *components: str, environ: Mapping[str, str] | None = None) -> Parts:
    async def main() -> Parts:
        async with opened(tmp_path, write(tmp_path, *components), environ) as parts:
            return Parts(parts.visible(APP))

    return asyncio.run(main())


def test_components_open_in_order_and_close_with_secret_stores_last(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    parts = load(tmp_path, one("b", "state.odd"), one("s", "secretstores.odd"), one("a", "pubsub.odd"))

    assert [part.name for part in parts.visible(APP)] == ["s", "b", "a"]
    assert Odd.log[0] == "open s" and Odd.log[-1] == "close s"
    assert caplog.messages[:3] == [
        f"Component loaded: {name}" for name in ("s (secretstores.odd/v1)", "b (state.odd/v1)", "a (pubsub.odd/v1)")
    ]
    assert "Shutting down component b (state.odd/v1)" in caplog.messages


def test_a_part_has_lower_case_properties_and_capabilities(tmp_path: Path) -> None:
    parts = load(tmp_path, one("jar", "state.in-memory", ("keyPrefix", "name")), one("bus", "pubsub.odd", ("how", "{namespace}")))

    jar, bus = parts.find("state", "jar", APP), parts.find("pubsub", "bus", APP)
    assert jar is not None and jar.properties == {"keyprefix": "name"}
    assert jar.capabilities == ("ETAG", "TRANSACTIONAL", "TTL", "DELETE_WITH_PREFIX", "KEYS_LIKE", "ACTOR")
    assert bus is not None and bus.properties == {"how": "default.shop", "consumerid": "shop", "namespacescoped": "true"}


def test_secrets_reach_a_component_that_was_written_before_its_store(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text('{"word": "hush"}')
    parts = load(tmp_path, SECRET.format("s"), one("s", "secretstores.local.file", ("secretsFile", "s.json")))

    part = parts.find("state", "a", APP)
    assert part is not None and part.component.metadata.how == "hush"
    assert "hush" not in repr(part)


def test_without_its_secret_store_a_component_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    secret = (
        "metadata: {name: a}\nspec: {type: state.odd, metadata: [{name: how, secretKeyRef: {name: word}}]}\nauth: {secretStore: nostore}\n"
    )

    parts = load(tmp_path, secret, one("b", "state.odd"))

    assert [part.name for part in parts.visible(APP)] == ["b"]
    assert "Component a references a secret store that isn't loaded: nostore" in caplog.messages


def test_secrets_of_no_store_are_empty(tmp_path: Path) -> None:
    parts = load(tmp_path, "metadata: {name: a}\nspec: {type: state.odd, metadata: [{name: how, secretKeyRef: {name: word}}]}\n")

    part = parts.find("state", "a", APP)
    assert part is not None and part.component.metadata.how == ""


TIMED_OUT = "context deadline exceeded\ninit timeout for component t ({0}/v1)"
INIT = "process component t error: [INIT_COMPONENT_FAILURE]: initialization error occurred for t ({0}/v1): "


@pytest.mark.parametrize(
    ("type_", "fields", "more", "text"),
    [
        (
            "state.turnip",
            (),
            "",
            INIT + "[CREATE_COMPONENT_FAILURE]: initialization error occurred for t ({0}/v1): couldn't find state store {0}/v1 (",
        ),
        ("soup.tomato", (), "", "process component t error: incorrect type soup.tomato ("),
        (
            "state.sqlite",
            (),
            "",
            INIT + "[INIT_COMPONENT_FAILURE]: initialization error occurred for t ({0}/v1): missing connection string (",
        ),
        (
            "state.odd",
            (("how", "file"),),
            "",
            INIT + "[INIT_COMPONENT_FAILURE]: initialization error occurred for t ({0}/v1): /x/y: No such file or directory",
        ),
        (
            "state.odd",
            (("how", "bug"),),
            "",
            INIT + "[INIT_COMPONENT_FAILURE]: initialization error occurred for t ({0}/v1): KeyError: 'x'",
        ),
        (
            "state.odd",
            (("how", "slow"),),
            ", initTimeout: 20ms",
            INIT + "[INIT_COMPONENT_FAILURE]: initialization error occurred for t ({0}/v1): " + TIMED_OUT,
        ),
    ],
)
def test_a_component_that_fails_stops_the_start_in_daprs_words(
    tmp_path: Path, type_: str, fields: tuple[tuple[str, str], ...], more: str, text: str
) -> None:
    with pytest.raises(LoadError) as caught:
        load(tmp_path, one("ok", "state.odd"), one("t", type_, *fields, more=more))

    assert str(caught.value).startswith(text.format(type_))
    assert Odd.log[-1] == "close ok"


def test_an_unknown_type_names_file_line_and_nearest(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=r"r/a\.yaml:4, did you mean state\.sqlite\?\)$"):
        load(tmp_path, one("t", "state.sqlitte"))


def test_an_unknown_field_is_a_warning_with_file_line_and_nearest(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    load(tmp_path, "metadata: {name: t}\nspec:\n  type: state.odd\n  metadata:\n  - name: hwo\n    value: x\n")

    (message,) = (record.message for record in caplog.records if record.levelname == "WARNING")
    assert message == f"Component t (state.odd): {tmp_path}/r/a.yaml:7: unknown field hwo, did you mean how?; it is ignored"


def test_ignored_errors_let_the_others_go_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    parts = load(tmp_path, one("t", "state.turnip", more=", ignoreErrors: true"), one("ok", "state.odd"))

    assert [part.name for part in parts.visible(APP)] == ["ok"]
    assert any(message.startswith("Ignoring error processing component: process component t error: ") for message in caplog.messages)


def test_all_failures_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(LoadError) as caught:
        load(tmp_path, one("a", "state.turnip"), one("b", "pubsub.turnip"))

    assert "state store state.turnip/v1" in str(caught.value) and "message bus pubsub.turnip/v1" in str(caught.value)


def test_slow_components_start_side_by_side(tmp_path: Path) -> None:
    with pytest.raises(LoadError):
        asyncio.run(
            asyncio.wait_for(
                _open(tmp_path, *(one(f"t{n}", "state.odd", ("how", "slow"), more=", initTimeout: 100ms") for n in range(20))), timeout=1
            )
        )


async def _open(tmp_path: Path, *components: str) -> None:
    async with opened(tmp_path, write(tmp_path, *components)):
        pass


def test_a_start_that_is_cancelled_closes_what_was_open(tmp_path: Path) -> None:
    async def main() -> None:
        stores = [one("s", "secretstores.odd"), one("t", "state.odd", ("how", "slow"))]
        task = asyncio.create_task(_open(tmp_path, *stores))
        await asyncio.sleep(0.03)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert Odd.log == ["open s", "close s"]


def test_a_parked_component_opens_when_its_store_has_come(tmp_path: Path) -> None:
    async def main() -> list[str]:
        (tmp_path / "s.json").write_text('{"word": "hush"}')
        plan = write(
            tmp_path,
            SECRET.format("s"),
            one("s", "secretstores.local.file", ("secretsFile", "s.json")),
        )
        store, component = plan.components
        async with Tasks("t") as tasks:
            context = Context("x", ("shop",), "default", tmp_path, tasks, None, 5.0, tmp_path)  # type: ignore[arg-type]
            loader = Loader(lambda _: context, {})
            await loader.open(component)
            parked = list(loader.parked)
            await loader.open(store)
            await loader.open(component)
            await loader.close_all()
        return parked + list(loader.parked) + Odd.log

    assert asyncio.run(main()) == ["a", "open x", "close x"]


def test_check_finds_everything_without_opening(tmp_path: Path) -> None:
    plan = write(
        tmp_path,
        one("a", "state.ood"),
        one("b", "state.sqlite", ("timeout", "soon")),
        "metadata: {name: c}\nspec: {type: state.sqlite, metadata: [{name: connectionString, secretKeyRef: {name: s}}]}\n",
    )

    assert [problem.message for problem in check(plan)] == [
        "couldn't find state store state.ood/v1, did you mean state.odd?",
        "b (state.sqlite/v1): missing connection string",
        'b (state.sqlite/v1): timeout: "soon" is no duration such as 1m30s',
    ]
