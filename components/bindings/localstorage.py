"""`bindings.localstorage`: files below one folder, by operations `create`, `get`, `list` and `delete`.

Source: components-contrib bindings/localstorage @1.18.4 (texts too); differs: `create` is on disk when it returns and never leaves half a
file (written beside it, flushed, renamed).
"""

from __future__ import annotations

import asyncio
import errno
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import orjson

from components.bindings._go import unbase64, unquote
from edge.component import Context, Feature
from edge.errors import ComponentError, Full, Invalid, NotFound, Unsupported
from edge.model import BindingResult
from edge.record import record
from edge.spec import meta

FORBIDDEN = ("/proc", "/sys", "/boot", "/var/run/secrets", "/run/secrets")
PARTIAL = ".edged-partial"
MOST_LINKS = 255


@record
class Fields:
    """Metadata of the component."""

    root_path: str = meta(
        doc="Folder that holds the files; created when missing. Not below /proc, /sys, /boot, /var/run/secrets.",
        missing="property rootPath must not be empty",
        example="/var/lib/greenhouse/files",
    )


class Binding:
    """See the module."""

    Metadata: ClassVar[type] = Fields
    features: ClassVar[frozenset[Feature]] = frozenset({Feature.OUTPUT_BINDING})
    operations: ClassVar[tuple[str, ...]] = ("create", "get", "list", "delete")
    journal_out: ClassVar[bool] = False

    def __init__(self, metadata: Fields, context: Context) -> None:
        self.metadata = metadata
        self._base = context.working_dir or Path.cwd()
        self._root = Path()

    async def open(self) -> None:
        """Raises Invalid for a folder that may not be used, ComponentError when it cannot be created."""
        self._root = await asyncio.to_thread(_usable, self._base / self.metadata.root_path)

    async def close(self) -> None: ...

    async def invoke(self, operation: str, data: bytes, metadata: Mapping[str, str]) -> BindingResult | None:
        """metadata: `fileName`, relative to the root (a new UUID for `create` without one). Raises NotFound, Full, ComponentError."""
        name = metadata.get("fileName", "")
        match operation:
            case "create":
                return await asyncio.to_thread(self._create, name or str(uuid.uuid4()), unbase64(unquote(data)))
            case "get":
                return BindingResult(await asyncio.to_thread(self._get, name))
            case "list":
                return BindingResult(await asyncio.to_thread(self._list, name))
            case "delete":
                await asyncio.to_thread(self._delete, name)
                return None
        raise Unsupported(f"unsupported operation {operation}")

    def _create(self, name: str, data: bytes) -> BindingResult:
        path = self._path(name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _failed(f"error creating directory {path.parent}: mkdir {error.filename}", error) from error
        if path.is_dir():
            raise ComponentError(f"error creating file {path}: open {path}: is a directory")
        partial = path.with_name(f"{path.name[:200]}.{uuid.uuid4().hex[:8]}{PARTIAL}")
        try:
            _write(partial, data)
            partial.replace(path)
            _flush(path.parent)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise _failed(f"error writing to file {path}: write {path}", error) from error
        return BindingResult(orjson.dumps({"fileName": os.path.relpath(path, self._root)}))

    def _get(self, name: str) -> bytes:
        path = self._path(name)
        try:
            return path.read_bytes()
        except FileNotFoundError as error:
            raise NotFound(f"file not found: {path}") from error
        except IsADirectoryError as error:
            raise _failed(f"error reading file {path}: read {path}", error) from error
        except OSError as error:
            raise _failed(f"error opening path {path}: open {path}", error) from error

    def _list(self, name: str) -> bytes:
        path = self._path(name)
        try:
            path.stat()
        except OSError as error:
            raise _failed(f"error getting stats for path {path}: stat {path}", error) from error
        if not path.is_dir():
            raise Invalid(f"unable to list files as the file specified is not a directory: {path}")
        return orjson.dumps(_walk(path) or None)

    def _delete(self, name: str) -> None:
        path = self._path(name)
        try:
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        except OSError as error:
            raise _failed(f"error deleting file {path}: remove {path}", error) from error

    def _path(self, name: str) -> Path:
        """Where a name leads, links followed, never out of the root."""
        try:
            return secure_join(self._root, name)
        except OSError as error:
            where = f"lstat {error.filename}: " if error.filename else ""
            raise Invalid(f"error getting absolute path for file {name}: {where}{(error.strerror or str(error)).lower()}") from error
        except ValueError as error:
            raise Invalid(f"error getting absolute path for file {name}: {error}") from error


def secure_join(root: Path, name: str) -> Path:
    """`root` joined with `name` as if `root` were the file system's root: `..` and links, absolute ones too, stay inside.

    Raises OSError when links lead in circles, ValueError for a name that no file can have.
    """
    if "\0" in name:
        raise ValueError("the name has a zero byte")
    waiting, links = name.split("/"), 0
    done: list[str] = []
    while waiting:
        part = waiting.pop(0)
        if part in ("", "."):
            continue
        if part == "..":
            done = done[:-1]
            continue
        path = root.joinpath(*done, part)
        if not path.is_symlink():
            done.append(part)
            continue
        links += 1
        if links > MOST_LINKS:
            raise OSError(errno.ELOOP, "too many levels of symbolic links")
        target = str(path.readlink())
        done = [] if target.startswith("/") else done
        waiting = [*target.split("/"), *waiting]
    return root.joinpath(*done)


def _usable(path: Path) -> Path:
    """The folder, created and with its links resolved."""
    root = Path(os.path.normpath(path))
    there = next(one for one in (root, *root.parents) if one.exists())
    if not there.is_dir():
        raise Invalid("property rootPath represents a file and not a directory")
    root = there.resolve() / root.relative_to(there)
    if any(root == Path(one) or Path(one) in root.parents for one in FORBIDDEN):
        raise Invalid("property rootPath points to a disallowed location")
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        text = f"unable to create directory specified by 'rootPath' {root}: mkdir {error.filename}"
        raise _failed(text, error) from error
    return root


def _walk(folder: Path) -> list[str]:
    """All files below, in lexical order, links as they are."""
    found: list[str] = []
    for entry in sorted(os.scandir(folder), key=lambda one: one.name):
        if entry.is_dir(follow_symlinks=False):
            found += _walk(Path(entry.path))
        elif not entry.name.endswith(PARTIAL):
            found.append(entry.path)
    return found


def _write(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _flush(folder: Path) -> None:
    """The rename is on disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _failed(text: str, error: OSError) -> ComponentError:
    reason = f"{text}: {(error.strerror or str(error)).lower()}"
    return Full(reason) if error.errno in (errno.ENOSPC, errno.EDQUOT) else ComponentError(reason)
