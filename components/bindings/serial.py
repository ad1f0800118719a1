"""`bindings.serial` (not in daprd): lines or frames from a serial port as events, and bytes to it by operation `create`.

Needs the package pyserial (`pip install edged[serial]`). A port that is not there, or goes away, is opened again and again.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Mapping
from typing import Any, ClassVar

from components.bindings._go import unquote
from edge.component import Context, DeliverEvent, Feature, Unsubscribe
from edge.errors import Closed, ComponentError, Invalid, Unavailable, Unsupported
from edge.model import BindingEvent, BindingResult
from edge.record import record
from edge.spec import Duration, Size, meta, truthy
from edge.tasks import Tasks

log = logging.getLogger("dapr.contrib")
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0
ESCAPES = {"\\r": "\r", "\\n": "\n", "\\t": "\t", "\\0": "\0"}


@record
class Fields:
    """Metadata of the component."""

    port: str = meta(doc="The device, or an URL that pyserial knows.", example="/dev/ttyUSB0")
    baud_rate: int = meta(9600, doc="Bits per second.", aliases=("baudrate",), least=1)
    byte_size: int = meta(8, doc="Data bits.", choices=(5, 6, 7, 8))
    parity: str = meta("none", doc="Parity.", choices=("none", "even", "odd", "mark", "space"))
    stop_bits: str = meta("1", doc="Stop bits.", choices=("1", "1.5", "2"))
    delimiter: str = meta("\\n", doc="What ends a message; `\\r`, `\\n`, `\\t`, `\\0` as usual; empty = whatever comes together.")
    append: bool = meta(True, doc="Whether `create` writes the delimiter behind the data.")
    max_message: Size = meta(Size(64 << 10), doc="A message without end is cut there.", least=1)
    write_timeout: Duration = meta(Duration(5), doc="Longest time of a write.")


class Binding:
    """See the module."""

    Metadata: ClassVar[type] = Fields
    features: ClassVar[frozenset[Feature]] = frozenset({Feature.INPUT_BINDING, Feature.OUTPUT_BINDING})
    operations: ClassVar[tuple[str, ...]] = ("create",)
    journal_in: ClassVar[bool] = True
    journal_out: ClassVar[bool] = False

    def __init__(self, metadata: Fields, context: Context) -> None:
        self.metadata = metadata
        self._context = context
        self._end = _unescaped(metadata.delimiter)
        self._tasks: Tasks | None = None
        self._reading: asyncio.Task[None] | None = None
        self._port: Any = None
        self._trouble: str | None = None
        self._turn = asyncio.Lock()

    async def open(self) -> None:
        """Raises ImportError without pyserial; the port itself may come later."""
        import serial  # noqa: F401  # the extra `serial`

        self._tasks = self._context.tasks
        try:
            await self._opened()
        except Unavailable as error:
            log.warning("binding %s: %s; it is tried again", self._context.name, error)

    async def close(self) -> None:
        self._tasks = None
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None
        async with self._turn:
            self._drop()

    def unhealthy(self) -> str | None:
        return self._trouble

    async def _opened(self) -> Any:
        """The port, opened if it is not. Raises Unavailable."""
        async with self._turn:
            if self._port is None:
                try:
                    self._port = await asyncio.to_thread(self._connect)
                except (OSError, ValueError) as error:
                    self._trouble = f"serial port {self.metadata.port}: {error}"
                    raise Unavailable(self._trouble) from error
                self._trouble = None
            return self._port

    def _connect(self) -> Any:
        import serial

        fields = self.metadata
        port = serial.serial_for_url(fields.port, do_not_open=True)
        port.baudrate, port.bytesize = fields.baud_rate, fields.byte_size
        port.parity, port.stopbits = fields.parity[0].upper(), float(fields.stop_bits)
        port.timeout, port.write_timeout, port.exclusive = 0, fields.write_timeout, True
        port.open()
        return port

    def _drop(self) -> None:
        if self._port is not None:
            self._port.close()
            self._port = None

    async def read(self, deliver: DeliverEvent) -> Unsubscribe:
        """An event per message, with metadata `port`; what comes faster than it can be stored waits in the kernel."""
        if self._tasks is None:
            raise Closed(f"binding {self._context.name} is closed")
        self._reading = self._tasks.spawn(f"serial[{self._context.name}]", lambda: self._read(deliver))
        task = self._reading

        async def stop() -> None:
            task.cancel()

        return stop

    async def _read(self, deliver: DeliverEvent) -> None:
        pause, buffer = FIRST_PAUSE, b""
        while True:
            try:
                port = await self._opened()
                data = await self._some(port)
            except (OSError, Unavailable) as error:
                self._trouble, buffer = f"serial port {self.metadata.port}: {error}", b""
                async with self._turn:
                    self._drop()
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
                continue
            pause = FIRST_PAUSE
            messages, buffer = self._split(buffer + data)
            for message in messages:
                await self._hand_over(deliver, message)

    async def _some(self, port: Any) -> bytes:
        """What is there, at least a byte. Raises OSError when the device is gone."""
        loop, ready = asyncio.get_running_loop(), asyncio.Event()
        descriptor = port.fileno()
        loop.add_reader(descriptor, ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_reader(descriptor)
        data: bytes = port.read(4096)
        if not data:
            raise OSError("the device is gone")
        return data

    def _split(self, data: bytes) -> tuple[list[bytes], bytes]:
        if not self._end:
            return [data], b""
        *whole, rest = data.split(self._end)
        messages = [message for message in whole if message]
        if len(rest) >= self.metadata.max_message:
            messages.append(rest[: self.metadata.max_message])
            rest = rest[self.metadata.max_message :]
        return messages, rest

    async def _hand_over(self, deliver: DeliverEvent, message: bytes) -> None:
        """The device sends once: the message waits here until it is stored."""
        pause = FIRST_PAUSE
        while True:
            try:
                await deliver(BindingEvent(message, {"port": self.metadata.port}))
                return
            except ComponentError as error:
                log.warning("binding %s: a message could not be kept yet: %s", self._context.name, error)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def invoke(self, operation: str, data: bytes, metadata: Mapping[str, str]) -> BindingResult | None:
        """`create`: a JSON string is unquoted; metadata `base64` = true says that it is base64. Return when the kernel has it."""
        if operation != "create":
            raise Unsupported(f"operation {operation} is not supported")
        payload = unquote(data)
        if truthy(metadata.get("base64", "")):
            try:
                payload = base64.b64decode(payload, validate=True)
            except ValueError as error:
                raise Invalid(f"the data are not base64: {error}") from error
        if self.metadata.append:
            payload += self._end
        port = await self._opened()
        async with self._turn:
            try:
                await asyncio.to_thread(port.write, payload)
            except OSError as error:
                self._drop()
                raise Unavailable(f"serial port {self.metadata.port}: {error}") from error
        return None


def _unescaped(text: str) -> bytes:
    for name, character in ESCAPES.items():
        text = text.replace(name, character)
    return text.encode()
