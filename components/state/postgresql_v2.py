"""`state.postgresql` v2: values as bytes, etag = a UUID of its own."""

from __future__ import annotations

import re
from typing import Any, ClassVar
from uuid import UUID

from components.state import _postgresql, _postgresql_tables
from components.state._postgresql import Layout, PostgresStore
from edge.component import Context
from edge.errors import EtagMismatch
from edge.gointeger import quote
from edge.model import SetItem
from edge.record import record
from edge.spec import meta

DIGITS, PLAIN, QUOTED, URN = 32, 36, 38, 45
FORM = re.compile(r"[0-9a-fA-F]{32}|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


@record
class Fields(_postgresql.Fields):
    """Fields of the component."""

    table_prefix: str = meta("", doc="What stands before the table's name `state`; it may begin with a schema and a dot.")


class Store(PostgresStore):
    """One table, in daprd's second layout."""

    Metadata: ClassVar[type] = Fields
    migrations = (_postgresql_tables.create_v2, _postgresql_tables.number_rows)

    def __init__(self, metadata: Fields, context: Context) -> None:
        layout = Layout(
            table=f"{metadata.table_prefix}state",
            columns="key, value, expires_at",
            values="$1, $2, now() + make_interval(secs => $3::float8)",
            changes="value=excluded.value, updated_at=now(), etag=gen_random_uuid(), expires_at=excluded.expires_at",
            etag="etag",
            etag_type="uuid",
            expires="expires_at",
            last_cleanup=f"last-cleanup-state-v2-{metadata.table_prefix}",
            binary="NULL",
        )
        super().__init__(metadata, context, layout, f"migrations-state-v2-{metadata.table_prefix}")

    def encode(self, item: SetItem) -> tuple[Any, ...]:
        return (item.value,)

    def decode(self, row: Any) -> bytes:
        return bytes(row["value"])

    def etag_of(self, text: str) -> Any:
        """As Go's parser: also bare digits, in quotes or braces, and as a URN."""
        length = len(text.encode())
        if length not in (DIGITS, PLAIN, QUOTED, URN):
            raise EtagMismatch(f"invalid UUID length: {length}")
        if length == URN and text[:9].lower() != "urn:uuid:":
            raise EtagMismatch(f"invalid urn prefix: {quote(text[:9])}")
        hexa = text[9:] if length == URN else text[1:-1] if length == QUOTED else text
        if not FORM.fullmatch(hexa):
            raise EtagMismatch("invalid UUID format")
        return UUID(hexa)
