"""A start without what a plain sidecar does not use yet; everything here comes by itself at its first use.

asyncio imports `ssl` for connections that only some components make, dataclasses `inspect` for docstrings that nobody reads, paho half of
`email` for proxies: 5 MB of memory. Of the methods that dataclasses compile and of the patterns that modules compile at import, a sidecar
calls few: a third of its start. Nothing here imports asyncio.
"""

from __future__ import annotations

import os
import re
import sys
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from importlib.machinery import ModuleSpec

CO_COROUTINE = 0x80
PATTERNS_OF = ("edge", "components", "yaml", "platform")
RARE = ("ipaddress", "linecache", "locale", "random")
"""What modules of the standard library import for errors and rare cases."""
TLS_USERS = ("asyncio.base_events", "asyncio.selector_events", "asyncio.sslproto", "asyncio.unix_events")


def prepare() -> None:
    """Call before anything imports asyncio; later it does nothing."""
    if "asyncio" in sys.modules or "ssl" in sys.modules or "inspect" in sys.modules:
        return
    for rare in (*map(_Later, RARE), _Traceback("traceback"), _Subprocess("subprocess"), _Platform("platform")):
        sys.modules.setdefault(rare.__name__, rare)
    sys.modules["inspect"] = _Inspect("inspect")
    sys.modules["ssl"] = None  # type: ignore[assignment]  # for asyncio: a build without OpenSSL
    try:
        import asyncio  # noqa: F401
        import dataclasses
    finally:
        del sys.modules["ssl"], sys.modules["inspect"]
    sys.meta_path.insert(0, _LateTls())
    if (compiles := getattr(dataclasses, "_create_fn", None)) is not None:  # until 3.12; later ones compile a class at once
        vars(dataclasses)["_create_fn"] = _late_methods(compiles)
    vars(re)["compile"] = _late_patterns(re.compile)


def settle() -> None:
    """Bring what must be there when files can't be opened any more: how an error is told."""
    for name in ("linecache", "traceback"):
        if isinstance(later := sys.modules.get(name), _Later):
            later.load()


@contextmanager
def postponed(*names: str) -> Iterator[None]:
    """Modules imported in the block get a stand-in for each of `names` that is not there yet; it loads when something of it is used."""
    ours = {name: _Later(name) for name in names if name not in sys.modules}
    sys.modules.update(ours)
    try:
        yield
    finally:
        for name, later in ours.items():
            if sys.modules.get(name) is later:
                del sys.modules[name]


class _Later(ModuleType):
    """Stands for a module until something of it is asked for."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.load(), name)

    def load(self) -> ModuleType:
        """The module; from now on everything of it is found here too."""
        from importlib import import_module

        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        module = import_module(self.__name__)
        vars(self).update({key: value for key, value in vars(module).items() if not key.startswith("__")})
        return module


class _Inspect(_Later):
    """`inspect` with the functions that asyncio and dataclasses call at a start."""

    @staticmethod
    def iscoroutinefunction(function: Any) -> bool:
        """asyncio asks it of a signal handler."""
        while (inner := getattr(function, "__func__", None) or getattr(function, "func", None)) is not None:
            function = inner
        return bool(getattr(getattr(function, "__code__", None), "co_flags", 0) & CO_COROUTINE)

    @staticmethod
    def get_annotations(cls: type) -> dict[str, Any]:
        """dataclasses asks it from 3.12 on, about each class."""
        return dict(vars(cls).get("__annotations__", {}))

    @staticmethod
    def signature(*_: object, **__: object) -> str:
        """dataclasses writes it into a class that has no docstring."""
        return ""


class _Traceback(_Later):
    """`traceback` with what asyncio takes at its import, for its debug mode."""

    def extract_stack(self, *given: Any, **named: Any) -> Any:
        return self.load().extract_stack(*given, **named)


class _Subprocess(_Later):
    """`subprocess` with the constants that asyncio copies."""

    PIPE, STDOUT, DEVNULL = -1, -2, -3


class _Platform(_Later):
    """`platform` with what uuid asks at its import."""

    @staticmethod
    def system() -> str:
        return os.uname().sysname


def _late_methods(compiles: Any) -> Any:
    """dataclasses' maker of methods: what it makes compiles itself, and takes its own place, when it is called."""

    def create(name: str, *args: Any, **options: Any) -> Any:
        made: Any = None

        def method(self: Any, *given: Any, **named: Any) -> Any:
            nonlocal made
            if made is None:
                made = compiles(name, *args, **options)
                for owner in type(self).__mro__:
                    if (key := next((key for key, value in vars(owner).items() if value is method), None)) is not None:
                        made.__qualname__, made.__module__ = f"{owner.__qualname__}.{key}", owner.__module__
                        setattr(owner, key, made)
                        break
            return made(self, *given, **named)

        method.__name__ = name
        return method

    return create


def _late_patterns(compiles: Any) -> Any:
    """re.compile, which for constants of the modules below gives a stand-in."""

    def compile(pattern: Any, flags: Any = 0) -> Any:
        caller = sys._getframe(1)
        constant = caller.f_locals is caller.f_globals or "__qualname__" in caller.f_locals  # in a module's or a class's body
        if constant and caller.f_globals["__name__"].partition(".")[0] in PATTERNS_OF:
            return _Pattern(compiles, pattern, flags)
        return compiles(pattern, flags)

    return compile


class _Pattern:
    """Stands for a compiled pattern; after the first use its methods are the pattern's own."""

    def __init__(self, compiles: Any, pattern: Any, flags: Any) -> None:
        self._late = compiles, pattern, flags

    def __getattr__(self, name: str) -> Any:
        compiles, pattern, flags = self._late
        made = compiles(pattern, flags)
        vars(self).update({each: getattr(made, each) for each in dir(made) if not each.startswith("_")})
        return getattr(made, name)


class _LateTls:
    """A finder that is asked for `ssl` once, and a loader that gives it to the modules of asyncio that had to do without."""

    def __init__(self) -> None:
        self._loader: Any = None

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != "ssl":
            return None
        sys.meta_path.remove(self)
        from importlib.util import find_spec

        spec = find_spec(name)
        if spec is not None:
            self._loader, spec.loader = spec.loader, self  # type: ignore[assignment]
        return spec

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        for user in TLS_USERS:
            if user in sys.modules:
                vars(sys.modules[user])["ssl"] = module
        if sslproto := sys.modules.get("asyncio.sslproto"):
            vars(sslproto)["SSLAgainErrors"] = (module.SSLWantReadError, module.SSLSyscallError)
