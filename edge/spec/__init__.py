"""A component's metadata fields, declared once as a dataclass of `meta()` fields: parsing, problems, docs and schema come from it.

    @dataclass(frozen=True, slots=True)
    class Metadata:
        url: str = meta(doc="Broker address.", example="tcp://localhost:1883")
        qos: int = meta(1, doc="Delivery guarantee.", choices=(0, 1, 2))
        keep_alive: Duration = meta(Duration(60), doc="Longest silence.")      # YAML: keepAlive: "1m30s"

Types: str, bool, int, float, Duration, Size, tuple[str, ...] (comma separated), and `X | None`. Decoding follows dapr/kit metadata:
names in any case, aliases after the canonical name, truthy words, an empty text is the type's zero.
"""

from edge.spec.fields import Duration, Meta, Problem, Raw, Size, Spec, camel_case, meta, near, specs, words
from edge.spec.parsing import parse, parse_duration, truthy

__all__ = [
    "Duration",
    "Meta",
    "Problem",
    "Raw",
    "Size",
    "Spec",
    "camel_case",
    "meta",
    "near",
    "parse",
    "parse_duration",
    "specs",
    "truthy",
    "words",
]
