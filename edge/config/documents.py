"""YAML documents with the place of everything in them, read as Dapr reads them: YAML 1.1 scalars by Go's rules, then JSON's types.

A document that can't be read is a problem, not an exception: the others stand. Source: dapr pkg/internal/loader/disk,
sigs.k8s.io/yaml goyaml.v2 resolve.go.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edge.record import record
from edge.spec import Problem

SEPARATOR = re.compile(r"\n---[^\n]*(?:\n|$)")
FLOAT = re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$")
INT = re.compile(r"^[-+]?(0|[1-9][0-9]*|0[0-7]+|0o[0-7]+|0x[0-9a-fA-F]+|0b[01]+)$")
NUMERIC = frozenset("+-.0123456789")
"""What a number begins with."""
TEXT = "tag:yaml.org,2002:str"
PLAIN = "?"
WORDS: dict[str, Any] = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
}
SUFFIXES = (".yaml", ".yml")


class Map(dict[str, Any]):
    """A YAML mapping that knows its lines. line: its own; lines: by key."""

    __slots__ = ("line", "lines")

    def __init__(self, line: int = 0) -> None:
        super().__init__()
        self.line, self.lines = line, dict[str, int]()


class Seq(list[Any]):
    """A YAML sequence that knows its lines."""

    __slots__ = ("line", "lines")

    def __init__(self, line: int = 0) -> None:
        super().__init__()
        self.line, self.lines = line, list[int]()


class Unreadable(Exception):
    """A document, or a part of it, is not what it must be. line: in the file."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


@record
class Document:
    """One resource as written. name, namespace: of its `metadata`. line: where it begins."""

    api_version: str
    kind: str
    name: str
    namespace: str
    body: Map
    file: Path
    line: int

    def where(self, line: int = 0) -> str:
        """`file:line` of the document or of a line in it."""
        return f"{self.file}:{line or self.line}"


def read_directory(folder: Path) -> tuple[list[Document], list[Problem]]:
    """The documents of a folder's own .yaml and .yml files, by name. Raises OSError if the folder can't be read."""
    documents: list[Document] = []
    problems: list[Problem] = []
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        if path.is_dir():
            continue
        if not path.name.lower().endswith(SUFFIXES):
            problems.append(Problem(f"A non-YAML file {path.name} was detected, it will not be loaded", fatal=False, where=str(path)))
            continue
        found, wrong = read_file(path)
        documents += found
        problems += wrong
    return documents, problems


def read_file(path: Path) -> tuple[list[Document], list[Problem]]:
    """The documents of one file; a file or document that can't be read is a problem."""
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        return [], [Problem(f"cannot be read: {reason}; the file is skipped", fatal=False, where=str(path), lost=True)]
    return read_text(text, path)


def read_text(text: str, path: Path) -> tuple[list[Document], list[Problem]]:
    """The documents in a file's text."""
    documents: list[Document] = []
    problems: list[Problem] = []
    for line, part in _split(text):
        try:
            body = parse(part, line)
            if isinstance(body, Map):
                documents.append(_document(body, path))
            elif body is not None:
                raise Unreadable("a resource is a mapping with apiVersion, kind, metadata and spec", line)
        except Unreadable as error:
            problems.append(Problem(f"{error}; the document is skipped", fatal=False, where=f"{path}:{error.line}", lost=True))
    return documents, problems


def _split(text: str) -> Iterator[tuple[int, str]]:
    """Each document's first line (from 1) and text."""
    start = 0
    for match in SEPARATOR.finditer(text) if "\n---" in text else ():
        yield text.count("\n", 0, start) + 1, text[start : match.start()]
        start = match.end()
    if start < len(text):
        yield text.count("\n", 0, start) + 1, text[start:]


def _document(body: Map, path: Path) -> Document:
    about = get(body, "metadata")
    if about is not None and not isinstance(about, Map):
        raise Unreadable("metadata is no mapping", body.lines.get("metadata", body.line))
    named = about or Map()
    return Document(
        api_version=text_of(get(body, "apiVersion")),
        kind=text_of(get(body, "kind")),
        name=text_of(get(named, "name")),
        namespace=text_of(get(named, "namespace")),
        body=body,
        file=path,
        line=body.line,
    )


def parse(text: str, line: int = 1) -> Any:
    """The first YAML document of `text` as Map, Seq and JSON scalars. line: number of its first line. Raises Unreadable."""
    import yaml  # 12 ms and 1 MB: only with files

    base: type = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
    loader = type("Loader", (base,), {"resolve": _resolve})(text)
    try:
        node = loader.get_node() if loader.check_node() else None
        return _value(node, line, {}) if node is not None else None
    except yaml.MarkedYAMLError as error:
        mark, last = error.problem_mark or error.context_mark, text.rstrip().count("\n")
        raise Unreadable(f"no YAML: {error.problem or error.context}", line + min(mark.line if mark else 0, last)) from None
    except (yaml.YAMLError, RecursionError) as error:
        raise Unreadable(f"no YAML: {str(error).splitlines()[0]}", line) from None
    finally:
        loader.dispose()


def _resolve(_: Any, __: Any, ___: Any, implicit: Any) -> str:
    """A tag for scalars without one: `?` for plain ones, whose type Go's rules decide."""
    plain: bool = implicit if isinstance(implicit, bool) else implicit[0]
    return PLAIN if plain else TEXT


def _value(node: Any, line: int, seen: dict[int, Any]) -> Any:
    if node.id == "scalar":
        return _scalar(node)
    if (known := seen.get(id(node))) is not None:
        return known
    at = line + node.start_mark.line
    if node.id == "sequence":
        seen[id(node)] = sequence = Seq(at)
        for item in node.value:
            sequence.append(_value(item, line, seen))
            sequence.lines.append(line + item.start_mark.line)
        return sequence
    seen[id(node)] = mapping = Map(at)
    for key, item in node.value:
        _put(mapping, key, _value(item, line, seen), line + key.start_mark.line)
    return mapping


def _put(mapping: Map, key: Any, value: Any, line: int) -> None:
    if key.id != "scalar":
        raise Unreadable("a key must be text", line)
    if key.value == "<<" and key.tag == PLAIN:
        for part in value if isinstance(value, Seq) else (value,):
            for name in part if isinstance(part, Map) else ():
                if name not in mapping:
                    mapping[name], mapping.lines[name] = part[name], part.lines[name]
        return
    name = key.value if key.tag != PLAIN else text_of(_scalar(key))
    mapping[name], mapping.lines[name] = value, line


def _scalar(node: Any) -> Any:
    text: str = node.value
    if node.tag != PLAIN:
        return text
    if text in WORDS:
        return WORDS[text]
    plain = text.replace("_", "")
    if plain[:1] not in NUMERIC:
        return text
    if INT.match(plain):
        return _integer(plain)
    return float(plain) if FLOAT.match(plain) else text


def _integer(text: str) -> int:
    octal = re.fullmatch(r"([-+]?)0([0-7]+)", text)
    return int(octal[1] + octal[2], 8) if octal else int(text, 0)


def get(mapping: Map, key: str) -> Any:
    """A key's value, None if absent; in any case of letters, as Go's JSON decoder finds it."""
    if key in mapping:
        return mapping[key]
    low = key.lower()
    return next((value for name, value in mapping.items() if name.lower() == low), None)


def text_of(value: Any) -> str:
    """A scalar as Go puts it into a string: numbers and bools by their text, null is empty; structures as JSON."""
    match value:
        case str():
            return value
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case float() if value.is_integer() and abs(value) < 1e21:
            return str(int(value))
        case int() | float():
            return str(value)
    import json

    return json.dumps(_whole(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _whole(value: Any) -> Any:
    """The same with 1.0 as 1, as Go writes it."""
    match value:
        case dict():
            return {key: _whole(item) for key, item in value.items()}
        case list():
            return [_whole(item) for item in value]
        case float() if value.is_integer() and abs(value) < 1e21:
            return int(value)
    return value
