"""`conversation.ollama`: a local Ollama by its OpenAI-compatible API."""

from __future__ import annotations

from typing import ClassVar

from components.conversation import openai
from edge.record import record
from edge.spec import Duration, meta


@record
class Fields:
    """Metadata of the component."""

    key: str = meta("ollama", doc="Not looked at by Ollama.", sensitive=True)
    model: str = meta("", doc="The model; else the environment's OLLAMA_MODEL, else llama3.2:latest.")
    endpoint: str = meta("http://localhost:11434/v1", doc="Address of the API.")
    response_cache_ttl: Duration = meta(
        Duration(0),
        name="responseCacheTTL",
        aliases=("cacheTTL",),
        doc="How long an answer is given again for the same request; 0 = never.",
    )
    timeout: Duration = meta(Duration(120), doc="Longest time for an answer. Not in daprd.", least=1)
    api_type: ClassVar[str] = "open_ai"
    api_version: ClassVar[str] = ""


class Model(openai.Model):
    """See the module."""

    Metadata: ClassVar[type] = Fields
    variable: ClassVar[str] = "OLLAMA_MODEL"
    default: ClassVar[str] = "llama3.2:latest"
