"""What a spec says of itself: field docs, Markdown, JSON schema."""

from __future__ import annotations

from edge.record import record
from edge.spec import Duration, Size, meta
from edge.spec.docs import describe, markdown, schema


@record
class Fields:
    url: str = meta(doc="Broker | address.", aliases=("server",), sensitive=True, example="tcp://localhost:1883")
    qos: int = meta(1, doc="Guarantee.", choices=(0, 1, 2))
    keep_alive: Duration = meta(Duration(90), doc="Silence.")
    limit: Size = meta(Size(4 << 20), doc="Most bytes.")


def test_describe_shows_defaults_as_yaml_has_them() -> None:
    fields = describe(Fields)

    assert [field.default for field in fields] == ["", "1", "1m30s", "4Mi"]
    assert [field.type for field in fields] == ["text", "integer", "duration", "size"]
    assert fields[0].required and fields[0].aliases == ("server",)


def test_markdown_has_a_row_per_field_and_escapes_bars() -> None:
    table = markdown(Fields)

    assert "| `url` (`server`) | text | required | Broker \\| address. Example: `tcp://localhost:1883`." in table
    assert "| `qos` | integer | `1` | Guarantee. One of `0`, `1`, `2`. |" in table


def test_schema_allows_texts_and_numbers() -> None:
    assert schema(Fields)["qos"] == {
        "description": "Guarantee.",
        "type": ["integer", "string"],
        "enum": ["0", "1", "2", 0, 1, 2],
        "default": "1",
    }
