"""`state.postgresql` v1: values as jsonb, etag = the row's xmin, query API. New deployments use v2."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import orjson

from components.state import _filters, _postgresql, _postgresql_tables
from components.state._postgresql import Layout, PostgresStore
from edge import gobase64, gostruct
from edge.component import Context, Feature
from edge.errors import ComponentError, EtagInvalid
from edge.gointeger import parse_uint
from edge.goscanner import JsonError
from edge.model import QueryResult, SetItem
from edge.record import record
from edge.spec import meta


@record
class Fields(_postgresql.Fields):
    """Fields of the component."""

    table_name: str = meta("state", doc="Table of the values, `table` or `schema.table`.")


class Store(PostgresStore):
    """One table, in daprd's first layout."""

    Metadata: ClassVar[type] = Fields
    features: ClassVar[frozenset[Feature]] = PostgresStore.features | {Feature.QUERY_API}
    migrations = (_postgresql_tables.create_v1, _postgresql_tables.add_expiry_v1, _postgresql_tables.number_rows)

    def __init__(self, metadata: Fields, context: Context) -> None:
        layout = Layout(
            table=metadata.table_name,
            columns="key, value, expiredate, isbinary",
            values="$1, $2, now() + make_interval(secs => $3::float8), $4::boolean",
            changes="value=excluded.value, isbinary=excluded.isbinary, updatedate=now(), expiredate=excluded.expiredate",
            etag="xmin",
            etag_type="xid",
            expires="expiredate",
            last_cleanup="last-cleanup",
            binary="isbinary",
        )
        super().__init__(metadata, context, layout, "migrations")

    def encode(self, item: SetItem) -> tuple[Any, ...]:
        if item.is_json:
            return item.value.decode(), False
        return orjson.dumps(base64.b64encode(item.value).decode()).decode(), True

    def decode(self, row: Any) -> bytes:
        text: str = row["value"]
        if not row["isbinary"]:
            return text.encode()
        try:
            found = gostruct.text(orjson.loads(text), "")
        except JsonError as error:
            raise ComponentError(f"failed to unmarshal JSON data: {error}") from None
        try:
            return gobase64.decode(found)
        except ValueError as error:
            raise ComponentError(f"failed to decode base64 data: {error}") from None

    def etag_of(self, text: str) -> Any:
        try:
            return parse_uint(text, 32)
        except ValueError as error:
            raise EtagInvalid(str(error)) from None

    async def query(self, query: Mapping[str, Any], metadata: Mapping[str, str]) -> QueryResult:
        """Values by their content; the token is a number of rows. Raises Invalid."""
        dialect, page = Jsonb(), _filters.page_of(query)
        live = "(expiredate IS NULL OR expiredate >= now())"
        condition = _filters.where(query.get("filter"), dialect)
        order = _filters.order_by(query.get("sort"), dialect, "key")
        sql = f"SELECT key, value, isbinary, xmin AS etag, expiredate AS expires FROM {self._layout.table} WHERE {live}"
        sql += (f" AND {condition}" if condition else "") + order
        sql += (f" LIMIT {page.limit}" if page.limit else "") + (f" OFFSET {page.offset}" if page.offset else "")
        rows = await self._pool.run(lambda connection: connection.fetch(sql, *dialect.parameters))
        items = [self.bulk_item(row) for row in rows]
        return QueryResult([_without_expiry(item) for item in items], page.token(len(items)))


class Jsonb:
    """Comparisons of jsonb members as daprd makes them: of their texts (9 is more than 10); a missing member equals nothing."""

    def __init__(self) -> None:
        self.parameters: list[Any] = []

    def compare(self, path: Sequence[str], sign: str, value: Any) -> str:
        member = f"{self._parameter(list(path))}::text[]"
        text = value if isinstance(value, str) else orjson.dumps(value).decode()
        return f"(value #>> {member}) {sign} {self._parameter(text)}::text"

    def order(self, path: Sequence[str], direction: str) -> str:
        return f"(value #>> {self._parameter(list(path))}::text[]) {direction}"

    def _parameter(self, value: Any) -> str:
        self.parameters.append(value)
        return f"${len(self.parameters)}"


def _without_expiry(item: Any) -> Any:
    return type(item)(item.key, item.data, item.etag, error=item.error)
