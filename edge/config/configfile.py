"""`--config` files: `$NAME` from the environment, the later files merged over the earlier ones, then typed.

Source: dapr pkg/config/configuration.go LoadStandaloneConfiguration.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from edge.config.configuration import Configuration
from edge.config.decode import Decoder
from edge.config.documents import Document, Map, Unreadable, get, parse
from edge.spec import Problem

VARIABLE = re.compile(r"\$(?:\{([^{}]*)\}|([A-Za-z_][A-Za-z0-9_]*)|([*#$@!?0-9-]))")


class ConfigurationError(Exception):
    """The configuration can't be used; the text begins as daprd's does and names file and line."""


def load(paths: Sequence[Path], environ: Mapping[str, str]) -> tuple[Configuration, list[Problem]]:
    """The merged configuration of these files, and what is odd in them. Raises ConfigurationError."""
    merged, problems = Map(), list[Problem]()
    for path in paths:
        body = _read(path, environ)
        problems += _decode(body, path)[1]
        merged = _merge(merged, body)
    configuration = _decode(merged, paths[-1])[0] if paths else Configuration()
    _check(configuration)
    return configuration, problems


def _decode(body: Map, path: Path) -> tuple[Configuration, list[Problem]]:
    decoder = Decoder(Document("", "Configuration", "", "", body, path, body.line))
    spec = get(body, "spec")
    if isinstance(spec, Map) and isinstance(plural := get(spec, "metrics"), Map):  # both spellings: the plural's fields win
        single = Map(plural.line)
        single["metric"], single.lines["metric"] = plural, plural.line
        spec = _merge(_without(spec, "metrics"), single)
    try:
        return decoder.struct(Configuration, spec, "spec", body.line), decoder.problems
    except Unreadable as error:
        raise ConfigurationError(f"error loading configuration: yaml: line {error.line}: {error} ({path})") from None


def _without(mapping: Map, key: str) -> Map:
    rest = _merge(mapping, Map(mapping.line))
    rest.pop(key, None)
    return rest


def _read(path: Path, environ: Mapping[str, str]) -> Map:
    try:
        text = expand(path.read_text("utf-8-sig"), environ)
        body = parse(text)
    except FileNotFoundError:
        raise ConfigurationError(f"error loading configuration: stat {path}: no such file or directory") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"error loading configuration: {path}: {error}") from None
    except Unreadable as error:
        message = str(error).removeprefix("no YAML: ")
        raise ConfigurationError(f"error loading configuration: yaml: line {error.line}: {message} ({path})") from None
    if body is not None and not isinstance(body, Map):
        raise ConfigurationError(f"error loading configuration: yaml: line 1: a Configuration is a mapping with kind and spec ({path})")
    return body or Map(1)


def expand(text: str, environ: Mapping[str, str]) -> str:
    """`$NAME` and `${NAME}` from the environment, unset ones empty (Go os.ExpandEnv)."""
    if "$" not in text:
        return text
    return VARIABLE.sub(lambda match: environ.get(match[1] or match[2] or match[3] or "", ""), text)


def _merge(under: Map, over: Map) -> Map:
    """Mappings key by key, anything else replaced, as decoding twice into one Go struct does."""
    merged = Map(over.line)
    merged.update(under)
    merged.lines.update(under.lines)
    for key, value in over.items():
        before = merged.get(key)
        merged[key] = _merge(before, value) if isinstance(before, Map) and isinstance(value, Map) else value
        merged.lines[key] = over.lines[key]
    return merged


def _check(configuration: Configuration) -> None:
    stores: set[str] = set()
    for scope in configuration.secrets.scopes:
        if scope.store_name in stores:
            raise ConfigurationError(f"error loading configuration: {scope.store_name} storeName is repeated in secrets configuration")
        if scope.default_access.lower() not in ("", "allow", "deny"):
            raise ConfigurationError(f"error loading configuration: defaultAccess {scope.default_access} can be either allow or deny")
        stores.add(scope.store_name)
