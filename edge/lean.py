"""Imports without what a plain sidecar never uses: asyncio without OpenSSL, and stand-ins for modules that somebody may look into.

asyncio imports `ssl` for connections that only some components make, dataclasses `inspect` for docstrings that nobody reads, paho half of
`email` for proxies: 5 MB of memory and a tenth of the start. They come by themselves at their first use. Nothing here imports asyncio.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from importlib.machinery import ModuleSpec

CO_COROUTINE = 0x80
TLS_USERS = ("asyncio.base_events", "asyncio.selector_events", "asyncio.sslproto", "asyncio.unix_events")


def prepare() -> None:
    """Call before anything imports asyncio; later it does nothing."""
    if "asyncio" in sys.modules or "ssl" in sys.modules or "inspect" in sys.modules:
        return
    sys.modules["inspect"] = _Inspect("inspect")
    sys.modules["ssl"] = None  # type: ignore[assignment]  # for asyncio: a build without OpenSSL
    try:
        import asyncio  # noqa: F401
        import dataclasses  # noqa: F401
    finally:
        del sys.modules["ssl"], sys.modules["inspect"]
    sys.meta_path.insert(0, _LateTls())


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
        from importlib import import_module

        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        module = import_module(self.__name__)
        vars(self).update({key: value for key, value in vars(module).items() if not key.startswith("__")})
        return getattr(module, name)


class _Inspect(_Later):
    """`inspect` with the two functions that asyncio and dataclasses call at a start."""

    @staticmethod
    def iscoroutinefunction(function: Any) -> bool:
        """asyncio asks it of a signal handler."""
        while (inner := getattr(function, "__func__", None) or getattr(function, "func", None)) is not None:
            function = inner
        return bool(getattr(getattr(function, "__code__", None), "co_flags", 0) & CO_COROUTINE)

    @staticmethod
    def signature(*_: object, **__: object) -> str:
        """dataclasses writes it into a class that has no docstring."""
        return ""


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
